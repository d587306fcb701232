/** The kernel uses a socket's memory again: what the seed knew of its last owner must be gone. */
import { expect, test } from "bun:test";
import { recordFlag } from "../../src/bpf/abi.ts";
import { Probe } from "../../src/bpf/probe.ts";
import { undisturbed } from "./quiet.ts";
import { Records } from "./records.ts";
import { Sockets } from "./sockets.ts";

const OLD = 500;
const ROOM = 2000;

async function reuse() {
  const sockets = await Sockets.start();
  let probe: Probe | undefined;
  try {
    await sockets.tell(`open ${OLD}`);
    await sockets.tell(`move 0 ${OLD} 1 1000 500`);
    probe = await Probe.attach({ backend: "auto", maxConnections: ROOM, ringSize: 4 << 20 });
    await probe.seed();
    const records = new Records(sockets.namespaces);
    // All places are taken: connections from here on are born without state, and looked up among the seeds later.
    await sockets.tell(`open ${ROOM / 2}`);
    await sockets.tell(`close 0 ${OLD}`);
    // The kernel gives a socket's memory away only after a while.
    await Bun.sleep(500);
    await sockets.tell(`open ${OLD}`);
    await sockets.tell(`close ${OLD} ${OLD + ROOM / 2}`);
    await sockets.tell(`move ${OLD + ROOM / 2} ${2 * OLD + ROOM / 2} 1 7 3`);
    await sockets.tell(`move ${OLD + ROOM / 2} ${2 * OLD + ROOM / 2} 1 77 33`);
    probe.sweep(records);
    const counters = probe.counters();
    // Who else began has one of the places.
    const disturbed = Number(counters.connections) !== ROOM + 2 * OLD;
    return { disturbed, counters, records };
  } finally {
    await sockets.stop();
    probe?.close();
  }
}

test("a connection has nothing of an older one whose socket's memory it has", async () => {
  const { counters, records } = await undisturbed(reuse);
  expect({ late: counters.late, seeded: counters.seeded }).toEqual({ late: BigInt(2 * OLD), seeded: 0n });
  const sums = new Set(
    [...records.connections.values()]
      .filter(({ flags }) => flags === recordFlag.seeded)
      .map(({ sent, received }) => `${sent} ${received}`),
  );
  // A send is seen before it has moved anything, a receive only after: the server's first one is not counted.
  expect([...sums].sort()).toEqual(["36 77", "84 36"]);
}, 60_000);
