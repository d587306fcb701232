import { expect, test } from "bun:test";
import type { Link } from "../../src/serve/links.ts";
import {
  compareDurations,
  compareLinks,
  compareLosses,
  compareMetrics,
  parseMetrics,
  parseTruth,
  podList,
} from "./truth.ts";

const client = { namespace: "shop", name: "web", addresses: ["10.0.0.1", "fd00::1"] };
const server = { namespace: "shop", name: "api", addresses: ["10.0.0.2"] };
const ends = { client, server };

const truth = parseTruth(`\
{"scenario":"slow","role":"server","local":"10.0.0.2","local_port":81,"remote":"10.0.0.1","remote_port":5001,"sent":30,"received":10,"exchanges":2,"duration_ns":40000000}
{"scenario":"slow","role":"client","local":"10.0.0.1","local_port":5001,"remote":"10.0.0.2","remote_port":81,"sent":10,"received":30,"exchanges":2,"duration_ns":41000000}
{"scenario":"slow","role":"client","local":"10.0.0.1","local_port":5002,"remote":"10.0.0.2","remote_port":81,"sent":1,"received":0,"exchanges":0,"duration_ns":0}
{"scenario":"slow","role":"server","local":"10.0.0.2","local_port":81,"remote":"10.0.0.1","remote_port":5002,"sent":0,"received":1,"exchanges":0,"duration_ns":0}
{"scenario":"refused","role":"client","local":"0.0.0.0","local_port":5003,"remote":"10.0.0.2","remote_port":82,"sent":0,"received":0,"exchanges":0,"duration_ns":0,"failed":"refused"}
{"scenario":"loopback","role":"client","local":"127.0.0.1","local_port":5004,"remote":"127.0.0.1","remote_port":83,"sent":5,"received":6,"exchanges":1,"duration_ns":1000}
{"scenario":"mptcp","role":"client","local":"0.0.0.0","local_port":0,"remote":"0.0.0.0","remote_port":0,"sent":0,"received":0,"exchanges":0,"duration_ns":0,"skipped":"no MPTCP"}
`);

const endpoint = (name: string) => ({ type: "pod" as const, namespace: "shop", name, workload: name, kind: "Pod" });
const link = (reporter: Link["reporter"], change: Partial<Link> = {}): Link => ({
  reporter,
  source: endpoint("web"),
  destination: endpoint("api"),
  service: "",
  port: 81,
  sent: "11",
  received: "30",
  requests: "2",
  duration_ns: "41000000",
  buckets: ["0", "2"],
  connections: 2,
  active: 0,
  connect_failures: { refused: 0, timed_out: 0, reset: 0, unreachable: 0, other: 0, aborted: 0 },
  resets: 0,
  segments_sent: 0,
  retransmitted_segments: 0,
  rtt_us: { sum: 0, count: 0 },
  connect_us: { sum: 0, count: 0 },
  ...change,
});
const refused = { ...link("client").connect_failures, refused: 1 };
const nobody = { connections: 0, sent: "0", received: "0", requests: "0", buckets: [] };
const links = [link("client"), link("server"), link("client", { port: 82, ...nobody, connect_failures: refused })];

test("links that say the same agree", () => {
  expect(compareLinks(truth, links, ends)).toEqual([]);
});

test("a difference names the scenario, the reporter, what was expected and what was said", () => {
  const server = link("server", { requests: "3", connections: 1 });
  expect(compareLinks(truth, [link("client", { sent: "10" }), server], ends)).toEqual([
    "slow: server: requests: expected 2, got 3",
    "slow: server: connections: expected 2, got 1",
    "slow: client: sent: expected 11, got 10",
    'refused: connect failures: expected {"refused":1}, got {}',
  ]);
});

test("a missing row, two rows for one and a row of no scenario are differences", () => {
  const stray = link("client", { port: 99 });
  expect(compareLinks(truth, [link("client"), link("client"), stray], ends)).toEqual([
    "slow: server: expected 1 row, got 0",
    "slow: client: expected 1 row, got 2",
    'refused: connect failures: expected {"refused":1}, got {}',
    "no scenario: client web -> api:99",
  ]);
});

test("links of other pods are left alone", () => {
  const others = link("client", { source: endpoint("redis"), destination: endpoint("etcd") });
  expect(compareLinks(truth, [...links, others], ends)).toEqual([]);
});

test("what a pod says to itself is compared by itself", () => {
  const within = link("client", { source: endpoint("api"), port: 83, sent: "5", received: "6", requests: "1" });
  const both = { client: server, server };
  expect(compareLinks(truth, [{ ...within, buckets: ["1"], connections: 1 }], both)).toEqual([]);
  expect(compareLinks(truth, [], both)).toEqual(["loopback: client: expected 1 row, got 0"]);
  expect(compareLinks(truth, [...links, within], ends)).toEqual(["no scenario: client api -> api:83"]);
});

