/** Rules of the hooks that show only where something unusual is done with a socket. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { recordFlag } from "../../src/bpf/abi.ts";
import { Probe, REFRESH } from "../../src/bpf/probe.ts";
import { Records, type Told } from "./records.ts";
import { Sockets } from "./sockets.ts";

/** Of the sequence numbers, in bytes. */
const LAP = 2 ** 32;

let sockets: Sockets;
let records: Records;
let probe: Probe;

const attach = async () => {
  probe = await Probe.attach({ backend: "auto", maxConnections: 1 << 16, ringSize: 1 << 20 });
};

beforeEach(async () => {
  sockets = await Sockets.start();
  records = new Records(sockets.namespaces);
});

afterEach(async () => {
  await sockets.stop();
  probe.close();
});

/** What is told of the clients, or of the servers, after a sweep. */
function told(of: string): Pick<Told, "sent" | "received" | "exchanges">[] {
  probe.sweep(records);
  return [...records.connections.values()]
    .filter((one) => one.role === of)
    .map(({ sent, received, exchanges }) => ({ sent, received, exchanges }));
}

test("a peek is no receive", async () => {
  await attach();
  await sockets.tell("peek");
  expect(told("client")).toEqual([{ sent: 30, received: 20, exchanges: 1 }]);
  expect(told("server")).toEqual([{ sent: 20, received: 30, exchanges: 1 }]);
});

test("a send that moves nothing is no answer", async () => {
  await attach();
  const [sent] = await sockets.tell("block");
  expect(told("server")).toEqual([{ sent: sent!, received: 3, exchanges: 1 }]);
});

test("what was refused has no bytes, and is told as a failure", async () => {
  await attach();
  await sockets.tell("refuse 20");
  probe.sweep(records);
  expect(records.total(({ failed }) => failed)).toEqual({ connections: 20, sent: 0, received: 0 });
  expect(records.connections.size).toBe(20);
});

test("what is still connecting is not told of", async () => {
  await attach();
  const [connecting] = await sockets.tell("knock 10");
  expect(connecting).toBeGreaterThan(0);
  // A whole round: the turn of each state comes.
  for (let i = 0; i < REFRESH; i++) probe.sweep(records);
  expect(records.total()).toEqual({ connections: 2 * (10 - connecting!), sent: 0, received: 0 });
});

test("what was still connecting as the agent came is exact", async () => {
  const [connecting] = await sockets.tell("knock 10");
  expect(connecting).toBeGreaterThan(0);
  await attach();
  await probe.seed();
  await sockets.tell("admit");
  await sockets.tell("move 0 10 1 100 50");
  const clients = told("client");
  expect(clients).toEqual(Array(10).fill({ sent: 100, received: 50, exchanges: 1 }));
  expect(told("server")).toEqual(Array(10).fill({ sent: 50, received: 100, exchanges: 1 }));
  expect([...records.connections.values()].some(({ flags }) => flags & recordFlag.seeded)).toBe(true);
}, 20_000);

test("a socket that connects again is another connection", async () => {
  await attach();
  await sockets.tell("reconnect 100 50");
  expect(told("client")).toEqual(Array(2).fill({ sent: 100, received: 50, exchanges: 1 }));
  expect(told("server")).toEqual(Array(2).fill({ sent: 50, received: 100, exchanges: 1 }));
});

test("a connection begins once, though its hooks have several programs", async () => {
  await attach();
  const begun: number[] = [];
  // Other programs' connections can only add: the least of a few attempts is ours alone.
  for (let i = 0; i < 5 && !begun.includes(20); i++) {
    const before = probe.counters().connections;
    await sockets.tell("open 10");
    begun.push(Number(probe.counters().connections - before));
  }
  expect(Math.min(...begun)).toBe(20);
});

test("more than a lap of the sequence numbers between two sweeps is exact, whenever the connection began", async () => {
  await sockets.tell("open 1");
  await sockets.tell("move 0 1 1 1000 10");
  await attach();
  await probe.seed();
  await sockets.tell("open 1");
  for (const i of [0, 1]) await sockets.tell(`pour ${i} ${LAP + 12_345}`);
  const [sent, received] = [LAP + 12_345, 0];
  expect(told("client")).toEqual(Array(2).fill({ sent, received, exchanges: 0 }));
  expect(told("server")).toEqual(Array(2).fill({ sent: received, received: sent, exchanges: 0 }));
}, 60_000);
