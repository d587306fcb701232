/** What the programs of test/truth say they sent and received, against what the agent says. */

import type { End, Link } from "../../src/serve/links.ts";

/** One end of one connection, as `traffic` prints it: bytes, and nanoseconds of boot time. */
export interface TruthLine {
  scenario: string;
  role: Role;
  local: string;
  local_port: number;
  remote: string;
  remote_port: number;
  sent: number;
  received: number;
  exchanges: number;
  duration_ns: number;
  /** How long a client's connect() took; 0 where that is not known. */
  connect_ns?: number;
  /** Why the connect failed (refused, timed_out, reset, unreachable), or ended of itself (none): there was no connection. */
  failed?: string;
  /** Why this machine cannot run the scenario: the line is of no connection. */
  skipped?: string;
}

export type Role = "client" | "server";

export interface Pod {
  namespace: string;
  name: string;
  /** IPv4, IPv6, or both. */
  addresses: string[];
}

/** The two pods between which all traffic of a run goes. */
export interface Ends {
  client: Pod;
  server: Pod;
}

/** What one reporter must have counted on one port. Each scenario has a port of its own. */
interface Sum {
  scenario: string;
  reporter: Role;
  port: number;
  sent: bigint;
  received: bigint;
  requests: bigint;
  duration_ns: bigint;
  connections: bigint;
}

/** @throws SyntaxError on a line that is not JSON */
export function parseTruth(text: string): TruthLine[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as TruthLine);
}

/** A PodList as `kubectl get pods -A -o json` prints it. */
export function podList(pods: Pod[]): object {
  return {
    apiVersion: "v1",
    kind: "List",
    metadata: { resourceVersion: "" },
    items: pods.map(({ namespace, name, addresses }) => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { namespace, name, uid: `${namespace}-${name}`, resourceVersion: "1" },
      spec: { nodeName: "truth", containers: [{ name, image: name }] },
      status: {
        phase: "Running",
        startTime: "2020-01-01T00:00:00Z",
        podIP: addresses[0],
        podIPs: addresses.map((ip) => ({ ip })),
      },
    })),
  };
}

/** Scenarios whose senders fill the kernel's buffers: what they send is exact, and another amount in each run. */
export const unsteady = ["server-resets-upload", "client-resets-download", "close-at-once"];

/** Whether the connection has both ends in one network namespace: over loopback, or to an address of its own. */
export const isWithin = ({ local, remote }: TruthLine) => local.startsWith("127.") || local === remote;

/** What goes between the two ends; where they are one pod, what it has said to itself. */
function sums(lines: TruthLine[], ends: Ends): Sum[] {
  const byEnd = new Map<string, Sum>();
  for (const line of lines) {
    if (line.skipped || isWithin(line) !== (ends.client === ends.server)) continue;
    const { scenario, role: reporter } = line;
    const client = reporter === "client";
    const port = client ? line.remote_port : line.local_port;
    const key = `${reporter} ${port}`;
    const none = { sent: 0n, received: 0n, requests: 0n, duration_ns: 0n, connections: 0n };
    const sum = byEnd.get(key) ?? { scenario, reporter, port, ...none };
    sum.sent += BigInt(client ? line.sent : line.received);
    sum.received += BigInt(client ? line.received : line.sent);
    sum.requests += BigInt(line.exchanges);
    sum.duration_ns += BigInt(line.duration_ns);
    sum.connections += line.failed ? 0n : 1n;
    byEnd.set(key, sum);
  }
  return [...byEnd.values()];
}

const isPod = (endpoint: End, pod: Pod) => endpoint.namespace === pod.namespace && endpoint.name === pod.name;

function rowOf(links: Link[], ends: Ends, { reporter, port }: Pick<Sum, "reporter" | "port">): Link[] {
  return links.filter(
    (link) =>
      link.reporter === reporter &&
      link.port === port &&
      isPod(link.source, ends.client) &&
      isPod(link.destination, ends.server),
  );
}

