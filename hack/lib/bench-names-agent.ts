/**
 * The agent's own way to its names, alone in a process: core, resolver and watch of the server at argv[2]. It says on
 * its standard output what it has and what it cost, whenever it is asked on its standard input.
 */

import { readFileSync } from "node:fs";
import { bootNs } from "../../src/bpf/libbpf.ts";
import { load } from "../../src/core/fixture.ts";
import { Resolver } from "../../src/kube/resolve.ts";
import { Watch } from "../../src/kube/watch.ts";

const [server = "", node] = process.argv.slice(2);
const TICK_MS = 10;

const core = await load();
const resolver = new Resolver(core, (wall) => bootNs() + BigInt(Math.round((wall - Date.now()) * 1e6)), node);
const memory = (field: string): number =>
  Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1024;

/** Milliseconds that a timer came late. */
let stalls: number[] = [];
let last = performance.now();
setInterval(() => {
  const now = performance.now();
  stalls.push(Math.max(0, now - last - TICK_MS));
  last = now;
}, TICK_MS);

const bare = memory("VmRSS");
const begin = performance.now();
const watch = Watch.start({
  access: { server, credentials: async () => ({ headers: {}, tls: {} }) },
  resolver,
  node,
  now: bootNs,
  onError: (error) => console.error(error.message),
  onWell: () => {},
  jitter: 0,
});
await watch.settled;
const seconds = (performance.now() - begin) / 1000;
let cpu = { user: 0, system: 0 };

function report(): void {
  const sorted = stalls.sort((a, b) => a - b);
  const used = process.cpuUsage(cpu);
  const { objects, streams } = watch.counters();
  const events = Object.values(streams).reduce((sum, { events }) => sum + events.modified + events.deleted, 0);
  const malformed = Object.values(streams).reduce((sum, { malformed }) => sum + malformed, 0);
  console.log(
    JSON.stringify({
      seconds,
      objects,
      events,
      malformed,
      bareMB: bare,
      rssMB: memory("VmRSS"),
      peakMB: memory("VmHWM"),
      cpuSeconds: (used.user + used.system) / 1e6,
      stallMs: { most: sorted.at(-1) ?? 0, p99: sorted[Math.floor(sorted.length * 0.99)] ?? 0 },
    }),
  );
  cpu = process.cpuUsage();
  stalls = [];
  last = performance.now();
}

report();
for await (const _ of console) report();
process.exit(0);
