/**
 * A real Prometheus loses nothing: at several intervals at once, what increase() gives over short-lived links, new
 * links, pods that are made again and a restart of the agent, with links by another level, is what was moved.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $, type Subprocess } from "bun";
import { type FileAgent, settled, startAgent } from "./agent.ts";
import { Churn, differences, keyOf } from "./churn.ts";

/** Seconds between two scrapes of each scraper. */
const intervals = process.env.RINGSIDE_TEST_ALL ? [5, 15, 60] : [1, 3];
const slowest = Math.max(...intervals);
const name = "conserve";
const net = 74;
/** Each scraper has an address of its own, as each Prometheus of a cluster has. */
const addressOf = (interval: number) => `10.${net}.8.${interval}`;
/** The slowest scraper's interval, and time to be late. */
const flags = ["--hold", `${slowest + 2}s`, "--node", name];

let churn: Churn;
let agent: FileAgent;
let folder: string;
let prometheus: Subprocess;
let url: string;
let listen: string;

interface Series<T> {
  metric: Record<string, string>;
  values: T;
}

async function query(promql: string, time?: number): Promise<Series<[number, string][]>[]> {
  const parameters = new URLSearchParams({ query: promql, ...(time === undefined ? {} : { time: String(time) }) });
  const answer = await (await fetch(`${url}/api/v1/query?${parameters}`)).json();
  expect(answer).toMatchObject({ status: "success" });
  const { result } = (answer as { data: { result: { metric: Record<string, string>; value?: []; values?: [] }[] } })
    .data;
  return result.map(({ metric, value, values }) => ({
    metric,
    values: values ?? [value as unknown as [number, string]],
  }));
}

async function freePort(): Promise<number> {
  const free = Bun.serve({ port: 0, fetch: () => new Response() });
  const { port } = free;
  await free.stop();
  return port!;
}

/** As increase() has it: what a counter falls to, it grew by since it began again. */
function increaseOf(values: [number, string][]): number {
  const numbers = values.map(([, value]) => Number(value));
  return numbers.reduce(
    (sum, value, i) => sum + (i === 0 ? 0 : value - (value < numbers[i - 1]! ? 0 : numbers[i - 1]!)),
    0,
  );
}

const ofJob = (interval: number) => `{__name__=~"kube_ebpf_.*_total",job="every-${interval}s"}`;
const everything = "1h";

/** Every sample that this scraper has stored: by place in the truth, how much its counters grew. */
async function grown(interval: number): Promise<Map<string, number>> {
  const sums = new Map<string, number>();
  for (const { metric, values } of await query(`${ofJob(interval)}[${everything}]`)) {
    const key = keyOf(metric);
    if (key !== undefined) sums.set(key, (sums.get(key) ?? 0) + increaseOf(values));
  }
  return sums;
}

/** What has not come to a scraper after so many of the slowest intervals. */
const missing = () =>
  settled(
    async () =>
      (
        await Promise.all(
          intervals.map(async (interval) =>
            differences(churn.truth, await grown(interval)).map((one) => `every ${interval} s: ${one}`),
          ),
        )
      ).flat(),
    (4 * slowest + 4) * 1000,
  );

/** How fresh the agent's names are, as it has said to the fastest scraper. */
async function hear(): Promise<void> {
  const age = `ringside_identities_age_seconds{job="every-${Math.min(...intervals)}s"}`;
  const [until] = await query(`timestamp(${age}) - ${age}`);
  churn.know(1000 * Number(until?.values[0]?.[1] ?? 0));
}

/** Calls for so many seconds, ever another pod, ever another port. */
async function go(seconds: number, from: number): Promise<void> {
  const end = performance.now() + seconds * 1000;
  const every = (seconds * 1000) / 8;
  for (let step = 0; performance.now() < end; step++) {
    await hear();
    await churn.call(5, [from, from + Math.min(step, 7)]);
    if (step % 2 === 1) {
      await churn.replace((step * 3) >> 1, step % 4 === 1);
      await churn.write(agent.identities);
    }
    await Bun.sleep(every);
  }
}

