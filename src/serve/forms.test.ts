/** The three forms of one exposition: each read by somebody else's strict parser, and all the same. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Core } from "../core/core.ts";
import { address, feed, load, pod, second } from "../core/fixture.ts";
import { wanted } from "./accept.ts";
import { decode, escaped, type Family, samplesOf } from "./fixture.ts";
import { type Server, serve } from "./http.ts";
import { SelfMetrics } from "./metrics.ts";
import { Scrapers } from "./scrapers.ts";

const hostile = [
  'a"b\\c\nd{e}=,"\\\n',
  "\u00e9\u{1f980}\u4e2d",
  "x".repeat(253),
  "\\n",
  "",
  "# EOF",
  "} 1",
  "\u0007\u007f",
];

let core: Core;
let server: Server;
const durations = [2 ** -15, 2 ** -14, 2 ** -13.5, 0.01, 0.01, 1, 3, 4, 100];
const bucket = (duration: number): number => Math.min(17, Math.max(0, Math.ceil(Math.log2(duration)) + 14));

beforeAll(async () => {
  core = await load({ histograms: false });
  core.fresh(2n ** 64n - 1n);
  core.assign(address("10.0.0.2"), core.owner(pod("api-1")), 0n);
  hostile.forEach((text, i) => {
    const owner = pod("x", { namespace: text, name: text, workload: text, kind: i === 0 ? text : "Deployment" });
    core.assign(address(`10.0.1.${i}`), core.owner(owner), 0n);
    const ends = { local: `10.0.1.${i}:8080`, remote: "10.0.0.2:40000" };
    const buckets: Record<number, number> = {};
    for (const duration of durations) buckets[bucket(duration)] = (buckets[bucket(duration)] ?? 0) + 1;
    const moved = { sent: 2n ** 40n + BigInt(i), received: 7 * i, exchanges: durations.length, buckets };
    feed(core, { id: 2 * i + 1, role: "server", ...ends, ...moved, durationNs: 108_123_456_789 });
    feed(core, { id: 2 * i + 2, role: "client", local: `10.0.1.${i}:40000`, remote: "9.9.9.9:443", sent: i });
  });
  core.settle(2n * second, 1);
  const scrapers = new Scrapers(0n, 0n);
  scrapers.completed("test", 9n * second);
  const parts = { core, metrics: new SelfMetrics(core, undefined), scrapers, now: () => 10n * second };
  server = serve({ hostname: "127.0.0.1", port: 0 }, parts);
});

afterAll(() => server.stop());

async function scrape(accept: string): Promise<Response> {
  return fetch(new URL("/metrics", server.url), { headers: { accept } });
}

const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
const links = (text: string): string[] => text.split("\n").filter((line) => line.startsWith("kube_ebpf_"));

describe("is negotiated", () => {
  for (const [name, accept, form] of [
    ["nobody's wish", "*/*", "text"],
    ["a browser", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text"],
    ["what there is not", "application/json", "text"],
    [
      "Prometheus 2",
      "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
      "openmetrics",
    ],
    [
      "Prometheus 3",
      "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
      "openmetrics",
    ],
    ["Prometheus with native histograms", `${protobuf};q=0.7,text/plain;version=0.0.4;q=0.3,*/*;q=0.2`, "protobuf"],
    ["an older OpenMetrics alone", "application/openmetrics-text;version=0.0.1", "text"],
    ["what is refused", "application/openmetrics-text;version=1.0.0;q=0,text/plain;q=0.1", "text"],
    ["text first", `${protobuf};q=0.1,text/plain;q=0.9`, "text"],
    ["protobuf that is not delimited", `${protobuf.replace("delimited", "text")},*/*;q=0.1`, "text"],
  ] as const) {
    test(name, () => expect(wanted(new Headers({ accept })).form).toBe(form));
  }
});

test.skipIf(!Bun.which("promtool"))("promtool finds nothing to say about the text", async () => {
  const answer = await scrape("text/plain");
  expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const stdin = await answer.bytes();
  const { exitCode, stderr, stdout } = Bun.spawnSync(["promtool", "check", "metrics"], { stdin });
  expect([exitCode, stderr.toString(), stdout.toString()]).toEqual([0, "", ""]);
});

const python = "/usr/bin/python3";
const parse = `
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
for f in parse(sys.stdin.buffer.read().decode()):
    print(json.dumps([f.name, f.type, f.unit, [[s.name, s.labels, str(s.value)] for s in f.samples]]))
`;
const canParse = Bun.spawnSync([python, "-c", "import prometheus_client"]).success;

