/** A real Prometheus scrapes a real agent, and answers the article's query with the right number. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $, type Subprocess } from "bun";
import { runTraffic, trafficEnds } from "../truth/traffic.ts";
import { isWithin, type TruthLine } from "../truth/truth.ts";
import { type Agent, settled, startAgent } from "./agent.ts";

const options = { name: "prom", net: 73, scale: 0.1 };
const ends = trafficEnds(options);
let folder: string;
let prometheus: Subprocess;
let url: string;
let agent: Agent;
let lines: TruthLine[];

interface Sample {
  metric: Record<string, string>;
  value: [time: number, value: string];
}

async function query(promql: string, time?: number): Promise<Sample[]> {
  const parameters = new URLSearchParams({ query: promql, ...(time === undefined ? {} : { time: String(time) }) });
  const answer = (await (await fetch(`${url}/api/v1/query?${parameters}`)).json()) as {
    status: string;
    data: { result: Sample[] };
  };
  expect(answer.status).toBe("success");
  return answer.data.result;
}

beforeAll(async () => {
  agent = await startAgent(ends, ["--hold", "2s"]);
  folder = await mkdtemp(join(tmpdir(), "ringside-"));
  const config = join(folder, "prometheus.yml");
  await writeFile(
    config,
    JSON.stringify({
      global: { scrape_interval: "1s" },
      scrape_configs: [{ job_name: "ringside", static_configs: [{ targets: [new URL(agent.url).host] }] }],
    }),
  );
  const free = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
  url = `http://127.0.0.1:${free.port}`;
  await free.stop();
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
  const up = await settled(async () => {
    const samples = await query("up").catch(() => []);
    return samples.some(({ value }) => value[1] === "1") ? [] : ["no scrape yet"];
  }, 60_000);
  expect(up).toEqual([]);
  lines = await runTraffic(options);
}, 120_000);

afterAll(async () => {
  prometheus?.kill();
  await prometheus?.exited;
  await agent?.stop();
  if (folder) await rm(folder, { recursive: true });
});

/** Bytes that the server read, by its port. */
function truthByPort(): Record<string, number> {
  const bytes: Record<string, number> = {};
  for (const line of lines) {
    if (line.role === "server" && !isWithin(line))
      bytes[line.local_port] = (bytes[line.local_port] ?? 0) + line.received;
  }
  return Object.fromEntries(Object.entries(bytes).filter(([, count]) => count > 0));
}

/** At the moment of the last sample, where increase() has nothing to extrapolate. */
async function byPort(promql: string): Promise<Record<string, number>> {
  const [last] = await query("max(timestamp(kube_ebpf_acknowledged_bytes_total))");
  const samples = await query(promql, Number(last?.value[1]));
  return Object.fromEntries(
    samples.map(({ metric, value }) => [metric.port, Number(value[1])] as [string, number]).filter(([, v]) => v > 0),
  );
}

test("bytes a minute by port and pod are the bytes that were read", async () => {
  const promql = "sum by (port, namespace, name) (increase(kube_ebpf_acknowledged_bytes_total[1m]))";
  const expected = truthByPort();
  expect(Object.keys(expected).length).toBeGreaterThan(5);
  await settled(async () => (Bun.deepEquals(await byPort(promql), expected) ? [] : ["not yet"]), 20_000);
  expect(await byPort(promql)).toEqual(expected);
}, 60_000);

test("a link's whole life between two scrapes is in increase(), to the byte", async () => {
  // One connection of this scenario is all that its port ever sees.
  const scenario = lines.find((line) => line.role === "server" && line.scenario === "half-close");
  if (!scenario) throw new Error("the traffic has no such scenario");
  expect(scenario.received).toBeGreaterThan(0);
  const promql = `increase(kube_ebpf_link_sent_bytes_total{port="${scenario.local_port}",counted="once"}[1m])`;
  expect(await byPort(promql)).toEqual({ [String(scenario.local_port)]: scenario.received });
}, 60_000);

test("promtool finds nothing to say about the exposition", async () => {
  const text = await agent.metrics();
  expect(text).toContain("# TYPE kube_ebpf_request_duration_seconds histogram");
  const said = await $`promtool check metrics < ${Buffer.from(text)}`.nothrow().quiet();
  expect({ code: said.exitCode, out: said.stdout.toString(), error: said.stderr.toString() }).toEqual({
    code: 0,
    out: "",
    error: "",
  });
});
