/** A hundred thousand connections that are older than the agent, in foreign network namespaces: all are found, to the byte. */
import { expect, test } from "bun:test";
import { recordFlag } from "../../src/bpf/abi.ts";
import { Probe } from "../../src/bpf/probe.ts";
import { Records } from "./records.ts";
import { Sockets } from "./sockets.ts";

const CONNECTIONS = 100_000;
/** Of an ordinary limit of 20,000 files. */
const PAIRS = 9_000;
const PROGRAMS = Math.ceil(CONNECTIONS / 2 / PAIRS);
const PAIRS_IN_ALL = PAIRS * PROGRAMS;

test("connections older than the agent start at nothing, wherever they stood", async () => {
  const all = await Promise.all(Array.from({ length: PROGRAMS }, () => Sockets.start()));
  const each = (command: string) => Promise.all(all.map((sockets) => sockets.tell(command)));
  let probe: Probe | undefined;
  try {
    await each(`open ${PAIRS}`);
    // Connections have different pasts: one in two has none, some have more.
    await each(`move 0 ${PAIRS} 2 1000 10`);
    await each(`move 0 ${PAIRS} 70 30000 20000`);
    probe = await Probe.attach({ backend: "auto", maxConnections: 4 * CONNECTIONS, ringSize: 4 << 20 });
    const began = performance.now();
    await probe.seed();
    const took = performance.now() - began;
    const records = new Records(all.flatMap(({ namespaces }) => namespaces));
    probe.sweep(records);
    expect(records.connections.size).toBe(0);

    await each(`move 0 ${PAIRS} 1 77 33`);
    // A sweep that paused for want of room may pass over a few where other sockets come and go; the next ones mend it.
    for (let i = 0; i < 3; i++) probe.sweep(records);
    expect(probe.counters().seedsLost).toBe(0n);
    const told = (of: string, sent: number, received: number) =>
      records.total(
        (one) => one.role === of && one.flags === recordFlag.seeded && one.sent === sent && one.received === received,
      ).connections;
    expect([told("client", 77, 33), told("server", 33, 77)]).toEqual([PAIRS_IN_ALL, PAIRS_IN_ALL]);
    expect(records.connections.size).toBe(2 * PAIRS_IN_ALL);
    console.log(`the seed took ${took.toFixed(0)} ms with ${2 * PAIRS_IN_ALL} connections`);
  } finally {
    await Promise.all(all.map((sockets) => sockets.stop()));
    probe?.close();
  }
}, 120_000);
