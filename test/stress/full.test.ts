/**
 * A ring that is full and a reader that stalls: of the living nothing is lost, of the dead exactly what is counted as
 * lost, and none of them is active for ever.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { bootNs } from "../../src/bpf/libbpf.ts";
import { Probe, REFRESH } from "../../src/bpf/probe.ts";
import { Core } from "../../src/core/core.ts";
import { undisturbed } from "./quiet.ts";
import { Records, Stalled } from "./records.ts";
import { Sockets } from "./sockets.ts";

const wasm = join(import.meta.dir, "../../build/core.wasm");

/** Pairs of connections; the ring has room for 303 records. */
const OPEN = 600;
const CLOSED = 400;
const CHURNED = 500;

async function stall() {
  const core = await Core.load(wasm, { settle: 0n, refresh: REFRESH, loopback: true });
  core.fresh(2n ** 64n - 1n);
  const probe = await Probe.attach({ backend: "auto", maxConnections: 1 << 16, ringSize: 1 << 16 });
  const sockets = await Sockets.start();
  const records = new Records(sockets.namespaces, core);
  const sweep = () => {
    probe.sweep(records);
    core.settle(bootNs(), probe.sweeps);
  };
  /** Two complete ones, in which each connection that lives is heard of, and a third to look for those that were not. */
  const rounds = () => {
    for (let i = 0; i < 3 * REFRESH + 1; i++) sweep();
  };
  const active = () => core.links().reduce((sum, link) => sum + link.active, 0);
  try {
    await sockets.tell(`open ${OPEN}`);
    await sockets.tell(`move 0 ${OPEN} 1 100 50`);
    records.stalled = true;
    expect(() => probe.sweep(records)).toThrow(Stalled);
    await sockets.tell(`move 0 ${OPEN} 1 1000 500`);
    await sockets.tell(`close 0 ${CLOSED}`);
    await sockets.tell(`churn ${CHURNED} 7 3`);
    const counters = probe.counters();
    records.stalled = false;
    sweep();
    const seen = { ended: records.total(({ ended }) => ended), all: records.total() };
    rounds();
    const living = { active: active(), rows: core.counters().connections };
    await sockets.tell(`close ${CLOSED} ${OPEN}`);
    rounds();
    const dead = { active: active(), rows: core.counters().connections };
    // Who else ended may be among the finals that were lost.
    const disturbed = Number(counters.connectionsEnded) !== 2 * (CLOSED + CHURNED);
    return { disturbed, counters, records, seen, living, dead, core: core.counters() };
  } finally {
    await sockets.stop();
    probe.close();
  }
}

test("a full ring loses no byte of the living, and of the dead what it counts", async () => {
  const { counters, seen, records, living, dead, core } = await undisturbed(stall);
  const alive = 2 * (OPEN - CLOSED);
  const lost = Number(counters.finalsLost);

  expect(lost).toBeGreaterThan(CHURNED);
  expect(seen.ended.connections + lost).toBe(2 * (CLOSED + CHURNED));
  // Both ends send, so bytes of either direction are all of them.
  const truth = OPEN * (100 + 50 + 1000 + 500) + CHURNED * (7 + 3);
  expect(seen.all.sent + Number(counters.finalsLostSent)).toBe(truth);
  expect(seen.all.received + Number(counters.finalsLostReceived)).toBe(truth);

  const exact = (sent: number, received: number) =>
    records.total((told) => told.sent === sent && told.received === received).connections;
  expect(exact(1100, 550)).toBeGreaterThanOrEqual(alive / 2);
  expect(exact(550, 1100)).toBeGreaterThanOrEqual(alive / 2);
  expect(records.late).toBe(0);
  expect(records.fell).toBe(0);

  expect(living).toEqual({ active: alive, rows: alive });
  expect(dead).toEqual({ active: 0, rows: 0 });
  expect(core.finalsMissed).toBeGreaterThan(0);
}, 60_000);
