/**
 * A long run: connections and pods come and go at an even rate, two scrapers watch, and nothing may grow, fall or be
 * lost. Run by hack/bench soak; --minutes N (3). Ends with 1 where memory or rows grew, a counter fell, or what was
 * counted is not what was moved.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { decode, samplesOf } from "../../src/serve/fixture.ts";
import { settled, startAgent } from "../../test/live/agent.ts";
import { Churn, differences, keyOf } from "../../test/live/churn.ts";
import { compareLosses } from "../../test/truth/truth.ts";

const { values: options } = parseArgs({
  options: { minutes: { type: "string", default: "3" }, json: { type: "boolean", default: false } },
});
const minutes = Number(options.minutes);
// Rows need a minute and a half to be as many as there will be.
if (!(minutes >= 3)) throw new Error("--minutes is how long: 3 at least");

const CALLS = 100; // a second
const SAMPLE_MS = 5_000;
/** What may grow from the second quarter of the run to its last: what is even differs by less. */
const RSS_GROWTH = 8 << 20;
const COUNT_GROWTH = 1.25;
/** A few of ours live at once; others on this machine may have opened so many meanwhile. */
const OTHERS = 250;
/** Its blocks are powers of two: a peak a little above all before it may double what it has. */
const CORE_GROWTH = 2;

const PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
const name = "soak";

interface Sample {
  seconds: number;
  rss: number;
  /** Of it, the core's. */
  coreMemory: number;
  /** The rest. */
  ownMemory: number;
  seriesRows: number;
  linkRows: number;
  links: number;
  coreConnections: number;
  objects: number;
}
/** What must not grow, and by how much it may. */
const steady: Record<keyof Omit<Sample, "seconds" | "rss">, (before: number) => number> = {
  ownMemory: (before) => before + RSS_GROWTH,
  coreMemory: (before) => before * CORE_GROWTH,
  seriesRows: (before) => before * COUNT_GROWTH,
  linkRows: (before) => before * COUNT_GROWTH,
  links: (before) => before * COUNT_GROWTH,
  coreConnections: (before) => before + OTHERS,
  objects: (before) => before,
};

/** What one scraper saw. */
class Scraper {
  readonly grown = new Map<string, number>();
  readonly faults = new Set<string>();
  samples = new Map<string, number>();

  constructor(
    readonly who: string,
    private readonly scrape: () => Promise<Map<string, number>>,
  ) {}

  async once(): Promise<void> {
    const asked = Date.now();
    const now = await this.scrape();
    for (const [series, value] of now) {
      if (!/_(total|count|sum|bucket)(\{|$)/.test(series)) continue;
      const before = this.samples.get(series);
      // A row that went and came again between two scrapes begins at 0.
      if (before !== undefined && value < before && value !== 0)
        this.faults.add(`${this.who}: ${series} fell from ${before} to ${value}`);
      const key = keyOf(labelsOf(series));
      if (key === undefined) continue;
      if (before === undefined && value !== 0) this.faults.add(`${this.who}: ${series} appeared at ${value}`);
      const more = before === undefined || value < before ? value : value - before;
      this.grown.set(key, (this.grown.get(key) ?? 0) + more);
    }
    this.samples = now;
    churn.know(asked - 1000 * this.value('ringside_identities_age_seconds{stream="file"}'));
  }

  value(series: string): number {
    return this.samples.get(series) ?? Number.NaN;
  }
}

function labelsOf(series: string): Record<string, string> {
  const [, metric = "", labels = ""] = /^(\w+)(?:\{(.*)\})?$/.exec(series) ?? [];
  const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, value]) => [label!, value!]);
  return Object.fromEntries([["__name__", metric], ...pairs]);
}

const rssOf = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;

const churn = await Churn.start({ name, net: 75, slots: 12, ports: [8000, 8001, 8002] });
const agent = await startAgent(churn.list(), [
  ...["--node", name, "--interval", "1s", "--settle", "2s", "--hold", "6s", "--max-links", "20000"],
]);
const get = (agentName: string, headers: Record<string, string>) =>
  fetch(new URL("/metrics", agent.url), { headers: { "user-agent": agentName, ...headers } });
const text = new Scraper("text by gzip", async () => {
  const body = await (await get("soak-text", { accept: "text/plain", "accept-encoding": "gzip" })).text();
  const lines = body.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => [line.replace(/ \S+$/, ""), Number(/\S+$/.exec(line)?.[0])]));
});
const protobuf = new Scraper("protobuf", async () =>
  samplesOf(decode(new Uint8Array(await (await get("soak-protobuf", { accept: PROTOBUF })).arrayBuffer()))),
);

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);

