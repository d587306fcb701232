/** A sweep that has to pause for room in the ring, while connections that it has passed end: it leaves no other one out. */
import { expect, test } from "bun:test";
import { Probe } from "../../src/bpf/probe.ts";
import { undisturbed } from "./quiet.ts";
import { Records } from "./records.ts";
import { Sockets } from "./sockets.ts";

/** Pairs of connections. The ring has room for 303 records, and is full for a sweep at 228: last words then have the rest. */
const ENDING = 40;
const LIVING = 560;
const PATIENCE_MS = 10_000;

/** Ends some connections, and waits until the kernel has, before it reads a first batch. */
class Ending extends Records {
  constructor(
    namespaces: number[],
    private readonly probe: Probe,
    private victims: Sockets | undefined,
  ) {
    super(namespaces);
  }

  override ingest(bytes: number): void {
    super.ingest(bytes);
    this.victims?.kill();
    const end = performance.now() + PATIENCE_MS;
    while (this.victims && this.probe.counters().connectionsEnded < 2 * ENDING && performance.now() < end);
    this.victims = undefined;
  }
}

async function pause() {
  const probe = await Probe.attach({ backend: "auto", maxConnections: 1 << 16, ringSize: 1 << 16 });
  const [victims, others] = [await Sockets.start(), await Sockets.start()];
  try {
    for (const [sockets, pairs] of [[victims, ENDING] as const, [others, LIVING] as const]) {
      await sockets.tell(`open ${pairs}`);
      await sockets.tell(`move 0 ${pairs} 1 100 50`);
    }
    const records = new Ending(others.namespaces, probe, victims);
    probe.sweep(records);
    const counters = probe.counters();
    return { disturbed: counters.connectionsEnded !== BigInt(2 * ENDING), counters, seen: records.total() };
  } finally {
    await victims.stop();
    await others.stop();
    probe.close();
  }
}

test("a sweep that pauses while connections end leaves none of the living out", async () => {
  const { counters, seen } = await undisturbed(pause);
  expect(counters.snapshotsDeferred).toBeGreaterThan(0n);
  expect(seen).toEqual({ connections: 2 * LIVING, sent: LIVING * 150, received: LIVING * 150 });
}, 60_000);
