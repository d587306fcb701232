/**
 * The baseline: informers of @kubernetes/client-node, which keep whole objects. It says the same as
 * bench-names-agent.ts, as far as it has it.
 */
import { readFileSync } from "node:fs";
import { KubeConfig, makeInformer } from "@kubernetes/client-node";

const [server = ""] = process.argv.slice(2);
const TICK_MS = 10;
const PAGE = 500;
const lists = ["/api/v1/pods", "/api/v1/services", "/api/v1/nodes", "/apis/discovery.k8s.io/v1/endpointslices"];

const config = new KubeConfig();
config.loadFromOptions({
  clusters: [{ name: "bench", server, skipTLSVerify: true }],
  users: [{ name: "bench" }],
  contexts: [{ name: "bench", cluster: "bench", user: "bench" }],
  currentContext: "bench",
});
const memory = (field: string): number =>
  Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1024;

let stalls: number[] = [];
let last = performance.now();
setInterval(() => {
  const now = performance.now();
  stalls.push(Math.max(0, now - last - TICK_MS));
  last = now;
}, TICK_MS);

/** All pages of a list, as one, which is what an informer asks for. */
async function list(path: string) {
  const all: { metadata: unknown; items: object[] } = { metadata: {}, items: [] };
  let token = "";
  do {
    const answer = await fetch(`${server}${path}?limit=${PAGE}&continue=${token}`);
    const page = (await answer.json()) as { metadata: { continue?: string }; items: object[] };
    all.items.push(...page.items);
    all.metadata = page.metadata;
    token = page.metadata.continue ?? "";
  } while (token !== "");
  return all;
}

const bareMB = memory("VmRSS");
const begin = performance.now();
let events = 0;
const informers = lists.map((path) => makeInformer(config, path, () => list(path) as never));
for (const informer of informers) {
  for (const verb of ["update", "delete"] as const) informer.on(verb, () => void events++);
  informer.on("error", (error) => console.error(error));
}
await Promise.all(informers.map((informer) => informer.start()));
const seconds = (performance.now() - begin) / 1000;
let cpu = { user: 0, system: 0 };

function report(): void {
  const sorted = stalls.sort((a, b) => a - b);
  const used = process.cpuUsage(cpu);
  const [pod, service, node, slice] = informers.map((informer) => informer.list().length);
  console.log(
    JSON.stringify({
      seconds,
      objects: { pod, service, node, slice },
      events,
      malformed: 0,
      bareMB,
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