beforeAll(async () => {
  churn = await Churn.start({ name, net, slots: 6, ports: Array.from({ length: 14 }, (_, i) => 8000 + i) });
  await churn.serve(9000);
  for (const interval of intervals) await $`ip address replace ${addressOf(interval)}/32 dev lo`;
  const port = await freePort();
  listen = `0.0.0.0:${port}`;
  folder = await mkdtemp(join(tmpdir(), "ringside-"));
  const config = join(folder, "prometheus.yml");
  const scrapes = intervals.map((interval) => ({
    job_name: `every-${interval}s`,
    scrape_interval: `${interval}s`,
    scrape_timeout: `${Math.min(interval, 10)}s`,
    static_configs: [{ targets: [`${addressOf(interval)}:${port}`], labels: { instance: "node" } }],
  }));
  await writeFile(config, JSON.stringify({ scrape_configs: scrapes }));
  url = `http://127.0.0.1:${await freePort()}`;
  prometheus = Bun.spawn(
    [
      "prometheus",
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(folder, "data")}`,
      `--web.listen-address=${new URL(url).host}`,
      "--log.level=error",
    ],
    { stdout: "ignore", stderr: "ignore" },
  );
  agent = await startAgent(churn.list(), [...flags, "--listen", listen]);
  const up = async () => {
    const samples = await query("up").catch(() => []);
    return samples.filter(({ values }) => values[0]?.[1] === "1").length === intervals.length ? [] : ["no scrape yet"];
  };
  expect(await settled(up, 60_000 + slowest * 1000)).toEqual([]);
}, 180_000);

afterAll(async () => {
  prometheus?.kill();
  await prometheus?.exited;
  await agent?.stop();
  await churn?.stop();
  for (const interval of intervals) await $`ip address delete ${addressOf(interval)}/32 dev lo`.quiet().nothrow();
  if (folder) await rm(folder, { recursive: true });
});

test(
  "every scraper's increase() is the truth, by pod and by link",
  async () => {
    await go(2.5 * slowest, 8000);
    const finish = await churn.half(9000, 3000, 500);
    expect(await missing()).toEqual([]);

    await agent.stop();
    agent = await startAgent(churn.list(), [...flags, "--aggregate", "pod", "--listen", listen]);
    await go(slowest, 8006);
    await finish();
    expect(await missing()).toEqual([]);
    expect(churn.truth.size).toBeGreaterThan(100);
  },
  slowest * 20_000 + 30_000,
);

test("sum(increase()) is the truth but for what it extrapolates", async () => {
  const total = (family: string) =>
    [...churn.truth].reduce((sum, [key, count]) => sum + (key.startsWith(`${family} `) ? count : 0), 0);
  for (const interval of intervals) {
    for (const family of ["transmitted_bytes", "acknowledged_bytes", "requests_sent", "link_sent_bytes"]) {
      const selector = `kube_ebpf_${family}_total{job="every-${interval}s"}[${everything}]`;
      const now = Date.now() / 1000;
      const [sum] = await query(`sum(increase(${selector}))`, now);
      const got = Number(sum?.values[0]?.[1]);
      // At its start a counter is 0, so that nothing is added there; at its end at most 1.1 of its intervals.
      let most = 0;
      for (const { values } of await query(selector, now)) {
        const [first, last] = [values[0]![0], values.at(-1)![0]];
        most += increaseOf(values) * (1 + 1.1 / (values.length - 1 || 1)) * (last > first ? 1 : 0);
      }
      expect(got, `${family} every ${interval} s`).toBeGreaterThanOrEqual(total(family) - 1e-6);
      expect(got, `${family} every ${interval} s`).toBeLessThanOrEqual(most + 1e-6);
    }
  }
});
