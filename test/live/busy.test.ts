/**
 * Connections that are older than the agent, and never rest: what it counts is what moved from its first sight on, to
 * the byte, as the programs at both ends wrote it down.
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { Probe } from "../../src/bpf/probe.ts";
import { Sockets } from "../stress/sockets.ts";
import { type Recorded, Recorder } from "../truth/recorded.ts";

/** The first of them moves every few hundred microseconds, the last every 1.6 s: a hook sees the one first, the seed the other. */
const CONNECTIONS = 14;
const [ASK, REPLY] = [777, 333];

let sockets: Sockets;

beforeEach(async () => {
  sockets = await Sockets.start();
  await sockets.tell(`open ${CONNECTIONS}`);
  await sockets.tell(`talk ${ASK} ${REPLY} 200`);
  await Bun.sleep(300);
});

afterEach(() => sockets.stop());

/** What one agent says last of each end, after it has watched for so long. */
async function watch(ms: number) {
  const recorder = new Recorder();
  const probe = await Probe.attach({ backend: "auto", maxConnections: 1 << 12, ringSize: 1 << 20 });
  try {
    await probe.seed();
    for (const end = performance.now() + ms; performance.now() < end; await Bun.sleep(100)) probe.sweep(recorder);
    const { seeded, late } = probe.counters();
    const ours = recorder.records.filter(({ netns }) => sockets.namespaces.includes(netns));
    return { ends: [...new Map(ours.map((record) => [record.id, record])).values()], seeded, late };
  } finally {
    probe.close();
  }
}

const clientPort = ({ role, local, remote }: Recorded) => (role === "client" ? local : remote).split(" ")[1];

/** What an end had moved by a boot time: bytes sent, bytes read; each has two values where a call was under way. */
async function movedBy(end: Recorded, time: bigint): Promise<{ sent: number[]; received: number[] }> {
  const all = await sockets.tell(`by ${clientPort(end)} ${time}`);
  const [from, to, start, stop] = end.role === "client" ? [0, 2, 2, 4] : [4, 6, 6, 8];
  return { sent: all.slice(from, to), received: all.slice(start, stop) };
}

/** Whether `counted` is what lies between, however the calls that were under way at either moment are taken. */
const lies = (counted: number, before: number[], after: number[]) =>
  before.some((first) => after.some((last) => last - first === counted));

/** @returns one sentence for each end that was not counted exactly from its first sight to its last record */
async function differences(ends: Recorded[]): Promise<string[]> {
  const found: string[] = [];
  for (const end of ends) {
    const [before, after] = [await movedBy(end, end.bornAt), await movedBy(end, end.time)];
    for (const way of ["sent", "received"] as const) {
      if (lies(end[way], before[way], after[way])) continue;
      found.push(`${end.role} ${clientPort(end)}: ${way} ${end[way]}, of ${before[way]} to ${after[way]}`);
    }
  }
  return found;
}

test("each end is exact from its first sight on, in its role, whether the seed or a hook saw it first", async () => {
  const { ends, seeded, late } = await watch(1800);
  await sockets.tell("hush");
  expect(await differences(ends)).toEqual([]);
  const roles = ends.map(({ role }) => role).toSorted();
  expect(roles).toEqual([...Array(CONNECTIONS).fill("client"), ...Array(CONNECTIONS).fill("server")]);
  expect(seeded).toBeGreaterThan(0n);
  expect(late).toBeGreaterThan(0n);
}, 30_000);

test("two agents, one after the other, count what moved while there was one, and nothing twice", async () => {
  const first = await watch(500);
  await Bun.sleep(200);
  const second = await watch(500);
  await sockets.tell("hush");
  expect(await differences([...first.ends, ...second.ends])).toEqual([]);
  const sum = ({ ends }: typeof first) => ends.reduce((all, { sent }) => all + sent, 0);
  expect(Math.min(sum(first), sum(second))).toBeGreaterThan(100_000);
}, 30_000);