/** Connects that failed, by port and reason. */
function failures(lines: TruthLine[], ends: Ends): Map<number, { scenario: string; reasons: Record<string, number> }> {
  const byPort = new Map<number, { scenario: string; reasons: Record<string, number> }>();
  for (const line of lines) {
    if (line.skipped || !line.failed || isWithin(line) !== (ends.client === ends.server)) continue;
    const { scenario, remote_port: port } = line;
    const reasons: Record<string, number> = byPort.get(port)?.reasons ?? {};
    const reason = line.failed === "none" ? "aborted" : line.failed;
    reasons[reason] = (reasons[reason] ?? 0) + 1;
    byPort.set(port, { scenario, reasons });
  }
  return byPort;
}

function difference(scenario: string, what: string, expected: bigint | string, got: bigint | string): string[] {
  return String(expected) === String(got) ? [] : [`${scenario}: ${what}: expected ${expected}, got ${got}`];
}

/**
 * Bytes and exchanges of every end against `GET /api/links`, exactly.
 *
 * @returns one sentence for each difference, none where all agree
 */
export function compareLinks(lines: TruthLine[], links: Link[], ends: Ends): string[] {
  const expected = sums(lines, ends);
  const differences = expected.flatMap((sum) => {
    const { scenario, reporter } = sum;
    const rows = rowOf(links, ends, sum);
    const row = rows[0];
    // What was never connected need not have a row.
    if (row === undefined && sum.connections === 0n) return [];
    if (row === undefined || rows.length > 1) return [`${scenario}: ${reporter}: expected 1 row, got ${rows.length}`];
    return [
      ...difference(scenario, `${reporter}: sent`, sum.sent, row.sent),
      ...difference(scenario, `${reporter}: received`, sum.received, row.received),
      ...difference(scenario, `${reporter}: requests`, sum.requests, row.requests),
      ...difference(
        scenario,
        `${reporter}: requests in buckets`,
        sum.requests,
        row.buckets.reduce((all, bucket) => all + BigInt(bucket), 0n),
      ),
      ...difference(scenario, `${reporter}: connections`, sum.connections, String(row.connections)),
      ...difference(scenario, `${reporter}: active connections`, 0n, String(row.active)),
    ];
  });
  const failed = failures(lines, ends);
  const known = new Set(expected.map(({ port }) => port));
  const stray = links.filter(
    (link) =>
      [link.source, link.destination].some((end) => isPod(end, ends.client) || isPod(end, ends.server)) &&
      !(isPod(link.source, ends.client) && isPod(link.destination, ends.server) && known.has(link.port)) &&
      // Nobody may have the address that a connect failed to reach.
      !(link.connections === 0 && failed.has(link.port)),
  );
  return [
    ...differences,
    ...[...failed].flatMap(([port, { scenario, reasons }]) => {
      const told: Record<string, number> = {};
      for (const link of links) {
        if (link.reporter !== "client" || link.port !== port || !isPod(link.source, ends.client)) continue;
        for (const [reason, count] of Object.entries(link.connect_failures)) {
          if (count) told[reason] = (told[reason] ?? 0) + count;
        }
      }
      return difference(scenario, "connect failures", JSON.stringify(reasons), JSON.stringify(told));
    }),
    ...stray.map(
      (link) => `no scenario: ${link.reporter} ${link.source.name} -> ${link.destination.name}:${link.port}`,
    ),
  ];
}

/**
 * Durations of the scenarios in which every backend stamps the same moments, for requests and first parts of answers are one
 * segment each: within 5% and `slackNs` an exchange (the way between program and hook).
 *
 * @param stallNs in which, in all, nothing ran between program and hook, as in an emulated machine beside others. A client
 *   measures around its hooks, and a server between them: to a client's time nothing is added by that, and nothing is taken
 *   from a server's
 */
export function compareDurations(
  lines: TruthLine[],
  links: Link[],
  ends: Ends,
  slackNs: number,
  stallNs = 0,
): string[] {
  return sums(lines, ends)
    .filter(({ scenario }) => ["slow", "thinking", "streaming", "first-byte"].includes(scenario))
    .flatMap((sum) => {
      const got = Number(rowOf(links, ends, sum)[0]?.duration_ns ?? Number.NaN);
      const expected = Number(sum.duration_ns);
      const bound = Math.round(expected * 0.05 + slackNs * Number(sum.requests));
      const [less, more] = sum.reporter === "client" ? [bound + stallNs, bound] : [bound, bound + stallNs];
      if (got >= expected - less && got <= expected + more) return [];
      return [`${sum.scenario}: ${sum.reporter}: duration: expected ${expected} ns -${less} +${more}, got ${got}`];
    });
}

