/**
 * The families of the exposition that the core renders: one table. `hack/generate` writes from it what the core walks
 * (wasm/families.ts) and docs/metrics.md.
 */

/** Labels of each set of rows. */
export const labels = {
  pod: ["namespace", "name"],
  port: ["namespace", "name", "port"],
  pair: ["source_namespace", "source_name", "destination_namespace", "destination_name", "destination_port"],
  link: [
    ...["source_namespace", "source_workload", "source_kind", "source_pod"],
    ...["destination_namespace", "destination_workload", "destination_kind", "destination_pod"],
    ...["destination_service", "port", "reporter", "counted"],
  ],
} as const;

/** Why a connect failed, in the order of wasm/measures.ts. */
export const reasons = ["refused", "timed_out", "reset", "unreachable", "other", "aborted"] as const;

export interface Family {
  name: string;
  rows: keyof typeof labels;
  /** Of rows of links, only those that this end reports. */
  reporter?: "client" | "server";
  /** A distribution is a histogram always, or a summary without quantiles that --histograms makes one. */
  type: "counter" | "gauge" | "histogram" | "summary";
  /** A measure of wasm/measures.ts: the counter's, or the sum of a distribution. */
  measure: string;
  /** Of a distribution: its count and its buckets, and the ns in one of its sum. */
  distribution?: { count: string; buckets: string; ns: number };
  /** One row for each reason, from the measure on. */
  byReason?: true;
  help: string;
  unit: "bytes" | "seconds" | "exchanges" | "connections" | "segments";
  /** What somebody would ask of it, and how. */
  example: string;
}

