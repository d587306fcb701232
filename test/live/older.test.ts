/** Connections that are older than the agent: what they move after its start is counted, and nothing else. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { trafficEnds } from "../truth/traffic.ts";
import { type Agent, settled, startAgent } from "./agent.ts";

const ends = trafficEnds({ name: "older" });
let server: Server;
let port: number;
let client: Socket;
let accepted: Socket;

/** One exchange: `asked` bytes there, `answered` bytes back, all read. */
async function exchange(asked: number, answered: number): Promise<void> {
  client.write(Buffer.alloc(asked));
  await read(accepted, asked);
  accepted.write(Buffer.alloc(answered));
  await read(client, answered);
}

async function read(socket: Socket, bytes: number): Promise<void> {
  for (let left = bytes; left > 0; ) {
    const chunk: Buffer | null = socket.read(Math.min(left, socket.readableLength));
    if (chunk) left -= chunk.length;
    else await once(socket, "readable");
  }
}

beforeAll(async () => {
  server = createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  port = (server.address() as { port: number }).port;
  client = connect(port, "127.0.0.1");
  [accepted] = (await once(server, "connection")) as [Socket];
  await exchange(100_000, 50_000);
});

afterAll(() => {
  client?.destroy();
  server?.close();
});

async function seen(agent: Agent): Promise<object[]> {
  const links = (await agent.links()).filter((link) => link.port === port);
  return links
    .map(({ reporter, sent, received, requests, active }) => ({ reporter, sent, received, requests, active }))
    .sort((a, b) => a.reporter.localeCompare(b.reporter));
}

const both = (sent: string, received: string, requests: string) =>
  ["client", "server"].map((reporter) => ({ reporter, sent, received, requests, active: 1 }));

/** Waits for what is expected, then says what is there. */
async function eventually(agent: Agent, expected: object[]): Promise<object[]> {
  await settled(async () => (Bun.deepEquals(await seen(agent), expected) ? [] : ["not yet"]), 5_000);
  return seen(agent);
}

test("the seed anchors both ends where the agent found them, role included", async () => {
  const agent = await startAgent(ends, ["--loopback"]);
  try {
    expect(await seen(agent)).toEqual([]);
    await exchange(1_234, 56_789);
    expect(await eventually(agent, both("1234", "56789", "1"))).toEqual(both("1234", "56789", "1"));
    await exchange(1, 1);
    expect(await eventually(agent, both("1235", "56790", "2"))).toEqual(both("1235", "56790", "2"));
    expect(await agent.metrics()).toMatch(/^ringside_connections_seeded_total \d+$/m);
  } finally {
    await agent.stop();
  }
}, 30_000);

test("an agent that starts again goes on from there, and two at once count the same", async () => {
  const first = await startAgent(ends, ["--loopback"]);
  const second = await startAgent(ends, ["--loopback"]);
  try {
    await exchange(777, 888);
    for (const agent of [first, second]) {
      expect(await eventually(agent, both("777", "888", "1"))).toEqual(both("777", "888", "1"));
    }
  } finally {
    expect(await first.stop()).toBe(0);
    expect(await second.stop()).toBe(0);
  }
}, 30_000);
