import { beforeEach, describe, expect, test } from "bun:test";
import { Scrapers } from "../serve/scrapers.ts";
import type { Core, CoreOptions } from "./core.ts";
import { families, labels } from "./families.ts";
import { address, feed, load, pod, type Snapshot, samples, second } from "./fixture.ts";
import type { Owner } from "./names.ts";

const service: Owner = {
  type: "service",
  namespace: "shop",
  name: "web",
  workload: "web",
  kind: "Service",
  mine: false,
};
const seen = 2n ** 64n - 1n;

let core: Core;

beforeEach(async () => {
  core = await load();
  core.fresh(seen);
  core.assign(address("10.0.0.1"), core.owner(pod("web-1")), 0n);
  core.assign(address("10.0.0.2"), core.owner(pod("api-1")), 0n);
});

/** Posts connections at 2 s and shows all their values. */
function shown(...snapshots: Snapshot[]): string[] {
  feed(core, ...snapshots);
  core.settle(2n * second, 1);
  return samples(core, 3n * second, seen);
}

const web: Snapshot = { id: 1, role: "client", local: "10.0.0.1:40000", remote: "10.0.0.2:8080" };
const api: Snapshot = { id: 2, role: "server", local: "10.0.0.2:8080", remote: "10.0.0.1:40000" };

const value = (lines: string[], name: string): string | undefined =>
  lines.find((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))?.replace(/^.*} /, "");

/** The lines of links without their ends: "name{what is left of the labels} value". */
const short = (lines: string[]): string[] =>
  lines.filter((line) => line.startsWith("kube_ebpf_link")).map((line) => line.replace(/source_.*,(?=reporter)/, ""));

test("has all families with what they mean, for both ends of a link", () => {
  const path = { srttUs: 250, segments: 12, retransmitted: 2 };
  const client: Snapshot = {
    ...web,
    ...path,
    sent: 100,
    received: 2000,
    exchanges: 3,
    durationNs: 9,
    buckets: { 0: 3 },
  };
  const server: Snapshot = { ...api, sent: 2000, received: 100, exchanges: 3, durationNs: 6, buckets: { 0: 3 } };
  const lines = shown(
    { ...client, connectUs: 1500 },
    { ...server, connectUs: 7, srttUs: 40, segments: 5, kind: "final", flags: ["resetReceived"] },
    { ...web, id: 3, kind: "failed", reason: "refused", retransmitted: 1 },
  ).filter((line) => !line.includes("_bucket"));
  expect(lines.filter((line) => !line.startsWith("kube_ebpf_link"))).toEqual([
    'kube_ebpf_request_duration_seconds_sum{namespace="shop",name="api-1",port="8080"} 0.000000006',
    'kube_ebpf_request_duration_seconds_count{namespace="shop",name="api-1",port="8080"} 3',
    'kube_ebpf_transmitted_bytes_total{namespace="shop",name="web-1"} 100',
    'kube_ebpf_transmitted_bytes_total{namespace="shop",name="api-1"} 2000',
    'kube_ebpf_acknowledged_bytes_total{namespace="shop",name="api-1",port="8080"} 100',
    'kube_ebpf_requests_sent_total{namespace="shop",name="web-1"} 3',
    'kube_ebpf_requests_sent_total{namespace="shop",name="api-1"} 0',
    'kube_ebpf_requests_received_total{namespace="shop",name="api-1",port="8080"} 3',
    'kube_ebpf_request_exchanged_total{source_namespace="shop",source_name="web-1",destination_namespace="shop",destination_name="api-1",destination_port="8080"} 3',
  ]);
  expect(lines).toContain(
    'kube_ebpf_link_sent_bytes_total{source_namespace="shop",source_workload="web",source_kind="Deployment",destination_namespace="shop",destination_workload="api",destination_kind="Deployment",destination_service="",port="8080",reporter="client",counted="again"} 100',
  );
  const failures = ["timed_out", "reset", "unreachable", "other", "aborted"];
  expect(short(lines)).toEqual([
    'kube_ebpf_link_sent_bytes_total{reporter="client",counted="again"} 100',
    'kube_ebpf_link_sent_bytes_total{reporter="server",counted="once"} 100',
    'kube_ebpf_link_received_bytes_total{reporter="client",counted="again"} 2000',
    'kube_ebpf_link_received_bytes_total{reporter="server",counted="once"} 2000',
    'kube_ebpf_link_requests_total{reporter="client",counted="again"} 3',
    'kube_ebpf_link_requests_total{reporter="server",counted="once"} 3',
    'kube_ebpf_link_connections_total{reporter="client",counted="again"} 1',
    'kube_ebpf_link_connections_total{reporter="server",counted="once"} 1',
    'kube_ebpf_link_connections_active{reporter="client",counted="again"} 1',
    'kube_ebpf_link_connections_active{reporter="server",counted="once"} 0',
    'kube_ebpf_link_connect_failures_total{reporter="client",counted="again",reason="refused"} 1',
    ...failures.map(
      (why) => `kube_ebpf_link_connect_failures_total{reporter="client",counted="again",reason="${why}"} 0`,
    ),
    'kube_ebpf_link_resets_total{reporter="client",counted="again"} 0',
    'kube_ebpf_link_resets_total{reporter="server",counted="once"} 1',
    'kube_ebpf_link_segments_sent_total{reporter="client",counted="again"} 12',
    'kube_ebpf_link_segments_sent_total{reporter="server",counted="once"} 5',
    'kube_ebpf_link_retransmitted_segments_total{reporter="client",counted="again"} 3',
    'kube_ebpf_link_retransmitted_segments_total{reporter="server",counted="once"} 0',
    'kube_ebpf_link_response_seconds_sum{reporter="server",counted="once"} 0.000000006',
    'kube_ebpf_link_response_seconds_count{reporter="server",counted="once"} 3',
    'kube_ebpf_link_round_trip_seconds_sum{reporter="client",counted="again"} 0.000000009',
    'kube_ebpf_link_round_trip_seconds_count{reporter="client",counted="again"} 3',
    'kube_ebpf_link_connect_seconds_sum{reporter="client",counted="again"} 0.0015',
    'kube_ebpf_link_connect_seconds_count{reporter="client",counted="again"} 1',
    'kube_ebpf_link_rtt_seconds_sum{reporter="client",counted="again"} 0.00025',
    'kube_ebpf_link_rtt_seconds_count{reporter="client",counted="again"} 1',
    'kube_ebpf_link_rtt_seconds_sum{reporter="server",counted="once"} 0.00004',
    'kube_ebpf_link_rtt_seconds_count{reporter="server",counted="once"} 1',
  ]);
});

