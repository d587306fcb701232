import { countExternals } from "./addresses";
import { countLoopback } from "./connections";
import { counters } from "./counters";
import { firstLink, isProbe, isServer, Link, measureAt, portOfLink, scopeOfLink } from "./links";
import { measures, RECEIVED, SENT } from "./measures";
import { Area } from "./memory";
import { project } from "./series";
import { countForeign, countIgnored } from "./settle";

/** All links as rows of f64, for JavaScript: exact up to 2^53. */

const area = changetype<Area>(memory.data(8));

/** Before the measures: source, destination, service, port, whether the server reports, scope. */
const ENDS: usize = 6;

/** Numbers in a row. */
export function reportRow(): usize {
  return ENDS + measures;
}

/** Writes the rows, one for each link in the order of their births; sent is from source to destination. */
export function reportLinks(): usize {
  let out = area.reserve(<usize>max<u64>(counters.links, 1) * reportRow() * 8);
  for (let at = firstLink; at; at = changetype<Link>(at).next) {
    const link = changetype<Link>(at);
    if (isProbe(link)) continue;
    const server = isServer(link);
    store<f64>(out, <f64>link.source, 0);
    store<f64>(out, <f64>link.destination, 8);
    store<f64>(out, <f64>link.service, 16);
    store<f64>(out, <f64>portOfLink(link), 24);
    store<f64>(out, server ? 1 : 0, 32);
    store<f64>(out, <f64>scopeOfLink(link), 40);
    for (let i: usize = 0; i < measures; i++) {
      const measure = server && i <= RECEIVED ? (i == SENT ? RECEIVED : SENT) : i;
      store<f64>(out + (ENDS + i) * 8, <f64>load<u64>(measureAt(at, measure)));
    }
    out += reportRow() * 8;
  }
  return area.start;
}

/** Brings all counters up to date. */
export function reportCounters(): usize {
  project();
  countLoopback();
  countForeign();
  countIgnored();
  countExternals();
  return changetype<usize>(counters);
}
