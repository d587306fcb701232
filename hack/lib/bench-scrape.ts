/**
 * What a scrape costs: ms to its last byte as curl sees it, how long the agent's event loop stood still, and how much
 * memory the series took, against prom-client holding the same series. Run by hack/bench scrape; with --json the figures
 * go to stdout as JSON, progress goes to stderr.
 */
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Counter, Gauge, Histogram, Registry, Summary } from "prom-client";
import { address, feed, load, pod } from "../../src/core/fixture.ts";
import { serve } from "../../src/serve/http.ts";
import { SelfMetrics } from "../../src/serve/metrics.ts";
import { Scrapers } from "../../src/serve/scrapers.ts";

const sizes = [1_000, 10_000, 100_000, 500_000];
const rounds = 9;
const forms = {
  text: ["-H", "Accept: text/plain;version=0.0.4"],
  "text, gzip": ["-H", "Accept: text/plain;version=0.0.4", "-H", "Accept-Encoding: gzip"],
  OpenMetrics: ["-H", "Accept: application/openmetrics-text;version=1.0.0"],
  protobuf: [
    "-H",
    "Accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
  ],
};
const plain: Record<string, string[]> = { text: [] };

/** A process that holds the series and serves them; it tells its parent what it sees. */
interface Report {
  url: string;
  /** Bytes that it took to hold the series, before anybody asked for them. */
  held: number;
}

interface Scrape {
  form: string;
  /** Of the answer. */
  bytes: number;
  /** The fastest counts: the others measure what else the machine does. */
  ms: number;
  stallMs: number;
}

interface Row extends Report {
  who: string;
  series: number;
  scrapes: Scrape[];
  /** Bytes by which the process had grown after all scrapes. */
  grown: number;
}

const countSeries = (text: string): number => text.match(/^[^#\n]/gm)?.length ?? 0;

/** The longest time between two turns of a timer of 1 ms, since it was last asked for. */
function stalls(): () => number {
  let longest = 0;
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }, 1);
  return () => {
    const found = longest;
    longest = 0;
    return found;
  };
}

/** The child's side: reports, then answers "stall" and "rss". */
function report(url: string, held: number): void {
  const stall = stalls();
  process.on("message", (asked) => {
    process.send?.(asked === "stall" ? stall() : process.memoryUsage.rss());
  });
  process.send?.({ url, held } satisfies Report);
}

/** Client pods that serve, too: each has rows of all four kinds. */
async function ringside(size: number, file: string): Promise<void> {
  const before = process.memoryUsage.rss();
  const core = await load({ maxLinks: size, refresh: 1 });
  core.fresh(2n ** 64n - 1n);
  core.assign(address("10.255.0.1"), core.owner(pod("api-1")), 0n);
  const ip = (i: number): string => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
  const fill = (from: number, until: number): void => {
    for (let i = from; i < until; i++) {
      core.assign(address(ip(i)), core.owner(pod(`w${i}-1`)), 0n);
      const count = (i * 7919) % 100_000;
      const buckets = { 1: count, 3: count * 3, 5: count * 2, 9: i % 50 };
      const moved = { sent: BigInt(i) * 1_234_567n, received: count * 701, exchanges: count * 6 + (i % 50) };
      const served = { local: `${ip(i)}:8080`, remote: "10.255.0.1:40000", durationNs: count * 123_457, buckets };
      feed(core, { id: 2 * i + 2, role: "server", kind: "final", ...served, ...moved });
      const asked = { local: `${ip(i)}:40000`, remote: "10.255.0.1:80", sent: count * 11, received: i };
      feed(core, { id: 2 * i + 3, role: "client", kind: "final", ...asked });
    }
    core.settle(2_000_000_000n, 1);
  };
  const series = () => countSeries(new TextDecoder().decode(core.render(3_000_000_000n, 2n ** 64n - 1n)));
  fill(0, 10);
  const few = series();
  fill(10, 20);
  const each = (series() - few) / 10;
  fill(20, 20 + Math.max(0, Math.ceil((size - few - 10 * each) / each)));
  await Bun.write(file, core.render(3_000_000_000n, 2n ** 64n - 1n).slice());
  const held = process.memoryUsage.rss() - before;
  const now = (): bigint => BigInt(Math.round(performance.now() * 1e6)) + 4_000_000_000n;
  const parts = { core, metrics: new SelfMetrics(core, undefined), scrapers: new Scrapers(0n, 0n), now };
  const server = serve({ hostname: "127.0.0.1", port: 0 }, parts);
  report(new URL("/metrics", server.url).href, held);
}

