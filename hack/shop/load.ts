// The shop's customers: 8 keep-alive connections, each of which asks for an order, reads it and thinks for a while.
import { frame, request } from "./http.ts";
import { given, report, untilStopped } from "./program.ts";
import { Client } from "./socket.ts";

const think = 20; // ms
const web = given("WEB").split(",");

let open = true;
async function customer(n: number): Promise<void> {
  const client = await Client.connect(web[n % web.length]!, 8080, frame);
  for (let order = n; open; order += 8) {
    await client.exchange(request("web", `/orders/${order % 1000}`));
    await Bun.sleep(think);
  }
  await client.close();
}

const customers = Promise.all(Array.from({ length: 8 }, (_, n) => customer(n)));
await untilStopped();
open = false;
await customers;
report();
