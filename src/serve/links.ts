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
  /** The client's end. */
  source: End;
  /** The server's end. */
  destination: End;
  /** The Service that was dialled, or "". */
  service: string;
  /** The server's. */
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
}

export type End = Omit<Owner, "mine">;

const end = ({ type, namespace, name, workload, kind }: Owner): End => ({ type, namespace, name, workload, kind });

export function linksReport(links: CoreLink[]): LinksReport {
  return {
    time: Date.now(),
    links: links.map(({ source, destination, sent, received, exchanges, durationNs, buckets, ...link }) => ({
      ...link,
      source: end(source),
      destination: end(destination),
      sent: String(sent),
      received: String(received),
      requests: String(exchanges),
      duration_ns: String(durationNs),
      buckets: buckets.map(String),
    })),
  };
}
