/** A real Prometheus 3 takes protobuf: native histograms, and counters from the moment at which they began. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $, type Subprocess } from "bun";
import type { Core } from "../../src/core/core.ts";
import { address, feed, load, pod, second } from "../../src/core/fixture.ts";
import { type Server, serve } from "../../src/serve/http.ts";
import { SelfMetrics } from "../../src/serve/metrics.ts";
import { Scrapers } from "../../src/serve/scrapers.ts";
import { settled } from "./agent.ts";

/** Holds nothing back: only created timestamps can tell increase() what a row grew by before its first scrape. */
class Impatient extends Scrapers {
  override watermark(): bigint {
    return 2n ** 64n - 1n;
  }
}

const script = join(import.meta.dir, "../../hack/lib/prometheus-3");
const now = (): bigint => 100n * second + BigInt(Math.round(performance.now() * 1e6));
let core: Core;
let server: Server;
let folder: string;
let prometheus: Subprocess;
let url: string;

interface Sample {
  metric: Record<string, string>;
  value?: [time: number, value: string];
  histogram?: Native;
  histograms?: Native[];
}
type Native = [time: number, { count: string; sum: string; buckets: [number, string, string, string][] }];

async function query(promql: string, time?: number): Promise<Sample[]> {
  const parameters = new URLSearchParams({ query: promql, ...(time === undefined ? {} : { time: String(time) }) });
  const answer = await (await fetch(`${url}/api/v1/query?${parameters}`)).json();
  expect(answer).toMatchObject({ status: "success" });
  return (answer as { data: { result: Sample[] } }).data.result;
}

/** At the moment of the last sample, where increase() has nothing to extrapolate. */
async function number(promql: string): Promise<number> {
  const [last] = await query("max(timestamp(kube_ebpf_transmitted_bytes_total))");
  const [sample] = await query(promql, Number(last?.value?.[1]));
  return Number(sample?.value?.[1]);
}

/** The totals of one server's connection: its exchanges are all in one bucket, 2^-7 to 2^-6 s. */
function move(sent: bigint, exchanges: number): void {
  const [local, remote] = ["10.0.0.2:8080", "10.0.0.1:40000"];
  const moved = { sent, received: 3 * exchanges, exchanges, durationNs: exchanges * 10_000_000 };
  feed(core, { id: 1, role: "server", bornAt: now(), local, remote, ...moved, buckets: { 8: exchanges } });
  core.settle(now(), 1);
}

beforeAll(async () => {
  const program = (await $`${script}`.text()).trim();
  core = await load({ settle: 0n });
  core.fresh(2n ** 64n - 1n);
  core.assign(address("10.0.0.1"), core.owner(pod("web-1")), 0n);
  core.assign(address("10.0.0.2"), core.owner(pod("api-1")), 0n);
  const parts = { core, metrics: new SelfMetrics(core, undefined), scrapers: new Impatient(0n, 0n), now };
  server = serve({ hostname: "127.0.0.1", port: 0 }, parts);

  folder = await mkdtemp(join(tmpdir(), "ringside-"));
  const config = join(folder, "prometheus.yml");
  const targets = [new URL(server.url).host];
  const scrapes = [{ job_name: "ringside", static_configs: [{ targets }] }];
  await writeFile(config, JSON.stringify({ global: { scrape_interval: "1s" }, scrape_configs: scrapes }));
  const free = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
  url = `http://127.0.0.1:${free.port}`;
  await free.stop();
  prometheus = Bun.spawn(
    [
      program,
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(folder, "data")}`,
      `--web.listen-address=${new URL(url).host}`,
      "--enable-feature=native-histograms,created-timestamp-zero-ingestion",
      "--log.level=error",
    ],
    { stdout: "ignore", stderr: "inherit" },
  );
  const up = async () => ((await query("up").catch(() => [])).some(({ value }) => value?.[1] === "1") ? [] : ["down"]);
  expect(await settled(up, 60_000)).toEqual([]);
}, 120_000);

afterAll(async () => {
  prometheus?.kill();
  await prometheus?.exited;
  await server?.stop();
  if (folder) await rm(folder, { recursive: true });
});

test("increase() has all that a row began with, and what it grew by", async () => {
  const sent = 2n ** 40n + 7n;
  move(sent, 100);
  const promql = "increase(kube_ebpf_transmitted_bytes_total[5m])";
  const is = (value: bigint) => async () => ((await number(promql)) === Number(value) ? [] : ["not yet"]);
  await settled(is(sent), 15_000);
  expect(await number(promql)).toBe(Number(sent));
  move(2n * sent, 200);
  await settled(is(2n * sent), 15_000);
  expect(await number(promql)).toBe(Number(2n * sent));
}, 60_000);

test("the histogram is a native one, and its quantiles are those of its buckets", async () => {
  const histogram = "kube_ebpf_request_duration_seconds";
  const [sample] = await query(histogram);
  expect(sample?.histogram?.[1]).toEqual({
    count: "200",
    sum: "2",
    buckets: [[0, String(2 ** -7), String(2 ** -6), "200"]],
  });
  expect(await query(`${histogram}_bucket`)).toEqual([]);
  const [series] = await query(`${histogram}[5m]`);
  const samples = series?.histograms ?? [];
  expect(samples.map(([, { count }]) => Number(count)).filter((count, i, all) => count !== all[i - 1])).toEqual([
    0, 100, 200,
  ]);
  // Of histograms increase() extrapolates to the start of its range, even where they begin at 0: let both be one.
  const [first, last] = [samples[0]![0], samples.at(-1)![0]];
  const grown = `increase(${histogram}[${Math.round((last - first) * 1000) + 1}ms] @ ${last})`;
  expect(await number(`histogram_count(${grown})`)).toBeCloseTo(200, 0);
  expect(await number(`histogram_quantile(0.5, sum(${grown}))`)).toBeCloseTo(2 ** -6.5, 12);
}, 60_000);
