/** Connections that are older than the agent: what they move after its start is counted, and nothing else. */
import { dlopen, ptr } from "bun:ffi";
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
  // A port that the kernel would choose itself is told as ephemeral.
  server = createServer({ pauseOnConnect: true }).listen(21_080, "127.0.0.1");
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

async function seen(agent: Agent, dialled: number): Promise<object[]> {
  const links = (await agent.links()).filter((link) => link.port === dialled);
  return links
    .map(({ reporter, sent, received, requests, active }) => ({ reporter, sent, received, requests, active }))
    .sort((a, b) => a.reporter.localeCompare(b.reporter));
}

const both = (sent: string, received: string, requests: string) =>
  ["client", "server"].map((reporter) => ({ reporter, sent, received, requests, active: 1 }));

/** Waits for what is expected, then says what is there. */
async function eventually(agent: Agent, expected: object[], dialled = port): Promise<object[]> {
  await settled(async () => (Bun.deepEquals(await seen(agent, dialled), expected) ? [] : ["not yet"]), 5_000);
  return seen(agent, dialled);
}

test("the seed anchors both ends where the agent found them, role included", async () => {
  const agent = await startAgent(ends, ["--loopback"]);
  try {
    expect(await seen(agent, port)).toEqual([]);
    await exchange(1_234, 56_789);
    expect(await eventually(agent, both("1234", "56789", "1"))).toEqual(both("1234", "56789", "1"));
    await exchange(1, 1);
    expect(await eventually(agent, both("1235", "56790", "2"))).toEqual(both("1235", "56790", "2"));
    expect(await agent.metrics()).toMatch(/^ringside_connections_seeded_total \d+$/m);
  } finally {
    await agent.stop();
  }
}, 30_000);

test("a listener without a backlog tells the server's end, which nothing else does", async () => {
  const { symbols: libc } = dlopen("libc.so.6", {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
    listen: { args: ["i32", "i32"], returns: "i32" },
    getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
    connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
    accept: { args: ["i32", "ptr", "ptr"], returns: "i32" },
    send: { args: ["i32", "ptr", "u64", "i32"], returns: "i32" },
    recv: { args: ["i32", "ptr", "u64", "i32"], returns: "i32" },
    close: { args: ["i32"], returns: "i32" },
  });
  // struct sockaddr_in: AF_INET, port 21081, 127.0.0.1
  const address = new Uint8Array([2, 0, 21_081 >> 8, 21_081 & 255, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  const length = new Uint32Array([address.length]);
  const data = new Uint8Array(1000);
  const [listener, dialler] = [libc.socket(2, 1, 0), libc.socket(2, 1, 0)];
  const steps = [
    libc.bind(listener, ptr(address), address.length),
    libc.listen(listener, 0),
    libc.getsockname(listener, ptr(address), ptr(length)),
    libc.connect(dialler, ptr(address), address.length),
  ];
  expect(steps).toEqual([0, 0, 0, 0]);
  const serving = libc.accept(listener, null, null);
  const agent = await startAgent(ends, ["--loopback"]);
  try {
    expect(libc.send(dialler, ptr(data), data.length, 0)).toBe(1000);
    expect(libc.recv(serving, ptr(data), data.length, 0)).toBe(1000);
    expect(libc.send(serving, ptr(data), 10, 0)).toBe(10);
    expect(libc.recv(dialler, ptr(data), data.length, 0)).toBe(10);
    const dialled = ((address[2] as number) << 8) | (address[3] as number);
    expect(await eventually(agent, both("1000", "10", "1"), dialled)).toEqual(both("1000", "10", "1"));
  } finally {
    for (const fd of [listener, dialler, serving]) libc.close(fd);
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