/** The samples of an exposition in Prometheus' text format: `name{labels}` with labels sorted -> value. */
export function parseMetrics(text: string): Map<string, string> {
  const samples = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line) ?? [];
    if (name === undefined || value === undefined) continue;
    const sorted = (labels.match(/\w+="(?:[^"\\]|\\.)*"/g) ?? []).sort();
    samples.set(`${name}{${sorted.join(",")}}`, value);
  }
  return samples;
}

const sample = (name: string, labels: Record<string, string | number>) =>
  `${name}{${Object.entries(labels)
    .map(([label, value]) => `${label}="${value}"`)
    .sort()
    .join(",")}}`;

/** The same against `GET /metrics`: the pod families, and the link families in both reports. */
export function compareMetrics(lines: TruthLine[], text: string, ends: Ends): string[] {
  const { client, server } = ends;
  const samples = parseMetrics(text);
  const expected = sums(lines, ends).filter((sum) => sum.sent + sum.received > 0n);
  const by = (reporter: Role) => expected.filter((sum) => sum.reporter === reporter);
  const total = (of: Sum[], what: "sent" | "received" | "requests") => of.reduce((all, sum) => all + sum[what], 0n);
  const value = (scenario: string, what: bigint, name: string, labels: Record<string, string | number>) => {
    const key = sample(name, labels);
    return difference(scenario, key, what, samples.get(key) ?? (what === 0n ? "0" : "nothing"));
  };
  const source = { namespace: client.namespace, name: client.name };
  const destination = { namespace: server.namespace, name: server.name };
  const all = "all scenarios";
  return [
    ...value(all, total(by("client"), "sent"), "kube_ebpf_transmitted_bytes_total", source),
    ...value(all, total(by("server"), "received"), "kube_ebpf_transmitted_bytes_total", destination),
    ...value(all, total(by("client"), "requests"), "kube_ebpf_requests_sent_total", source),
    ...by("server").flatMap(({ scenario, port, sent, requests }) => [
      ...value(scenario, sent, "kube_ebpf_acknowledged_bytes_total", { ...destination, port }),
      ...value(scenario, requests, "kube_ebpf_requests_received_total", { ...destination, port }),
      ...value(scenario, requests, "kube_ebpf_request_duration_seconds_count", { ...destination, port }),
      ...value(scenario, requests, "kube_ebpf_request_exchanged_total", {
        source_namespace: client.namespace,
        source_name: client.name,
        destination_namespace: server.namespace,
        destination_name: server.name,
        destination_port: port,
      }),
    ]),
    ...expected.flatMap(({ scenario, reporter, port, sent, received, requests }) => {
      const labels = {
        source_namespace: client.namespace,
        source_workload: client.name,
        source_kind: "Pod",
        destination_namespace: server.namespace,
        destination_workload: server.name,
        destination_kind: "Pod",
        destination_service: "",
        port,
        reporter,
        counted: reporter === "server" ? "once" : "again",
      };
      return [
        ...value(scenario, sent, "kube_ebpf_link_sent_bytes_total", labels),
        ...value(scenario, received, "kube_ebpf_link_received_bytes_total", labels),
        ...value(scenario, requests, "kube_ebpf_link_requests_total", labels),
      ];
    }),
  ];
}

/** A counter of each place where something can be lost, and none may be. */
const losses = [
  "final_snapshots_lost",
  "lost_bytes",
  "connections_refused",
  "connections_late",
  "records_malformed",
  "totals_clamped",
  "hook_missed",
].map((name) => `ringside_${name}_total`);

/** The agent's own word on `GET /metrics`: nothing was lost, refused, late or clamped. */
export function compareLosses(text: string): string[] {
  const samples = [...parseMetrics(text)];
  return losses.flatMap((name) => {
    const found = samples.filter(([key]) => key.startsWith(`${name}{`));
    if (found.length === 0) return [`${name}: not in the exposition`];
    return found.filter(([, value]) => value !== "0").map(([key, value]) => `${key}: expected 0, got ${value}`);
  });
}
