/** `GET /api/links`: every link as it is, none held back. */
import type { Link as CoreLink } from "../core/core.ts";
import type { Owner } from "../core/names.ts";

/** What `GET /api/links` answers. Counters are decimal texts, for they have 64 bits. */
export interface LinksReport {
  /** Milliseconds since 1970. */
  time: number;
  links: Link[];
}

export interface Link {
  reporter: "client" | "server";
  /** With --scope: how far it goes. */
  scope?: string;
  /** The client's end. */
  source: End;
  /** The server's end. */
  destination: End;
  /** The Service that was dialled, or "". */
  service: string;
  /** The server's; 0: any of the ephemeral ones that nobody declares, or of the links that share a row. */
  port: number;
  /** Payload bytes from source to destination, whoever reports. */
  sent: string;
  /** Payload bytes of the answer. */
  received: string;
  requests: string;
  duration_ns: string;
  /** Exchanges by duration: bucket i has those of at most 2^(i-14) s, the 18th what is longer than 4 s. */
  buckets: string[];
  connections: number;
  active: number;
  connect_failures: CoreLink["failures"];
  /** Connections of which the reporter's socket sent an RST or was sent one. */
  resets: number;
  /** Of the reporter's socket; the first with those that it sent again. */
  segments_sent: number;
  retransmitted_segments: number;
  /** Sums of samples, and how many they were. */
  rtt_us: { sum: number; count: number };
  connect_us: { sum: number; count: number };
}

export type End = Omit<Owner, "mine">;

const end = ({ type, namespace, name, workload, kind }: Owner): End => ({ type, namespace, name, workload, kind });

export function linksReport(links: CoreLink[]): LinksReport {
  return {
    time: Date.now(),
    links: links.map((link) => ({
      reporter: link.reporter,
      ...(link.scope && { scope: link.scope }),
      source: end(link.source),
      destination: end(link.destination),
      service: link.service,
      port: link.port,
      sent: String(link.sent),
      received: String(link.received),
      requests: String(link.exchanges),
      duration_ns: String(link.durationNs),
      buckets: link.buckets.map(String),
      connections: link.connections,
      active: link.active,
      connect_failures: link.failures,
      resets: link.resets,
      segments_sent: link.segments,
      retransmitted_segments: link.retransmitted,
      rtt_us: { sum: link.rttUs, count: link.rtts },
      connect_us: { sum: link.connectUs, count: link.connects },
    })),
  };
}