/** What is rendered, as the table of families and the labels say it. */
const told = (text: string) => {
  const types = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name!, type!]));
  const helps = new Map([...text.matchAll(/^# HELP (\S+) (.*)$/gm)].map(([, name, help]) => [name!, help!]));
  return families.map(({ name }) => {
    const of = text.split("\n").filter((line) => line.replace(/\{.*/, "").replace(/_(bucket|sum|count)$/, "") === name);
    const names = of.map((line) => [...line.matchAll(/(\w+)="/g)].map(([, label]) => label!));
    return { name, type: types.get(name), help: helps.get(name), labels: [...new Set(names.flat())] };
  });
};

for (const [aggregate, histograms] of [
  ["workload", false],
  ["pod", true],
] as const) {
  test(`is what the table of families says, by ${aggregate}${histograms ? " with all histograms" : ""}`, async () => {
    core = await load({ aggregate, histograms });
    core.fresh(seen);
    core.assign(address("10.0.0.1"), core.owner(pod("web-1")), 0n);
    core.assign(address("10.0.0.2"), core.owner(pod("api-1")), 0n);
    feed(core, { ...web, sent: 1 }, { ...api, received: 1 });
    core.settle(2n * second, 1);
    const text = new TextDecoder().decode(core.render(3n * second, seen));
    expect(told(text)).toEqual(
      families.map(({ name, type, help, rows, byReason }) => {
        const isHistogram = type === "histogram" || (type === "summary" && histograms);
        const extra = [...(byReason ? ["reason"] : []), ...(isHistogram ? ["le"] : [])];
        const pods = ["source_pod", "destination_pod"];
        const own = labels[rows].filter((label) => aggregate === "pod" || !pods.includes(label));
        return { name, help, type: isHistogram ? "histogram" : type, labels: [...own, ...extra] };
      }),
    );
    expect(text.match(/^# /gm)?.length).toBe(2 * families.length);
    expect(text.endsWith("\n")).toBe(true);
    const known = new Set(families.map(({ name }) => name));
    const names = text.match(/^\w+/gm)!.map((name) => name.replace(/_(bucket|sum|count)$/, ""));
    expect(names.filter((name) => !known.has(name))).toEqual([]);
  });
}

test.skipIf(!Bun.which("promtool"))("is clean to promtool check metrics", () => {
  shown({ ...web, sent: 1 }, { ...api, sent: 1, exchanges: 1, buckets: { 1: 1 } });
  const { exitCode, stderr, stdout } = Bun.spawnSync(["promtool", "check", "metrics"], {
    stdin: core.render(4n * second, seen).slice(),
  });
  expect([exitCode, stderr.toString(), stdout.toString()]).toEqual([0, "", ""]);
});

test("counts once what only one end reports", () => {
  core.assign(address("10.96.0.1"), core.owner(service), 0n);
  const lines = shown(
    { ...web, remote: "1.1.1.1:443", sent: 1 },
    { ...web, id: 3, remote: "10.96.0.1:80", sent: 1 },
    { ...api, remote: "2.2.2.2:5000", received: 1 },
  );
  const links = lines.filter((line) => line.startsWith("kube_ebpf_link_sent"));
  expect(
    links.map((line) => /destination_kind="(\w+)".*reporter="(\w+)",counted="(\w+)"/.exec(line)?.slice(1)),
  ).toEqual([
    ["External", "client", "once"],
    ["Service", "client", "again"],
    ["Deployment", "server", "once"],
  ]);
});

test("sums the pods of one workload in one link, and a pod's connections in its own rows", () => {
  core.assign(address("10.0.0.3"), core.owner(pod("web-2")), 0n);
  const lines = shown(
    { ...web, sent: 1 },
    { ...web, id: 3, sent: 10 },
    { ...web, id: 4, local: "10.0.0.3:40000", sent: 100 },
  );
  expect(
    lines.filter((line) => line.startsWith("kube_ebpf_link_sent")).map((line) => line.replace(/^.*} /, "")),
  ).toEqual(["111"]);
  expect(lines.filter((line) => line.startsWith("kube_ebpf_transmitted"))).toEqual([
    'kube_ebpf_transmitted_bytes_total{namespace="shop",name="web-1"} 11',
    'kube_ebpf_transmitted_bytes_total{namespace="shop",name="web-2"} 100',
  ]);
});

test("has one row for one set of labels, whatever else differs between two owners", () => {
  core.assign(address("10.0.0.9"), core.owner(pod("web-1", { mine: false })), 0n);
  const lines = shown({ ...web, sent: 1 }, { ...web, id: 3, local: "10.0.0.9:40000", sent: 10 });
  expect(core.counters().links).toBe(2);
  const sums = lines.map((line) => line.replace(/\{.*\}/, "")).filter((line) => !line.includes("failures"));
  expect(sums.slice(0, 4)).toEqual([
    "kube_ebpf_transmitted_bytes_total 11",
    "kube_ebpf_requests_sent_total 0",
    "kube_ebpf_link_sent_bytes_total 11",
    "kube_ebpf_link_received_bytes_total 0",
  ]);
  expect(new Set(sums).size).toBe(sums.length);
});

test("is exact beyond 2^53", () => {
  const sent = 2n ** 63n - 25n;
  const lines = shown({ ...web, sent }, { ...web, id: 3, sent: 2n ** 63n - 1n });
  expect(value(lines, "kube_ebpf_transmitted_bytes_total")).toBe(String(sent + 2n ** 63n - 1n));
});

test("shows what grew by a multiple of 2^32", () => {
  shown({ ...web, sent: 1 });
  feed(core, { ...web, sent: 2n ** 40n + 1n });
  expect(value(samples(core, 4n * second, seen), "kube_ebpf_transmitted_bytes_total")).toBe("1099511627777");
});

test("escapes backslash, quote and newline in labels, and nothing else", () => {
  const hostile = 'a"b\\c\nd{e}=,"\\\n\u00e9\u{1f980}';
  core.assign(address("10.0.0.4"), core.owner(pod("x", { namespace: hostile, name: "", workload: "\\" })), 0n);
  const lines = shown({ ...web, local: "10.0.0.4:40000", sent: 5 });
  expect(lines).toContain(
    `kube_ebpf_transmitted_bytes_total{namespace="a\\"b\\\\c\\nd{e}=,\\"\\\\\\n\u00e9\u{1f980}",name=""} 5`,
  );
  expect(lines.find((line) => line.startsWith("kube_ebpf_link_sent"))).toContain('source_workload="\\\\",');
});

test("carries labels of any length", () => {
  const long = "x".repeat(300_000);
  core.assign(address("10.0.0.4"), core.owner(pod("x", { name: long })), 0n);
  expect(shown({ ...web, local: "10.0.0.4:40000", sent: 5 })).toContain(
    `kube_ebpf_transmitted_bytes_total{namespace="shop",name="${long}"} 5`,
  );
});

describe("the histogram", () => {
  test("is cumulative over ten of the eighteen bounds", () => {
    const buckets = Object.fromEntries(Array.from({ length: 18 }, (_, i) => [i, 1 << i]));
    const lines = shown({ ...api, exchanges: 2 ** 18 - 1, buckets });
    const own = lines.filter((line) => line.startsWith("kube_ebpf_request_duration"));
    expect(lines.filter((line) => line.includes("link_response")).map((line) => line.replace(/^.*} /, ""))).toEqual(
      own.map((line) => line.replace(/^.*} /, "")),
    );
    const found = own.flatMap((line) => /_bucket\{.*,le="(.*)"\} (\d+)$/.exec(line)?.slice(1) ?? []);
    expect(found).toEqual([
      ...["0.00006103515625", "1"],
      ...["0.000244140625", "7"],
      ...["0.0009765625", "31"],
      ...["0.00390625", "127"],
      ...["0.015625", "511"],
      ...["0.0625", "2047"],
      ...["0.25", "8191"],
      ...["1", "32767"],
      ...["4", "131071"],
      ...["+Inf", "262143"],
    ]);
    expect(value(lines, "kube_ebpf_request_duration_seconds_count")).toBe("262143");
  });

  for (const [ns, text] of [
    [0n, "0"],
    [1n, "0.000000001"],
    [1_500_000_000n, "1.5"],
    [10_000_000_000n, "10"],
    [123_456_789_012_345_678n, "123456789.012345678"],
    [9_223_372_036_854_775_807n, "9223372036.854775807"],
  ] as const) {
    test(`sums ${ns} ns to ${text} s`, () => {
      const lines = shown({ ...api, exchanges: 1, durationNs: ns, buckets: { 0: 1 } });
      expect(value(lines, "kube_ebpf_request_duration_seconds_sum")).toBe(text);
    });
  }
});

describe("a row", () => {
  const sent = "kube_ebpf_transmitted_bytes_total";

  test("is 0 until the watermark has passed its birth, then keeps its value", () => {
    feed(core, { ...web, sent: 100 });
    core.settle(2n * second, 1);
    expect(value(samples(core, 3n * second, 2n * second), sent)).toBe("0");
    expect(core.counters()).toMatchObject({ series: 2, seriesHeld: 2 });
    expect(core.links()[0]?.sent).toBe(100);
    expect(value(samples(core, 4n * second, 2n * second + 1n), sent)).toBe("100");
    expect(core.counters().seriesHeld).toBe(0);
    expect(value(samples(core, 5n * second, 0n), sent)).toBe("100");
  });

  test("is all 0 while held, sums and buckets too, but for the gauge", () => {
    feed(core, { ...api, sent: 1, received: 1, exchanges: 1, durationNs: 5, buckets: { 2: 1 } });
    core.settle(2n * second, 1);
    const lines = samples(core, 3n * second, 0n).filter((line) => !line.includes("connections_active"));
    expect(lines.length).toBe(38);
    expect(new Set(lines.map((line) => line.replace(/^.*} /, "")))).toEqual(new Set(["0"]));
  });

  test("of a link that settled before a scrape of which it was no part is held for another", () => {
    samples(core, 10n * second, 0n);
    feed(core, { ...web, sent: 100 });
    core.settle(9n * second, 1);
    expect(value(samples(core, 11n * second, 10n * second), sent)).toBe("0");
    expect(value(samples(core, 12n * second, 11n * second), sent)).toBe("100");
  });

  test("is released in the order of births, and not before its own", () => {
    feed(core, { ...web, sent: 100 });
    core.settle(2n * second, 1);
    feed(core, { ...api, sent: 7 });
    core.settle(4n * second, 2);
    const lines = samples(core, 5n * second, 3n * second).filter((line) => line.startsWith(sent));
    expect(lines).toEqual([`${sent}{namespace="shop",name="web-1"} 100`, `${sent}{namespace="shop",name="api-1"} 0`]);
  });

  test("gives increase() all of its bytes in every scraper, whenever each of them scrapes", () => {
    const scrapers = new Scrapers(0n, 16n * second);
    const first = new Map<string, bigint>();
    const last = new Map<string, bigint>();
    const scrape = (name: string, at: bigint) => {
      for (const line of samples(core, at, scrapers.watermark(at))) {
        const key = `${name} ${line.replace(/} .*$/, "}")}`;
        const count = BigInt(Math.round(Number(line.replace(/^.*} /, "")) * 1e9));
        if (!first.has(key)) first.set(key, count);
        expect(count).toBeGreaterThanOrEqual(last.get(key) ?? 0n);
        last.set(key, count);
      }
      scrapers.completed(name, at);
    };
    for (let tick = 1n; tick <= 400n; tick++) {
      const now = (tick * second) / 4n;
      if (tick <= 200n && tick % 7n === 0n) {
        const n = Number(tick / 7n);
        core.assign(address(`10.0.1.${n}`), core.owner(pod(`job-${n}`)), 0n);
        feed(core, {
          id: 1000 + n,
          kind: "final",
          local: `10.0.1.${n}:1`,
          remote: "10.0.0.2:80",
          bornAt: now,
          role: "client",
          sent: 1000,
        });
      }
      if (tick % 4n === 0n) core.settle(now, Number(tick / 4n));
      if (tick % 8n === 1n) scrape("fast", now + 1n);
      if (tick % 60n === 3n) scrape("slow", now + 2n);
    }
    for (const name of ["fast", "slow"]) {
      let increase = 0n;
      for (const [key, from] of first) {
        if (!key.startsWith(`${name} ${sent}`)) continue;
        expect(from).toBe(0n);
        increase += last.get(key)! - from;
      }
      expect(increase).toBe(28n * 1000n * second);
    }
  });
});

describe("families that are disabled", () => {
  const quiet = ["kube_ebpf_link_rtt_seconds", "kube_ebpf_link_response_seconds"];
  const disabled = [...quiet, ...families.filter(({ rows }) => rows === "port").map(({ name }) => name)];

  async function told(options: CoreOptions): Promise<Core> {
    const one = await load(options);
    one.assign(address("10.0.0.1"), one.owner(pod("web-1")), 0n);
    one.assign(address("10.0.0.2"), one.owner(pod("api-1")), 0n);
    feed(one, { ...web, sent: 1, received: 2 }, { ...api, sent: 2, received: 1, exchanges: 1, buckets: { 3: 1 } });
    one.settle(2n * second, 1);
    return one;
  }

  test("are in no form, and their rows are not there", async () => {
    const [all, some] = [await told({}), await told({ disabled })];
    for (const form of ["text", "openmetrics", "protobuf"] as const) {
      const [whole, less] = [all, some].map((one) => new TextDecoder().decode(one.render(3n * second, seen, form)));
      for (const { name } of families) {
        const open = form === "openmetrics" ? name.replace(/_total$/, "") : name;
        expect([form, name, whole!.includes(open), less!.includes(open)]).toEqual([
          ...[form, name, true, !disabled.includes(name)],
        ]);
      }
    }
    const lines = samples(all, 4n * second, seen).filter((line) => !disabled.some((name) => line.startsWith(name)));
    expect(samples(some, 4n * second, seen)).toEqual(lines);
    // A pod's port.
    expect([all.counters().series, some.counters().series]).toEqual([6, 5]);
  });

  test("leave links as they are where it is all of those of links", async () => {
    const off = families.filter(({ rows }) => rows === "link").map(({ name }) => name);
    const [all, some] = [await told({}), await told({ disabled: off, maxLinks: 1 })];
    expect(some.links()).toEqual(all.links());
    expect(samples(some, 3n * second, seen).filter((line) => line.startsWith("kube_ebpf_link"))).toEqual([]);
    expect(some.counters()).toMatchObject({
      series: 4,
      linkRows: 0,
      capped: 0,
      links: 2,
      postedBytes: 6,
      probeBytes: 0,
    });
  });

  test("may be all of them", async () => {
    const none = await told({ disabled: families.map(({ name }) => name) });
    for (const form of ["text", "openmetrics", "protobuf"] as const) {
      expect(none.render(3n * second, seen, form)).toHaveLength(0);
    }
    expect(none.counters().series).toBe(0);
  });
});