const samples: Sample[] = [];
const began = performance.now();
const elapsed = () => (performance.now() - began) / 1000;

function sample(): void {
  const [rss, coreMemory] = [rssOf(agent.process.pid), text.value("ringside_core_memory_bytes")];
  const found: Sample = {
    seconds: elapsed(),
    rss,
    coreMemory,
    ownMemory: rss - coreMemory,
    seriesRows: text.value("ringside_series_rows"),
    linkRows: text.value('ringside_link_rows{rows="links"}'),
    links: text.value("ringside_links"),
    coreConnections: text.value("ringside_core_connections"),
    objects: text.value('ringside_identities_objects{type="pod"}'),
  };
  samples.push(found);
  const numbers = [found.seriesRows, found.linkRows, found.links, found.coreConnections, found.objects];
  const figures = [found.seconds.toFixed(0), megabytes(rss), megabytes(coreMemory), ...numbers];
  if (!options.json)
    console.log([...figures, churn.calls, churn.pods].map((one) => String(one).padStart(10)).join(" "));
}

/** Each thing at its own pace, none before its last turn is over. */
async function every(ms: number, goesOn: () => boolean, work: (turn: number) => void | Promise<void>): Promise<void> {
  for (let turn = 0; goesOn(); turn++) {
    const next = performance.now() + ms;
    await work(turn);
    await Bun.sleep(Math.max(0, next - performance.now()));
  }
}

const wrong: string[] = [];
try {
  const head = ["s", "RSS MB", "core MB", "series", "link rows", "links", "conns", "pods", "calls", "pods made"];
  if (!options.json) console.log(head.map((one) => one.padStart(10)).join(" "));
  await text.once();
  // Of connections that are older than the agent, anybody's on this machine.
  const lostBefore = compareLosses(await agent.metrics());
  const scrapers = [text, protobuf];
  const lost = async () =>
    scrapers.flatMap(({ who, grown }) => differences(churn.truth, grown).map((one) => `${who}: ${one}`));
  let uncounted: string[] = [];
  let scraping = true;
  const churning = async () => {
    const isTime = () => elapsed() < minutes * 60;
    await Promise.all([
      // As many as are due, however late this turn comes.
      every(100, isTime, () => churn.call(Math.min(Math.floor(CALLS * elapsed() - churn.calls), 10 * CALLS))),
      every(1000, isTime, async (turn) => {
        await churn.replace(turn * 7, turn % 4 === 0);
        await churn.write(agent.identities);
      }),
      every(SAMPLE_MS, isTime, sample),
    ]);
    // Rows are born at 0, and it takes two scrapes of each to show more.
    uncounted = await settled(lost, 30_000);
    scraping = false;
  };
  // To the end at their own pace: a scraper that pauses for two of its intervals is waited for no more.
  await Promise.all([
    churning(),
    every(
      2000,
      () => scraping,
      () => text.once(),
    ),
    every(
      5000,
      () => scraping,
      () => protobuf.once(),
    ),
  ]);
  wrong.push(...scrapers.flatMap(({ faults }) => [...faults]));
  wrong.push(...compareLosses(await agent.metrics()).filter((one) => !lostBefore.includes(one)));

  const quarter = (n: number) => samples.slice((samples.length * n) >> 2, (samples.length * (n + 1)) >> 2);
  for (const [what, bound] of Object.entries(steady) as [keyof typeof steady, (before: number) => number][]) {
    // The least of several: garbage that is not collected yet does no harm.
    const [before, after] = [quarter(1), quarter(3)].map((some) => Math.min(...some.map((one) => one[what])));
    if (!(after! <= bound(before!))) wrong.push(`${what} grew from ${before} to ${after}, may be ${bound(before!)}`);
  }
  // Last, for one connection that is missing is missing in many places.
  wrong.push(...uncounted);
} finally {
  await agent.stop();
  await churn.stop();
}
const { calls, pods } = churn;
if (options.json) console.log(JSON.stringify({ minutes, calls, pods, samples, wrong }, null, 2));
else console.log(wrong.length === 0 ? `steady: ${calls} connections of ${pods} pods, every byte in both scrapes` : "");
for (const one of wrong.slice(0, 20)) console.error(one);
if (wrong.length > 20) console.error(`and ${wrong.length - 20} more`);
process.exit(wrong.length === 0 ? 0 : 1);
