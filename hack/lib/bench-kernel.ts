/**
 * Nanoseconds a hook takes, as the kernel measures it, for each backend that this kernel
 * takes. The measuring itself costs: an empty program on a hook of the same kind says how much.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { backends } from "../../src/bpf/hooks.ts";
import { BpfObject, measurePrograms } from "../../src/bpf/libbpf.ts";
import { Probe } from "../../src/bpf/probe.ts";
import { Load } from "./bench-load.ts";

const { values: options } = parseArgs({
  options: { requests: { type: "string", default: "300000" }, json: { type: "boolean", default: false } },
});
const REQUESTS = Number(options.requests);
const top = join(import.meta.dir, "../..");

/** Takes what comes, and forgets it: the core is not what is measured. */
const nowhere = { area: new Uint8Array(8 << 20), batch: () => nowhere.area, ingest: () => {} };

/** Attaches the empty program of a kind, or says that it cannot. */
async function attachEmpty(program: string): Promise<BpfObject | undefined> {
  const object = new BpfObject(await Bun.file(join(top, "build/bench/empty.bpf.o")).bytes());
  try {
    object.keep(program);
    object.load();
    object.attach(program);
    return object;
  } catch {
    object.close();
    return undefined;
  }
}

interface Result {
  backend: string;
  hook: string;
  runs: number;
  /** Of all programs of the hook. */
  ns: number;
  /** Of as many empty programs on the same kind of hook. */
  emptyNs: number;
}

async function measure(backend: (typeof backends)[number], load: Load): Promise<Result[] | string> {
  const empties = new Map<string, BpfObject>();
  let probe: Probe;
  try {
    probe = await Probe.attach({ backend, maxConnections: 65_536, ringSize: 4 << 20 });
  } catch (error) {
    return (error as Error).message;
  }
  for (const kind of ["tracepoint", "fentry", "kprobe"]) {
    const empty = await attachEmpty(`empty_${kind}`);
    if (empty) empties.set(kind, empty);
  }
  const sweep = setInterval(() => probe.sweep(nowhere), 1000);
  await load.run(REQUESTS);
  clearInterval(sweep);
  const emptyNs = (kind: string): number => {
    const stats = empties.get(kind)?.programStats(`empty_${kind}`);
    return stats ? Number(stats.runNs) / Number(stats.runs) : Number.NaN;
  };
  const results = probe
    .hookStats()
    .filter(({ runs }) => runs > REQUESTS / 2)
    .map(({ target, type, programs, runs, runSeconds }) => ({
      backend,
      hook: target,
      runs,
      ns: (runSeconds * 1e9) / runs,
      emptyNs: emptyNs(type) * programs,
    }));
  for (const empty of empties.values()) empty.close();
  probe.close();
  return results;
}

const load = await Load.start();
const all: Result[] = [];
try {
  measurePrograms();
  for (const backend of backends) {
    const results = await measure(backend, load);
    if (typeof results === "string") {
      console.error(`${backend}: not on this kernel: ${results.slice(0, 160)}`);
      continue;
    }
    all.push(...results);
  }
} finally {
  await load.stop();
}
if (options.json) console.log(JSON.stringify(all, null, 2));
else {
  console.log("backend     hook                        runs   ns a hit   empty hook   net");
  for (const { backend, hook, runs, ns, emptyNs } of all) {
    const cells = [ns, emptyNs, ns - emptyNs].map((value) => value.toFixed(0));
    console.log(
      `${backend.padEnd(12)}${hook.padEnd(24)}${String(runs).padStart(8)}${cells[0]!.padStart(11)}${cells[1]!.padStart(13)}${cells[2]!.padStart(6)}`,
    );
  }
}
