// The shop's back: keeps the orders in Redis, and gives what was there before.
import { frame, pathOf, response } from "./http.ts";
import { given, report, untilStopped } from "./program.ts";
import * as resp from "./resp.ts";
import { Client, Server } from "./socket.ts";

const db = await Promise.all([1, 2].map(() => Client.connect(given("DB"), 6379, resp.frame)));
let turn = 0;

const server = new Server(9000, frame, async (asked) => {
  const order = JSON.stringify({ path: pathOf(asked), turn, items: "a ringside seat; ".repeat(20) });
  const before = await db[turn++ % db.length]!.exchange(resp.command("SET", pathOf(asked), order, "GET"));
  return response(JSON.stringify({ now: order, before: resp.textOf(before) }));
});
await untilStopped();
await server.close();
await Promise.all(db.map((client) => client.close()));
report();
