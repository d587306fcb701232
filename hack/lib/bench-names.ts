/**
 * What names cost in a large cluster: 150,000 pods, 10,000 Services, 5,000 nodes and their EndpointSlices, served by a
 * replay server in a process of its own, taken by the agent's own way of names in another. The baseline is the informer
 * of @kubernetes/client-node with a tenth of the cluster, in the same run.
 */
import { join } from "node:path";
import type { Report } from "./bench-names-report.ts";

const full = { pods: 150_000, services: 10_000, nodes: 5_000 };
const tenth = { pods: 15_000, services: 1_000, nodes: 500 };
const SEED = 1;
/** Pod events a second, and for how long. */
const RATE = 500;
const SECONDS = 30;
/** Until memory counts as steady. */
const STEADY_MS = 20_000;
/** Until the last events have arrived, on a busy machine, too. */
const ARRIVAL_MS = 5_000;

const say = (text: string): void => console.error(`${(performance.now() / 1000).toFixed(0).padStart(4)}s  ${text}`);

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let text = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream() as never) as AsyncIterable<string>) {
    const lines = (text + chunk).split("\n");
    text = lines.pop() ?? "";
    yield* lines;
  }
}

/** A child that prints lines of JSON, one for each that it is asked for. */
class Child {
  private readonly process: Bun.Subprocess<"pipe", "pipe", "inherit">;
  private readonly lines: AsyncIterator<string>;

  constructor(script: string, args: string[]) {
    this.process = Bun.spawn([process.execPath, join(import.meta.dir, script), ...args], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
    this.lines = linesOf(this.process.stdout);
  }

  async read<T>(): Promise<T> {
    const { value, done } = await this.lines.next();
    if (done) throw new Error("a process of the benchmark has ended");
    return JSON.parse(value);
  }

  ask<T>(): Promise<T> {
    this.process.stdin.write("\n");
    this.process.stdin.flush();
    return this.read();
  }

  async stop(): Promise<void> {
    this.process.kill();
    await this.process.exited;
  }
}

interface Result {
  size: typeof full;
  podBytes: { least: number; most: number };
  /** When all objects were known; after a while; and during the churn. */
  first: Report;
  steady: Report;
  busy: Report;
  churned: { pods: number; slices: number; bytes: number };
}

async function measure(size: typeof full, script: string): Promise<Result> {
  say(`${script}: ${size.pods} pods, ${size.services} Services, ${size.nodes} nodes`);
  const server = new Child("bench-names-server.ts", [size.pods, size.services, size.nodes, SEED].map(String));
  try {
    const { url, podBytes } = await server.read<{ url: string; podBytes: Result["podBytes"] }>();
    const child = new Child(script, [url, "node-0.eu-central-1.compute.internal"]);
    try {
      const first = await child.read<Report>();
      say(`  all names after ${first.seconds.toFixed(1)} s`);
      await Bun.sleep(STEADY_MS);
      const steady = await child.ask<Report>();
      say(`  ${RATE} pod events a second for ${SECONDS} s`);
      const query = `rate=${RATE}&seconds=${SECONDS}`;
      const response = await fetch(`${url}/churn?${query}`, { timeout: false } as RequestInit);
      const churned = (await response.json()) as Result["churned"];
      await Bun.sleep(ARRIVAL_MS);
      return { size, podBytes, first, steady, busy: await child.ask<Report>(), churned };
    } finally {
      await child.stop();
    }
  } finally {
    await server.stop();
  }
}

const result = {
  agent: await measure(full, "bench-names-agent.ts"),
  agentTenth: await measure(tenth, "bench-names-agent.ts"),
  baselineTenth: await measure(tenth, "bench-names-baseline.ts"),
};
/** All objects came, and were understood; and after the churn there are as many. */
const right = Object.values(result).every(({ size, first, busy }) =>
  [first, busy].every(
    ({ objects, malformed }) =>
      objects.pod === size.pods && objects.service === size.services && objects.node === size.nodes && malformed === 0,
  ),
);
if (process.argv.includes("--json")) console.log(JSON.stringify({ ...result, right }, null, 2));
else {
  console.log(
    "                 pods  all after  CPU s  peak MB  steady MB  stall ms: start  steady  churn (p99)  CPU: steady  churn",
  );
  for (const [name, { size, first, steady, busy }] of Object.entries(result)) {
    const memory = `${first.peakMB.toFixed(0).padStart(8)} ${steady.rssMB.toFixed(0).padStart(10)}`;
    const stalls = `${first.stallMs.most.toFixed(0).padStart(16)} ${steady.stallMs.most.toFixed(0).padStart(7)}`;
    const [idle, busily] = [steady.cpuSeconds / (STEADY_MS / 1000), busy.cpuSeconds / SECONDS];
    const cpu = `${(idle * 100).toFixed(1).padStart(12)}% ${(busily * 100).toFixed(1).padStart(5)}%`;
    const churn = `${busy.stallMs.most.toFixed(0).padStart(6)} (${busy.stallMs.p99.toFixed(0)}) ${cpu}`;
    const start = `${String(size.pods).padStart(7)} ${first.seconds.toFixed(1).padStart(8)} s ${first.cpuSeconds.toFixed(1).padStart(6)}`;
    console.log(`${name.padEnd(14)} ${start} ${memory} ${stalls} ${churn}`);
  }
  console.log(`all objects known, before the churn and after it: ${right ? "yes" : "NO"}`);
  if (!right) console.log(JSON.stringify(result, null, 2));
}
process.exit(right ? 0 : 1);