test.skipIf(!canParse)("a strict parser reads OpenMetrics, to its one end, with the text's samples", async () => {
  const answer = await scrape("application/openmetrics-text;version=1.0.0");
  expect(answer.headers.get("content-type")).toBe("application/openmetrics-text; version=1.0.0; charset=utf-8");
  const text = await answer.text();
  expect(text.match(/^# EOF$/gm)).toHaveLength(1);
  expect(text).toEndWith("\n# EOF\n");
  expect(text).not.toContain("_created");
  expect([...new Set(text.match(/le="[^"]+"/g))].map((le) => le.slice(4, -1))).toEqual([
    ...["6.103515625e-05", "0.000244140625", "0.0009765625", "0.00390625", "0.015625"],
    ...["0.0625", "0.25", "1.0", "4.0", "+Inf"],
  ]);
  const read = Bun.spawnSync([python, "-c", parse], { stdin: Buffer.from(text) });
  expect(read.stderr.toString()).toBe("");
  type Parsed = [name: string, type: string, unit: string, [string, Record<string, string>, string][]];
  const families = read.stdout
    .toString()
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Parsed);
  const kinds = families
    .filter(([name]) => name.startsWith("kube_ebpf"))
    .map(([name, type, unit]) => [name, type, unit]);
  expect(kinds).toContainEqual(["kube_ebpf_link_sent_bytes", "counter", "bytes"]);
  expect(kinds).toContainEqual(["kube_ebpf_link_requests", "counter", ""]);
  expect(kinds).toContainEqual(["kube_ebpf_link_connections_active", "gauge", ""]);
  expect(kinds).toContainEqual(["kube_ebpf_request_duration_seconds", "histogram", "seconds"]);
  expect(kinds).toContainEqual(["kube_ebpf_link_rtt_seconds", "summary", "seconds"]);

  const same: Record<string, string> = { "6.103515625e-05": "0.00006103515625", "1.0": "1", "4.0": "4" };
  const lines = families.flatMap(([, , , samples]) =>
    samples.map(([name, labels, value]) => {
      const all = Object.entries(labels).map(
        ([key, text]) => `${key}="${escaped(key === "le" ? (same[text] ?? text) : text)}"`,
      );
      return [`${name}${all.length > 0 ? `{${all.join(",")}}` : ""}`, Number(value)] as const;
    }),
  );
  const plain = links(await (await scrape("text/plain")).text()).map((line) => {
    const [, sample, value] = /^(.*) (\S+)$/.exec(line)!;
    return [sample, Number(value)] as const;
  });
  expect(lines.filter(([name]) => name.startsWith("kube_ebpf"))).toEqual(plain as typeof lines);
});

describe("protobuf", () => {
  const decoded = async (): Promise<Family[]> => decode(await (await scrape(protobuf)).bytes());

  test("says what the text says, of links and of the agent", async () => {
    const answer = await scrape(protobuf);
    expect(answer.headers.get("content-type")).toBe(protobuf.replaceAll(";", "; "));
    const families = decode(await answer.bytes());
    const text = await (await scrape("text/plain")).text();
    const plain = new Map(
      text
        .split("\n")
        .filter((line) => line !== "" && !line.startsWith("#"))
        .map((line) => {
          const [, sample, value] = /^(.*) (\S+)$/.exec(line)!;
          return [sample!, Number(value)];
        }),
    );
    const samples = samplesOf(families);
    expect([...samples.keys()]).toEqual([...plain.keys()]);
    const moving = /^ringside_(process|run|scrapes)/;
    for (const [sample, value] of samples)
      if (!moving.test(sample)) expect([sample, value]).toEqual([sample, plain.get(sample)!]);
    const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]);
    const numbers = ["counter", "gauge", "summary", "untyped", "histogram"];
    for (const { name, type, help } of families) {
      expect(types).toContainEqual([name, numbers[type]]);
      expect(text).toContain(`# HELP ${name} ${help}\n`);
    }
  });

  test("has native histograms, to the bucket", async () => {
    const family = (await decoded()).find(({ name }) => name === "kube_ebpf_request_duration_seconds");
    expect(family?.metric).toHaveLength(hostile.length);
    for (const { histogram } of family?.metric ?? []) {
      if (!histogram) throw new Error("it is none");
      expect([histogram.schema, histogram.zeroThreshold, histogram.zeroCount]).toEqual([0, 2 ** -14, 2]);
      expect(histogram.span).toEqual([{ offset: -13, length: 17 }]);
      const counts = histogram.delta.map((_, i, all) => [2 ** (i - 13), all.slice(0, i + 1).reduce((a, b) => a + b)]);
      expect(counts.filter(([, n]) => n !== 0)).toEqual([
        [2 ** -13, 1],
        [2 ** -6, 2],
        [1, 1],
        [4, 2],
        [8, 1],
      ]);
      expect([histogram.count, histogram.sum]).toEqual([9, 108.123456789]);
    }
  });

  test("says when each began", async () => {
    const now = Date.now() / 1000;
    for (const { name, metric } of await decoded()) {
      if (!name.startsWith("kube_ebpf")) continue;
      for (const { gauge, counter, summary, histogram } of metric) {
        if (gauge) continue;
        const created = (counter ?? summary ?? histogram)?.created;
        // Born at 2 s of boot time, and it is 10 s now.
        expect(Math.abs((created?.seconds ?? 0) + (created?.nanos ?? 0) / 1e9 - (now - 8))).toBeLessThan(1);
      }
    }
  });
});
