import { expect, test } from "bun:test";
import { checks } from "./checks.ts";
import { pods } from "./cluster.ts";
import { parse } from "./exposition.ts";
import type { Flow } from "./flows.ts";

const between = { client: pods.report[0], server: pods.db[0], port: 6379, sent: 27, received: 4, requests: 1 };
const flows: Flow[] = [
  { ...between, reporter: "client" },
  { ...between, reporter: "server" },
];
const redis = { input: 27, output: 4, commands: 1 };

const link = `source_namespace="shop",source_workload="report",source_kind="CronJob",destination_namespace="shop",destination_workload="db",destination_kind="StatefulSet",destination_service="db",port="6379"`;
const pair = `source_namespace="shop",source_name="${between.client.name}",destination_namespace="shop",destination_name="db-0"`;
const right = [
  ...['reporter="client",counted="again"', 'reporter="server",counted="once"'].flatMap((reporter) => [
    `kube_ebpf_link_sent_bytes_total{${link},${reporter}} 27`,
    `kube_ebpf_link_received_bytes_total{${link},${reporter}} 4`,
    `kube_ebpf_link_requests_total{${link},${reporter}} 1`,
  ]),
  `kube_ebpf_transmitted_bytes_total{namespace="shop",name="${between.client.name}"} 27`,
  `kube_ebpf_requests_sent_total{namespace="shop",name="${between.client.name}"} 1`,
  `kube_ebpf_transmitted_bytes_total{namespace="shop",name="db-0"} 4`,
  `kube_ebpf_acknowledged_bytes_total{namespace="shop",name="db-0",port="6379"} 27`,
  `kube_ebpf_requests_received_total{namespace="shop",name="db-0",port="6379"} 1`,
  `kube_ebpf_request_duration_seconds_count{namespace="shop",name="db-0",port="6379"} 1`,
  `kube_ebpf_request_exchanged_total{${pair},destination_port="6379"} 1`,
];

const scrape = (lines: string[]) => ({ time: 0, samples: parse(lines.join("\n")) });
const zero = scrape(right.map((line) => line.replace(/ \d+$/, " 0")));
const wrong = (lines: string[], first = zero) =>
  checks(flows, redis, [first, scrape(lines)])
    .filter(({ ok }) => !ok)
    .map(({ line }) => line);

test("what is counted as the programs say is right", () => {
  expect(wrong(right)).toEqual([]);
  expect(checks(flows, redis, [zero, scrape(right)]).map(({ line }) => line)).toContain(
    "equal  report -> db:6379, seen by the client: sent 27, received 4, requests 1",
  );
});

test.each(right)("one more is wrong: %s", (line) => {
  const more = line.replace(/\d+$/, (value) => `${Number(value) + 1}`);
  expect(wrong(right.map((other) => (other === line ? more : other)))).not.toEqual([]);
});

test("a link that nobody made is wrong", () => {
  const stray = right[0]!.replace('destination_workload="db"', 'destination_workload="web"');
  expect(wrong([...right, stray])).toEqual([
    "WRONG  rows of these links, and no others: rows 3, but the programs say 2",
  ]);
});

test("a cron job that no increase() sees is wrong", () => {
  expect(wrong(right, scrape(right))).toEqual([
    "WRONG  increase() of the cron job's link: sent 0, but the programs say 27, received 0, but the programs say 4",
  ]);
});

test("Redis that has seen another client is wrong", () => {
  const lines = checks(flows, { ...redis, commands: 2 }, [zero, scrape(right)]).filter(({ ok }) => !ok);
  expect(lines.map(({ line }) => line)).toEqual([
    "WRONG  what Redis says of its clients (INFO): sent 27, received 4, requests 1, but the programs say 2",
  ]);
});
