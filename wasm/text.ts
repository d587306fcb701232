import { allocate } from "./memory";
import { BUCKETS } from "./record";
import {
  firstOf,
  LINK_RECEIVED,
  LINK_REQUESTS,
  LINK_ROWS,
  LINK_SENT,
  PAIR_REQUESTS,
  PAIR_ROWS,
  POD_REQUESTS,
  POD_ROWS,
  POD_TRANSMITTED,
  PORT_ACKNOWLEDGED,
  PORT_BUCKETS,
  PORT_DURATION,
  PORT_REQUESTS,
  PORT_ROWS,
  project,
  releaseHeld,
  Series,
  valueAt,
} from "./series";
import { ascii, begin, decimal, keep, seconds, text } from "./writer";

/** The exposition in Prometheus' text format 0.0.4. */

@unmanaged
class Family {
  /** The HELP and TYPE lines. */
  header: usize;
  name: usize;
  rows: usize;
  /** Which of the rows' values. */
  value: usize;
}

function family(name: string, type: string, help: string, rows: usize, value: usize): Family {
  const made = changetype<Family>(allocate(offsetof<Family>()));
  begin();
  ascii("# HELP ");
  ascii(name);
  ascii(" ");
  ascii(help);
  ascii("\n# TYPE ");
  ascii(name);
  ascii(" ");
  ascii(type);
  ascii("\n");
  made.header = keep();
  made.name = literal(name);
  made.rows = rows;
  made.value = value;
  return made;
}

function literal(value: string): usize {
  begin();
  ascii(value);
  return keep();
}

const durations = family(
  "kube_ebpf_request_duration_seconds",
  "histogram",
  "Time from the last byte that the pod read of a request to the first byte that it wrote of the answer, by server port. An exchange is a turn-around of the TCP stream, not an HTTP request.",
  PORT_ROWS,
  PORT_BUCKETS,
);
const transmitted = family(
  "kube_ebpf_transmitted_bytes_total",
  "counter",
  "Payload bytes that the pod sent, as client and as server.",
  POD_ROWS,
  POD_TRANSMITTED,
);
const acknowledged = family(
  "kube_ebpf_acknowledged_bytes_total",
  "counter",
  "Payload bytes that the pod received as a server on the port.",
  PORT_ROWS,
  PORT_ACKNOWLEDGED,
);
const requestsSent = family(
  "kube_ebpf_requests_sent_total",
  "counter",
  "Exchanges that the pod started as a client.",
  POD_ROWS,
  POD_REQUESTS,
);
const requestsReceived = family(
  "kube_ebpf_requests_received_total",
  "counter",
  "Exchanges that the pod served on the port.",
  PORT_ROWS,
  PORT_REQUESTS,
);
const requestsExchanged = family(
  "kube_ebpf_request_exchanged_total",
  "counter",
  "Exchanges between two pods, counted once, at the end of the server.",
  PAIR_ROWS,
  PAIR_REQUESTS,
);
const linkSent = family(
  "kube_ebpf_link_sent_bytes_total",
  "counter",
  "Payload bytes from the source (client) to the destination (server), whoever reports. Rows with counted=once add up to every byte once.",
  LINK_ROWS,
  LINK_SENT,
);
const linkReceived = family(
  "kube_ebpf_link_received_bytes_total",
  "counter",
  "Payload bytes from the destination (server) to the source (client), whoever reports. Rows with counted=once add up to every byte once.",
  LINK_ROWS,
  LINK_RECEIVED,
);
const linkRequests = family(
  "kube_ebpf_link_requests_total",
  "counter",
  "Exchanges of the link. Rows with counted=once add up to every exchange once.",
  LINK_ROWS,
  LINK_REQUESTS,
);

/**
 * Ten bounds of the 18 buckets', few series that still tell 0.1 ms from 1 ms and 1 s from 4 s: every second one from
 * 2^-14 s to 2^2 s, and the rest. The bucket of bound i is number 2 * i, of the rest 17.
 */
const BOUNDS: usize = 10;
const bounds = memory.data(4 * 10);
bound(0, "0.00006103515625");
bound(1, "0.000244140625");
bound(2, "0.0009765625");
bound(3, "0.00390625");
bound(4, "0.015625");
bound(5, "0.0625");
bound(6, "0.25");
bound(7, "1");
bound(8, "4");
bound(9, "+Inf");
const bucketSuffix = literal("_bucket");
const sumSuffix = literal("_sum");
const countSuffix = literal("_count");
const endOfLabels = literal("} ");
const endOfLine = literal("\n");

function bound(number: usize, value: string): void {
  begin();
  ascii(',le="');
  ascii(value);
  ascii('"} ');
  store<usize>(bounds + number * 4, keep());
}

function counter(one: Family): void {
  text(one.header);
  for (let at = firstOf(one.rows); at; at = changetype<Series>(at).next) {
    const row = changetype<Series>(at);
    text(one.name);
    text(row.labels);
    text(endOfLabels);
    decimal(row.held ? 0 : load<u64>(valueAt(at, one.value)));
    text(endOfLine);
  }
}

function histogram(one: Family, duration: usize): void {
  text(one.header);
  for (let at = firstOf(one.rows); at; at = changetype<Series>(at).next) {
    const row = changetype<Series>(at);
    let count: u64 = 0;
    let bucket: usize = 0;
    for (let i: usize = 0; i < BOUNDS; i++) {
      const until = i == BOUNDS - 1 ? BUCKETS : i * 2 + 1;
      while (bucket < until) count += load<u64>(valueAt(at, one.value + bucket++));
      text(one.name);
      text(bucketSuffix);
      text(row.labels);
      text(load<usize>(bounds + i * 4));
      decimal(row.held ? 0 : count);
      text(endOfLine);
    }
    text(one.name);
    text(sumSuffix);
    text(row.labels);
    text(endOfLabels);
    seconds(row.held ? 0 : load<u64>(valueAt(at, duration)));
    text(endOfLine);
    text(one.name);
    text(countSuffix);
    text(row.labels);
    text(endOfLabels);
    decimal(row.held ? 0 : count);
    text(endOfLine);
  }
}

/** Writes the exposition as of `now`, showing the values of rows born before `watermark` (boot time in ns). */
export function render(now: u64, watermark: u64): void {
  project();
  releaseHeld(now, watermark);
  begin();
  histogram(durations, PORT_DURATION);
  counter(transmitted);
  counter(acknowledged);
  counter(requestsSent);
  counter(requestsReceived);
  counter(requestsExchanged);
  counter(linkSent);
  counter(linkReceived);
  counter(linkRequests);
}
