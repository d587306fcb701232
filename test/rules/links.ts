/** Links as the agents of two nodes report them, made up for promtool. */
import type { Labels, Series } from "./promtool.ts";

/** What happens on a link in a minute; times are the mean of its exchanges, in seconds. */
export interface Minute {
  sent: number;
  received: number;
  requests: number;
  connections: number;
  failures: { refused: number; timed_out: number; aborted: number };
  resets: number;
  response: number;
  roundTrip: number;
  /** Exchanges for which the server took more than 0.25 s. */
  slow: number;
}

/** 50 exchanges a second, on connections of which each lasts 100 of them. */
export const usual: Minute = {
  sent: 600_000,
  received: 6_000_000,
  requests: 3000,
  connections: 30,
  failures: { refused: 0, timed_out: 0, aborted: 0 },
  resets: 0,
  response: 0.004,
  roundTrip: 0.006,
  slow: 0,
};

export const linkLabels = (client: string, server = "api", port = "8080"): Labels => ({
  source_namespace: "shop",
  source_workload: client,
  source_kind: "Deployment",
  destination_namespace: "shop",
  destination_workload: server,
  destination_kind: "Deployment",
  destination_service: server,
  port,
});

/** What Prometheus adds to what an agent says, under an annotation scrape. */
export const scrape = (node: 1 | 2): Labels => ({
  job: "kubernetes-pods",
  instance: `10.244.${node}.9:12020`,
  namespace: "monitoring",
  pod: `ringside-${node}`,
});

/**
 * The rows of both ends.
 *
 * @param happens on the link in each minute; where it says undefined, the rows are gone, and begin at 0 when they are back
 */
export function link(
  labels: Labels,
  minutes: number,
  happens: (minute: number) => Partial<Minute> | undefined,
): Series[] {
  const all = new Map<string, Series>();
  const totals = new Map<string, number>();
  const grow = (minute: number, name: string, by: number, more: Labels) => {
    const row = { __name__: `kube_ebpf_link_${name}`, ...labels, ...more };
    const key = JSON.stringify(row);
    const total = (totals.get(key) ?? 0) + by;
    totals.set(key, total);
    const series = all.get(key) ?? { labels: row, samples: [] };
    series.samples[minute] = total;
    all.set(key, series);
  };
  let born = true;
  for (let minute = 0; minute <= minutes; minute++) {
    const happened = happens(minute);
    if (!happened) {
      totals.clear();
      born = true;
      continue;
    }
    const is = { ...usual, ...happened };
    const times = born ? 0 : 1; // a row is born at zero
    born = false;
    const server = { ...scrape(2), reporter: "server", counted: "once" };
    const client = { ...scrape(1), reporter: "client", counted: "again" };
    for (const end of [server, client]) {
      grow(minute, "sent_bytes_total", times * is.sent, end);
      grow(minute, "received_bytes_total", times * is.received, end);
      grow(minute, "requests_total", times * is.requests, end);
      grow(minute, "connections_total", times * is.connections, end);
      grow(minute, "resets_total", times * is.resets, end);
    }
    grow(minute, "response_seconds_count", times * is.requests, server);
    grow(minute, "response_seconds_sum", times * is.requests * is.response, server);
    grow(minute, "response_seconds_bucket", times * (is.requests - is.slow), { ...server, le: "0.25" });
    grow(minute, "response_seconds_bucket", times * is.requests, { ...server, le: "+Inf" });
    grow(minute, "round_trip_seconds_count", times * is.requests, client);
    grow(minute, "round_trip_seconds_sum", times * is.requests * is.roundTrip, client);
    for (const [reason, count] of Object.entries(is.failures))
      grow(minute, "connect_failures_total", times * count, { ...client, reason });
  }
  return [...all.values()].map(({ labels, samples }) => ({
    labels,
    samples: Array.from({ length: minutes + 1 }, (_, minute) => samples[minute]),
  }));
}

/** One series of an agent, by minute. */
export const series = (labels: Labels, minutes: number, value: (minute: number) => number | undefined): Series => ({
  labels,
  samples: Array.from({ length: minutes + 1 }, (_, minute) => value(minute)),
});

/** Two agents that are well. */
export function agents(minutes: number): Series[] {
  return ([1, 2] as const).flatMap((node) => {
    const of = (name: string, labels: Labels, value: (minute: number) => number) =>
      series({ __name__: name, ...labels, ...scrape(node) }, minutes, value);
    return [
      of("up", {}, () => 1),
      of("ringside_build_info", { version: "0.1.0" }, () => 1),
      of("ringside_final_snapshots_lost_total", { reason: "ring_full" }, () => 0),
      of("ringside_connections_refused_total", { reason: "limit" }, () => 0),
      of("ringside_connections_capped_total", {}, () => 0),
      of("ringside_identities_age_seconds", { stream: "pods" }, (minute) => (minute % 2) * 60),
      of("kube_ebpf_link_segments_sent_total", { reporter: "client" }, (minute) => 6000 * minute),
      of("kube_ebpf_link_retransmitted_segments_total", { reporter: "client" }, (minute) => 6 * minute),
    ];
  });
}