/** The baseline: the same series in prom-client, from their text. */
async function promClient(file: string): Promise<void> {
  const text = await Bun.file(file).text();
  const before = process.memoryUsage.rss();
  const registry = new Registry();
  const registers = [registry];
  const types = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name!, type!]));
  const made = new Map<string, (labels: Record<string, string>, value: number) => void>();
  for (const [line, whole, rest, value] of text.matchAll(/^(\w+)\{(.*)\} (\S+)$/gm)) {
    const name = types.has(whole!) ? whole! : whole!.replace(/_(bucket|sum|count)$/, "");
    // A distribution has one observation for each of its rows: as many lines, whatever their values.
    if (name !== whole && !line.startsWith(`${name}_count`)) continue;
    const labels = Object.fromEntries([...rest!.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, text]) => [key!, text!]));
    let put = made.get(name);
    if (!put) {
      const labelNames = Object.keys(labels);
      const type = types.get(name);
      const common = { name, help: name, labelNames, registers };
      if (type === "histogram") {
        const histogram = new Histogram({ ...common, buckets: Array.from({ length: 9 }, (_, i) => 2 ** (2 * i - 14)) });
        put = (labels) => histogram.observe(labels, 0.001);
      } else if (type === "summary") {
        const summary = new Summary({ ...common, percentiles: [] });
        put = (labels) => summary.observe(labels, 0.001);
      } else {
        const metric = type === "gauge" ? new Gauge(common) : new Counter(common);
        put = (labels, value) => metric.inc(labels, value);
      }
      made.set(name, put);
    }
    put(labels, Number(value));
  }
  const held = process.memoryUsage.rss() - before;
  const fetch = async () => new Response(await registry.metrics());
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, idleTimeout: 120, fetch });
  report(server.url.href, held);
}

async function measure(who: string, args: string[], asked: Record<string, string[]>): Promise<Omit<Row, "series">> {
  const said: unknown[] = [];
  let wake = (): void => {};
  const ipc = (message: unknown): void => {
    said.push(message);
    wake();
  };
  const next = async <T>(): Promise<T> => {
    while (said.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    return said.shift() as T;
  };
  const child = Bun.spawn([process.execPath, import.meta.path, ...args], { ipc, stdout: "inherit", stderr: "inherit" });
  const ask = (what: string): Promise<number> => {
    child.send(what);
    return next<number>();
  };
  const held = await next<Report>();
  const first = await ask("rss");
  const scrapes: Scrape[] = [];
  for (const [form, headers] of Object.entries(asked)) {
    const times: number[] = [];
    const stood: number[] = [];
    let bytes = 0;
    for (let round = 0; round < rounds; round++) {
      await Bun.sleep(20);
      await ask("stall");
      const curl = Bun.spawn(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{size_download} %{time_total}", ...headers, held.url],
        { stdout: "pipe" },
      );
      const [size, seconds] = (await curl.stdout.text()).split(" ").map(Number);
      bytes = size!;
      times.push(seconds! * 1000);
      stood.push(await ask("stall"));
    }
    scrapes.push({ form, bytes, ms: Math.min(...times), stallMs: Math.min(...stood) });
  }
  const grown = held.held + (await ask("rss")) - first;
  child.kill();
  await child.exited;
  return { ...held, who, scrapes, grown };
}

const [role, ...rest] = process.argv.slice(2);
if (role === "ringside") {
  await ringside(Number(rest[0]), rest[1]!);
} else if (role === "prom-client") {
  await promClient(rest[0]!);
} else {
  const file = join(tmpdir(), `ringside-scrape-${process.pid}.txt`);
  const rows: Row[] = [];
  for (const size of sizes) {
    console.error(`${(performance.now() / 1000).toFixed(0).padStart(4)}s  scrape: ${size} series`);
    const ours = await measure("ringside", ["ringside", String(size), file], forms);
    const series = countSeries(await Bun.file(file).text());
    rows.push({ ...ours, series }, { ...(await measure("prom-client", ["prom-client", file], plain)), series });
  }
  await rm(file);
  if (role === "--json") {
    console.log(JSON.stringify(rows, null, 2));
  } else {
    console.log("  series  who          form             bytes        ms  stall ms  memory MB");
    for (const { series, who, grown, scrapes } of rows) {
      for (const { form, bytes, ms, stallMs } of scrapes) {
        const head = `${String(series).padStart(8)}  ${who.padEnd(12)} ${form.padEnd(12)}`;
        const figures = `${String(bytes).padStart(10)} ${ms.toFixed(1).padStart(9)} ${stallMs.toFixed(1).padStart(9)}`;
        console.log(`${head} ${figures} ${(grown / 1e6).toFixed(1).padStart(10)}`);
      }
    }
  }
}
