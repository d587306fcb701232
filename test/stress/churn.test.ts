/** Sweeps without pause over connections that come and go, into a small ring that now and then is full. */
import { expect, test } from "bun:test";
import { Probe } from "../../src/bpf/probe.ts";
import { undisturbed } from "./quiet.ts";
import { Records } from "./records.ts";
import { Sockets } from "./sockets.ts";

const LIVING = 10;
const CHURNED = process.env.RINGSIDE_TEST_ALL ? 500_000 : 20_000;
const CHURNERS = 2;
const SWEEPS_BETWEEN_STALLS = 500;
const STALL_MS = 30;

async function churn() {
  const probe = await Probe.attach({ backend: "auto", maxConnections: 1 << 16, ringSize: 1 << 16 });
  const all = await Promise.all(Array.from({ length: CHURNERS + 1 }, () => Sockets.start()));
  const [living, ...churners] = all as [Sockets, ...Sockets[]];
  const records = new Records(all.flatMap(({ namespaces }) => namespaces));
  try {
    await living.tell(`open ${LIVING}`);
    let over = false;
    const churning = Promise.all(churners.map((sockets) => sockets.tell(`churn ${CHURNED} 100 50`)));
    churning.finally(() => {
      over = true;
    });
    let moves = 0;
    while (!over) {
      await living.tell(`move 0 ${LIVING} 1 10 5`);
      moves++;
      for (let i = 0; i < SWEEPS_BETWEEN_STALLS && !over; i++) {
        probe.sweep(records);
        await new Promise(setImmediate);
      }
      await Bun.sleep(STALL_MS);
    }
    await churning;
    probe.sweep(records);
    const seen = records.total();
    const counters = probe.counters();
    // Who else ended may be among the finals that were lost.
    const disturbed = Number(counters.connectionsEnded) !== 2 * CHURNERS * CHURNED;
    return { disturbed, counters, records, seen, moves };
  } finally {
    await Promise.all(all.map((sockets) => sockets.stop()));
    probe.close();
  }
}

test("under churn no byte of the living is lost, and of the dead what is counted", async () => {
  const { counters, records, seen, moves } = await undisturbed(churn);
  const truth = LIVING * moves * (10 + 5) + CHURNERS * CHURNED * (100 + 50);
  const ended = records.total((told) => told.ended);
  const living = [...records.connections.values()].filter((told) => !told.ended);

  // Nothing of a connection comes after its end, and its totals never fall.
  expect({ late: records.late, fell: records.fell }).toEqual({ late: 0, fell: 0 });
  expect(ended.connections + Number(counters.finalsLost)).toBe(2 * CHURNERS * CHURNED);
  expect(Number(counters.finalsLost)).toBeGreaterThan(0);
  expect(seen.sent + Number(counters.finalsLostSent)).toBe(truth);
  expect(seen.received + Number(counters.finalsLostReceived)).toBe(truth);
  const exact = (sent: number, received: number) =>
    living.filter((told) => told.sent === sent && told.received === received).length;
  expect([exact(10 * moves, 5 * moves), exact(5 * moves, 10 * moves)]).toEqual([LIVING, LIVING]);
}, 600_000);
