// The shop's front: makes a page of what the api says.
import { bodyOf, frame, pathOf, request, response } from "./http.ts";
import { given, report, untilStopped } from "./program.ts";
import { Client, Server } from "./socket.ts";

const hosts = given("API").split(",");
const api = await Promise.all([...hosts, ...hosts].map((host) => Client.connect(host, 9000, frame)));
let turn = 0;

const server = new Server(8080, frame, async (asked) => {
  const order = bodyOf(await api[turn++ % api.length]!.exchange(request("api", pathOf(asked))));
  return response(`<!doctype html><title>Ringside's shop</title>${"<hr>".repeat(700)}<pre>${order}</pre>`);
});
await untilStopped();
await server.close();
await Promise.all(api.map((client) => client.close()));
report();
