import { countLoopback } from "./connections";
import { counters } from "./counters";
import { firstLink, isProbe, LINK_BUCKETS, LINK_CONNECTIONS, Link, portOfLink, reporterOf, SERVER } from "./links";
import { Area } from "./memory";
import { BUCKETS } from "./record";
import { project } from "./series";
import { countForeign, countIgnored } from "./settle";

/** All links as rows of f64, for JavaScript: exact up to 2^53. */

const area = changetype<Area>(memory.data(8));

/** Numbers in a row: source, destination, service, port, reporter, active, connections, sent, received, exchanges, duration, buckets. */
export const REPORT_ROW: usize = 11 + BUCKETS;

/** Writes the rows, one for each link in the order of their births; sent is from source to destination. */
export function reportLinks(): usize {
  let out = area.reserve(<usize>max<u64>(counters.links, 1) * REPORT_ROW * 8);
  for (let at = firstLink; at; at = changetype<Link>(at).next) {
    const link = changetype<Link>(at);
    if (isProbe(link)) continue;
    const server = reporterOf(link) == SERVER;
    store<f64>(out, <f64>link.source, 0);
    store<f64>(out, <f64>link.destination, 8);
    store<f64>(out, <f64>link.service, 16);
    store<f64>(out, <f64>portOfLink(link), 24);
    store<f64>(out, <f64>reporterOf(link), 32);
    store<f64>(out, <f64>link.active, 40);
    store<f64>(out, <f64>load<u64>(at + LINK_CONNECTIONS), 48);
    store<f64>(out, <f64>(server ? link.received : link.sent), 56);
    store<f64>(out, <f64>(server ? link.sent : link.received), 64);
    store<f64>(out, <f64>link.exchanges, 72);
    store<f64>(out, <f64>link.duration, 80);
    for (let i: usize = 0; i < BUCKETS; i++) store<f64>(out + 88 + i * 8, <f64>load<u64>(at + LINK_BUCKETS + i * 8));
    out += REPORT_ROW * 8;
  }
  return area.start;
}

/** Brings all counters up to date. */
export function reportCounters(): usize {
  project();
  countLoopback();
  countForeign();
  countIgnored();
  return changetype<usize>(counters);
}