test("durations agree within 5% and the slack", () => {
  expect(compareDurations(truth, links, ends, 0)).toEqual([]);
  expect(compareDurations(truth, [link("client", { duration_ns: "44000000" }), link("server")], ends, 0)).toEqual([
    "slow: client: duration: expected 41000000 ns -2050000 +2050000, got 44000000",
  ]);
  expect(compareDurations(truth, [link("client", { duration_ns: "44000000" }), link("server")], ends, 1e6)).toEqual([]);
});

test("a stall makes a client's duration shorter than the program's, and a server's longer", () => {
  const took = (client: number, server: number) => [
    link("client", { duration_ns: `${client}` }),
    link("server", { duration_ns: `${server}` }),
  ];
  expect(compareDurations(truth, took(38e6, 43e6), ends, 0, 1e6)).toEqual([]);
  expect(compareDurations(truth, took(44e6, 37e6), ends, 0, 1e6)).toEqual([
    "slow: server: duration: expected 40000000 ns -2000000 +3000000, got 37000000",
    "slow: client: duration: expected 41000000 ns -3050000 +2050000, got 44000000",
  ]);
});

const linkLabels = (reporter: string, counted: string) =>
  `{source_namespace="shop",source_workload="web",source_kind="Pod",destination_namespace="shop",destination_workload="api",destination_kind="Pod",destination_service="",port="81",reporter="${reporter}",counted="${counted}"}`;
const metrics = `\
# TYPE kube_ebpf_transmitted_bytes_total counter
kube_ebpf_transmitted_bytes_total{namespace="shop",name="web"} 11
kube_ebpf_transmitted_bytes_total{namespace="shop",name="api"} 30
kube_ebpf_requests_sent_total{namespace="shop",name="web"} 2
kube_ebpf_acknowledged_bytes_total{namespace="shop",name="api",port="81"} 11
kube_ebpf_requests_received_total{namespace="shop",name="api",port="81"} 2
kube_ebpf_request_duration_seconds_count{namespace="shop",name="api",port="81"} 2
kube_ebpf_request_exchanged_total{source_namespace="shop",source_name="web",destination_namespace="shop",destination_name="api",destination_port="81"} 2
kube_ebpf_link_sent_bytes_total${linkLabels("client", "again")} 11
kube_ebpf_link_received_bytes_total${linkLabels("client", "again")} 30
kube_ebpf_link_requests_total${linkLabels("client", "again")} 2
kube_ebpf_link_sent_bytes_total${linkLabels("server", "once")} 11
kube_ebpf_link_received_bytes_total${linkLabels("server", "once")} 30
kube_ebpf_link_requests_total${linkLabels("server", "once")} 2
`;

test("metrics that say the same agree", () => {
  expect(compareMetrics(truth, metrics, ends)).toEqual([]);
});

test("every line of the metrics is compared", () => {
  for (const line of metrics.split("\n").filter((line) => line.startsWith("kube"))) {
    expect(compareMetrics(truth, metrics.replace(line, line.replace(/\d+$/, "77")), ends)).toHaveLength(1);
    expect(compareMetrics(truth, metrics.replace(`${line}\n`, ""), ends)).toHaveLength(1);
  }
});

test("labels are read whole and in any order", () => {
  expect(parseMetrics('a_total{b="1,2",a="x\\"y}"} 3\nup 1\n')).toEqual(
    new Map([
      ['a_total{a="x\\"y}",b="1,2"}', "3"],
      ["up{}", "1"],
    ]),
  );
});

test("a loss is a difference, and so is a counter of losses that is not there", () => {
  const text = `\
ringside_final_snapshots_lost_total{reason="ring_full"} 0
ringside_final_snapshots_lost_total{reason="missed"} 2
ringside_lost_bytes_total{direction="sent"} 0
ringside_connections_refused_total{reason="limit"} 0
ringside_connections_late_total 0
ringside_records_malformed_total 0
ringside_totals_clamped_total 0
`;
  expect(compareLosses(text)).toEqual([
    'ringside_final_snapshots_lost_total{reason="missed"}: expected 0, got 2',
    "ringside_hook_missed_total: not in the exposition",
  ]);
});

test("the pod list has both addresses of a pod", () => {
  expect(podList([client])).toMatchObject({
    items: [
      {
        kind: "Pod",
        metadata: { namespace: "shop", name: "web" },
        status: { phase: "Running", podIP: "10.0.0.1", podIPs: [{ ip: "10.0.0.1" }, { ip: "fd00::1" }] },
      },
    ],
  });
});
