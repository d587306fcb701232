/** More connections than there is room for: each refusal is counted, and those that have room are exact. */
import { expect, test } from "bun:test";
import { Probe } from "../../src/bpf/probe.ts";
import { undisturbed } from "./quiet.ts";
import { Records } from "./records.ts";
import { Sockets } from "./sockets.ts";

const ROOM = 100;
const OPEN = 150;

async function crowd() {
  const probe = await Probe.attach({ backend: "auto", maxConnections: ROOM, ringSize: 1 << 20 });
  const sockets = await Sockets.start();
  const records = new Records(sockets.namespaces);
  try {
    // The first pairs have room for both ends, the others for none.
    await sockets.tell(`open ${OPEN}`);
    const full = probe.counters();
    await sockets.tell(`move 0 ${OPEN} 1 100 50`);
    probe.sweep(records);
    const crowded = records.total();
    const moved = probe.counters();
    await sockets.tell(`close 0 ${ROOM / 4}`);
    probe.sweep(records);
    const left = records.total(({ ended }) => ended);
    // Half of the room is free again.
    await sockets.tell(`open ${ROOM / 4}`);
    await sockets.tell(`move ${OPEN} ${OPEN + ROOM / 4} 1 7 3`);
    probe.sweep(records);
    // Who else began has one of the places.
    const disturbed = Number(probe.counters().connections) !== ROOM + ROOM / 2;
    return { disturbed, full, moved, crowded, left, records };
  } finally {
    await sockets.stop();
    probe.close();
  }
}

test("connections beyond the limit are refused and counted, and their places used again", async () => {
  const { full, moved, crowded, left, records } = await undisturbed(crowd);
  expect(full.connections - full.connectionsEnded).toBe(BigInt(ROOM));
  // Once at birth, and once more where an end is established without one.
  expect(full.refusedLimit).toBeGreaterThanOrEqual(BigInt(2 * OPEN - ROOM));
  expect(moved.refusedLimit).toBeGreaterThan(full.refusedLimit);
  expect(moved.refusedMemory).toBe(0n);
  expect(crowded).toEqual({ connections: ROOM, sent: (ROOM / 2) * 150, received: (ROOM / 2) * 150 });
  expect(left).toEqual({ connections: ROOM / 2, sent: (ROOM / 4) * 150, received: (ROOM / 4) * 150 });
  const later = records.total(({ sent, received }) => sent + received === 10);
  expect(later).toEqual({ connections: ROOM / 2, sent: (ROOM / 4) * 10, received: (ROOM / 4) * 10 });
}, 60_000);