export const families: readonly Family[] = [
  {
    name: "kube_ebpf_request_duration_seconds",
    rows: "port",
    type: "histogram",
    measure: "DURATION",
    distribution: { count: "EXCHANGES", buckets: "EXCHANGE_BUCKETS", ns: 1 },
    help: "Time from the last byte that the pod read of a request to the first byte that it wrote of the answer, by server port. An exchange is a turn-around of the TCP stream, not an HTTP request.",
    unit: "seconds",
    example:
      "histogram_quantile(0.9, sum by (namespace, name, le) (rate(kube_ebpf_request_duration_seconds_bucket[5m])))",
  },
  {
    name: "kube_ebpf_transmitted_bytes_total",
    rows: "pod",
    type: "counter",
    measure: "SENT",
    help: "Payload bytes that the pod sent, as client and as server.",
    unit: "bytes",
    example: "topk(10, sum by (namespace, name) (rate(kube_ebpf_transmitted_bytes_total[5m])))",
  },
  {
    name: "kube_ebpf_acknowledged_bytes_total",
    rows: "port",
    type: "counter",
    measure: "RECEIVED",
    help: "Payload bytes that the pod received as a server on the port.",
    unit: "bytes",
    example: "sum by (namespace, name, port) (rate(kube_ebpf_acknowledged_bytes_total[5m]))",
  },
  {
    name: "kube_ebpf_requests_sent_total",
    rows: "pod",
    type: "counter",
    measure: "EXCHANGES",
    help: "Exchanges that the pod started as a client.",
    unit: "exchanges",
    example: "sum by (namespace, name) (rate(kube_ebpf_requests_sent_total[5m]))",
  },
  {
    name: "kube_ebpf_requests_received_total",
    rows: "port",
    type: "counter",
    measure: "EXCHANGES",
    help: "Exchanges that the pod served on the port.",
    unit: "exchanges",
    example: "sum by (namespace, name, port) (rate(kube_ebpf_requests_received_total[5m]))",
  },
  {
    name: "kube_ebpf_request_exchanged_total",
    rows: "pair",
    type: "counter",
    measure: "EXCHANGES",
    help: "Exchanges between two pods, counted once, at the end of the server.",
    unit: "exchanges",
    example: "sum by (source_name, destination_name) (rate(kube_ebpf_request_exchanged_total[5m]))",
  },
  {
    name: "kube_ebpf_link_sent_bytes_total",
    rows: "link",
    type: "counter",
    measure: "SENT",
    help: "Payload bytes from the source (client) to the destination (server), whoever reports. Rows with counted=once add up to every byte once.",
    unit: "bytes",
    example:
      'sum by (source_workload, destination_workload) (rate(kube_ebpf_link_sent_bytes_total{counted="once"}[5m]))',
  },
  {
    name: "kube_ebpf_link_received_bytes_total",
    rows: "link",
    type: "counter",
    measure: "RECEIVED",
    help: "Payload bytes from the destination (server) to the source (client), whoever reports. Rows with counted=once add up to every byte once.",
    unit: "bytes",
    example: 'sum(rate(kube_ebpf_link_received_bytes_total{counted="once",destination_kind="External"}[5m]))',
  },
  {
    name: "kube_ebpf_link_requests_total",
    rows: "link",
    type: "counter",
    measure: "EXCHANGES",
    help: "Exchanges of the link. Rows with counted=once add up to every exchange once.",
    unit: "exchanges",
    example: 'sum by (destination_workload, port) (rate(kube_ebpf_link_requests_total{counted="once"}[5m]))',
  },
  {
    name: "kube_ebpf_link_connections_total",
    rows: "link",
    type: "counter",
    measure: "CONNECTIONS",
    help: "Connections that were established, or older than the agent. Rows with counted=once add up to every connection once.",
    unit: "connections",
    example: 'sum by (destination_workload) (rate(kube_ebpf_link_connections_total{counted="once"}[5m]))',
  },
  {
    name: "kube_ebpf_link_connections_active",
    rows: "link",
    type: "gauge",
    measure: "ACTIVE",
    help: "Those of them that are not over. It is not held at 0 when the row is new.",
    unit: "connections",
    example: 'sum by (destination_workload) (kube_ebpf_link_connections_active{counted="once"})',
  },
  {
    name: "kube_ebpf_link_connect_failures_total",
    rows: "link",
    reporter: "client",
    type: "counter",
    measure: "FAILURES",
    byReason: true,
    help: "Connects that never became a connection, as the client saw them. reason: refused, timed_out, reset, unreachable, aborted (its own application gave it up before there was an answer), other (any other error of the kernel).",
    unit: "connections",
    example:
      "sum by (source_workload, destination_workload, reason) (rate(kube_ebpf_link_connect_failures_total[5m])) > 0",
  },
  {
    name: "kube_ebpf_link_resets_total",
    rows: "link",
    type: "counter",
    measure: "RESETS",
    help: "Connections of which the reporter's socket sent an RST or was sent one, once each.",
    unit: "connections",
    example: "sum by (source_workload, destination_workload) (rate(kube_ebpf_link_resets_total[5m])) > 0",
  },
  {
    name: "kube_ebpf_link_segments_sent_total",
    rows: "link",
    type: "counter",
    measure: "SEGMENTS",
    help: "Segments with data that the reporter's own socket sent, retransmitted ones among them.",
    unit: "segments",
    example: "sum by (reporter) (rate(kube_ebpf_link_segments_sent_total[5m]))",
  },
  {
    name: "kube_ebpf_link_retransmitted_segments_total",
    rows: "link",
    type: "counter",
    measure: "RETRANSMITTED",
    help: "Segments that the reporter's own socket sent again, SYNs among them, those of connects that failed, too.",
    unit: "segments",
    example:
      "sum by (source_workload, destination_workload) (rate(kube_ebpf_link_retransmitted_segments_total[5m])) / sum by (source_workload, destination_workload) (rate(kube_ebpf_link_segments_sent_total[5m]))",
  },
  {
    name: "kube_ebpf_link_response_seconds",
    rows: "link",
    reporter: "server",
    type: "histogram",
    measure: "DURATION",
    distribution: { count: "EXCHANGES", buckets: "EXCHANGE_BUCKETS", ns: 1 },
    help: "The server's own time for an exchange: from the last byte that it read to the first byte that it wrote.",
    unit: "seconds",
    example:
      "histogram_quantile(0.9, sum by (destination_workload, port, le) (rate(kube_ebpf_link_response_seconds_bucket[5m])))",
  },
  {
    name: "kube_ebpf_link_round_trip_seconds",
    rows: "link",
    reporter: "client",
    type: "summary",
    measure: "DURATION",
    distribution: { count: "EXCHANGES", buckets: "EXCHANGE_BUCKETS", ns: 1 },
    help: "The client's time for an exchange, network and server: from its last send to the first byte of the answer that it read.",
    unit: "seconds",
    example:
      "sum by (source_workload, destination_workload) (rate(kube_ebpf_link_round_trip_seconds_sum[5m])) / sum by (source_workload, destination_workload) (rate(kube_ebpf_link_round_trip_seconds_count[5m]))",
  },
  {
    name: "kube_ebpf_link_connect_seconds",
    rows: "link",
    reporter: "client",
    type: "summary",
    measure: "CONNECT",
    distribution: { count: "CONNECTS", buckets: "CONNECT_BUCKETS", ns: 1000 },
    help: "The client's time from connect() until the connection was established; of those that were begun while the agent ran.",
    unit: "seconds",
    example:
      "sum by (destination_workload) (rate(kube_ebpf_link_connect_seconds_sum[5m])) / sum by (destination_workload) (rate(kube_ebpf_link_connect_seconds_count[5m]))",
  },
  {
    name: "kube_ebpf_link_rtt_seconds",
    rows: "link",
    type: "summary",
    measure: "RTT",
    distribution: { count: "RTTS", buckets: "RTT_BUCKETS", ns: 1000 },
    help: "The kernel's smoothed round-trip time of the reporter's own socket: one sample of a connection as it settles, then one from each snapshot (--interval) with new bytes.",
    unit: "seconds",
    example:
      "sum by (source_workload, destination_workload) (rate(kube_ebpf_link_rtt_seconds_sum[5m])) / sum by (source_workload, destination_workload) (rate(kube_ebpf_link_rtt_seconds_count[5m]))",
  },
];
