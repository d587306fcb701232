/**
 * Milliseconds a sweep takes over connections that are idle, its drain included. The baseline is the sweep of ten:
 * what it costs to sweep at all.
 */
import { Probe, REFRESH } from "../../src/bpf/probe.ts";
import { Sockets } from "../../test/stress/sockets.ts";
import { median } from "./bench-load.ts";

const SIZES = [10, 10_000, 100_000];
/** Pairs of connections that a program opens: an ordinary limit is 20,000 files. */
const PAIRS = 9_000;
/** Each connection is written in one of a round. */
const ROUNDS = 5;

/** Takes what comes, and forgets it. */
const nowhere = { area: new Uint8Array(8 << 20), batch: () => nowhere.area, ingest: () => {} };

interface Result {
  sockets: number;
  medianMs: number;
  slowestMs: number;
  /** Beyond the baseline. */
  nsPerSocket: number;
}

/** Opens so many connections, both ends of a pair counted, in as many programs as that takes. */
async function open(sockets: number): Promise<Sockets[]> {
  const programs: Sockets[] = [];
  for (let pairs = sockets / 2; pairs > 0; pairs -= PAIRS) {
    const program = await Sockets.start();
    programs.push(program);
    await program.tell(`open ${Math.min(pairs, PAIRS)}`);
  }
  return programs;
}

async function measure(sockets: number): Promise<number[]> {
  const probe = await Probe.attach({ backend: "auto", maxConnections: 2 * sockets, ringSize: 4 << 20 });
  const programs = await open(sockets);
  try {
    // The first one finds them all changed.
    probe.sweep(nowhere);
    const before = probe.counters().connections;
    if (before < sockets) throw new Error(`${sockets} connections were opened, and ${before} have state`);
    return Array.from({ length: ROUNDS * REFRESH }, () => {
      const began = performance.now();
      probe.sweep(nowhere);
      return performance.now() - began;
    });
  } finally {
    await Promise.all(programs.map((program) => program.stop()));
    probe.close();
  }
}

const results: Result[] = [];
for (const sockets of SIZES) {
  const times = await measure(sockets);
  const [baseline] = results;
  const medianMs = median(times);
  const more = baseline ? ((medianMs - baseline.medianMs) * 1e6) / (sockets - baseline.sockets) : Number.NaN;
  results.push({ sockets, medianMs, slowestMs: Math.max(...times), nsPerSocket: more });
}
if (process.argv.includes("--json")) console.log(JSON.stringify(results, null, 2));
else {
  console.log("idle sockets   ms a sweep   slowest   ns a socket   times the baseline");
  for (const { sockets, medianMs, slowestMs, nsPerSocket } of results) {
    console.log(
      String(sockets).padStart(12) +
        medianMs.toFixed(3).padStart(13) +
        slowestMs.toFixed(3).padStart(10) +
        (Number.isNaN(nsPerSocket) ? "(baseline)" : nsPerSocket.toFixed(0)).padStart(14) +
        (medianMs / results[0]!.medianMs).toFixed(0).padStart(21),
    );
  }
}
