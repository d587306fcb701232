import { counters } from "./counters";
import {
  clearChanged,
  firstChanged,
  isProbe,
  LINK_BORN,
  LINK_BUCKETS,
  LINK_SERIES,
  LINK_TOLD,
  Link,
  portOfLink,
  reporterOf,
  SERVER,
  Totals,
} from "./links";
import { allocate, table } from "./memory";
import { EXTERNAL, Owner, ownerOf, POD } from "./owners";
import { BUCKETS } from "./record";
import { ascii, begin, decimal, keep, label } from "./writer";

/**
 * The rows of the exposition: projections of links, keyed by labels. Brought up to date from the links that changed, so
 * that a scrape is one snapshot.
 *
 * A counter that appears at a value other than 0 is invisible to increase(), so a row is held at 0 until every scraper
 * has had the 0.
 */

/** The sets of labels. */
export const POD_ROWS: usize = 0;
export const PORT_ROWS: usize = 1;
export const PAIR_ROWS: usize = 2;
export const LINK_ROWS: usize = 3;

/** What the rows of each hold. */
export const POD_TRANSMITTED: usize = 0;
export const POD_REQUESTS: usize = 1;
export const PORT_ACKNOWLEDGED: usize = 0;
export const PORT_REQUESTS: usize = 1;
export const PORT_DURATION: usize = 2;
export const PORT_BUCKETS: usize = 3;
export const PAIR_REQUESTS: usize = 0;
export const LINK_SENT: usize = 0;
export const LINK_RECEIVED: usize = 1;
export const LINK_REQUESTS: usize = 2;

@unmanaged
export class Series {
  /** The labels' texts, then what is not a text: port, reporter, counted, set. */
  text0: u32;
  text1: u32;
  text2: u32;
  text3: u32;
  text4: u32;
  text5: u32;
  text6: u32;
  rest: u32;
  next: usize;
  nextHeld: usize;
  /** From here on every scrape shows it, boot time in ns. */
  born: u64;
  /** `{name="value",...` without the closing brace. */
  labels: usize;
  held: u32;
  /* u64 values[] */
}

const KEY: usize = 32;
const VALUES = offsetof<Series>();
/** In `rest`, above the port; the set is above these. */
const BY_SERVER: u32 = 1 << 16;
const AGAIN: u32 = 1 << 17;

const series = table();
const draft = changetype<Series>(memory.data(offsetof<Series>(), 8));
const first = memory.data(4 * 4);
const last = memory.data(4 * 4);
let firstHeld: usize = 0;
let lastHeld: usize = 0;
let lastRender: u64 = 0;

export function firstOf(rows: usize): usize {
  return load<usize>(first + rows * 4);
}

export function valueAt(row: usize, value: usize): usize {
  return row + VALUES + value * 8;
}

/** Values in a row of that set. */
function valuesOf(rows: usize): usize {
  if (rows == PORT_ROWS) return PORT_BUCKETS + BUCKETS;
  return rows == LINK_ROWS ? 3 : 2;
}

/** The row whose key is in `draft`, made where there was none. */
function rowOf(rows: usize, link: Link): usize {
  draft.rest |= (<u32>rows) << 18;
  const found = series.find(changetype<usize>(draft), KEY);
  if (found) return found;

  const at = allocate(VALUES + valuesOf(rows) * 8);
  memory.copy(at, changetype<usize>(draft), KEY);
  series.add(at, KEY);
  const row = changetype<Series>(at);
  // Renders after the link settled have had the row, and those before the last render have not.
  row.born = max(load<u64>(changetype<usize>(link) + LINK_BORN), lastRender);
  row.labels = labelsOf(rows, row);
  row.held = 1;
  append(first + rows * 4, last + rows * 4, at);
  if (lastHeld) changetype<Series>(lastHeld).nextHeld = at;
  else firstHeld = at;
  lastHeld = at;
  counters.series++;
  counters.seriesHeld++;
  return at;
}

function append(head: usize, tail: usize, row: usize): void {
  if (load<usize>(tail)) changetype<Series>(load<usize>(tail)).next = row;
  else store<usize>(head, row);
  store<usize>(tail, row);
}

function clearDraft(): void {
  memory.fill(changetype<usize>(draft), 0, KEY);
}

function podRow(pod: Owner, link: Link): usize {
  clearDraft();
  draft.text0 = pod.namespace;
  draft.text1 = pod.name;
  return rowOf(POD_ROWS, link);
}

function portRow(pod: Owner, link: Link): usize {
  clearDraft();
  draft.text0 = pod.namespace;
  draft.text1 = pod.name;
  draft.rest = portOfLink(link);
  return rowOf(PORT_ROWS, link);
}

function pairRow(source: Owner, destination: Owner, link: Link): usize {
  clearDraft();
  draft.text0 = source.namespace;
  draft.text1 = source.name;
  draft.text2 = destination.namespace;
  draft.text3 = destination.name;
  draft.rest = portOfLink(link);
  return rowOf(PAIR_ROWS, link);
}

function linkRow(source: Owner, destination: Owner, link: Link): usize {
  clearDraft();
  draft.text0 = source.namespace;
  draft.text1 = source.workload;
  draft.text2 = source.kind;
  draft.text3 = destination.namespace;
  draft.text4 = destination.workload;
  draft.text5 = destination.kind;
  draft.text6 = link.service;
  // The server's end of such a destination is counted too, by this agent or another.
  const again = reporterOf(link) != SERVER && destination.type != EXTERNAL;
  draft.rest = portOfLink(link) | (reporterOf(link) == SERVER ? BY_SERVER : 0) | (again ? AGAIN : 0);
  return rowOf(LINK_ROWS, link);
}

function labelsOf(rows: usize, row: Series): usize {
  begin();
  if (rows == POD_ROWS || rows == PORT_ROWS) {
    ascii('{namespace="');
    label(row.text0);
    ascii('",name="');
    label(row.text1);
    if (rows == PORT_ROWS) {
      ascii('",port="');
      decimal(row.rest & 0xffff);
    }
  } else if (rows == PAIR_ROWS) {
    ascii('{source_namespace="');
    label(row.text0);
    ascii('",source_name="');
    label(row.text1);
    ascii('",destination_namespace="');
    label(row.text2);
    ascii('",destination_name="');
    label(row.text3);
    ascii('",destination_port="');
    decimal(row.rest & 0xffff);
  } else {
    ascii('{source_namespace="');
    label(row.text0);
    ascii('",source_workload="');
    label(row.text1);
    ascii('",source_kind="');
    label(row.text2);
    ascii('",destination_namespace="');
    label(row.text3);
    ascii('",destination_workload="');
    label(row.text4);
    ascii('",destination_kind="');
    label(row.text5);
    ascii('",destination_service="');
    label(row.text6);
    ascii('",port="');
    decimal(row.rest & 0xffff);
    ascii(row.rest & BY_SERVER ? '",reporter="server' : '",reporter="client');
    ascii(row.rest & AGAIN ? '",counted="again' : '",counted="once');
  }
  ascii('"');
  return keep();
}

function raise(row: usize, value: usize, by: u64): void {
  store<u64>(valueAt(row, value), load<u64>(valueAt(row, value)) + by);
}

/** What a link has grown by since it was last told, added to each of its rows. */
function tell(link: Link): void {
  const at = changetype<usize>(link);
  const told = changetype<Totals>(at + LINK_TOLD);
  const sent = link.sent - told.sent;
  const received = link.received - told.received;
  const exchanges = link.exchanges - told.exchanges;
  const duration = link.duration - told.duration;
  told.sent = link.sent;
  told.received = link.received;
  told.exchanges = link.exchanges;
  told.duration = link.duration;

  const source = ownerOf(link.source);
  const destination = ownerOf(link.destination);
  const server = reporterOf(link) == SERVER;
  const own = server ? destination : source;
  const rows = at + LINK_SERIES;
  if (!(load<usize>(rows, LINK_ROWS * 4) | load<usize>(rows, POD_ROWS * 4))) {
    if (!isProbe(link)) store<usize>(rows, linkRow(source, destination, link), LINK_ROWS * 4);
    if (own.type == POD) {
      store<usize>(rows, podRow(own, link), POD_ROWS * 4);
      if (server) store<usize>(rows, portRow(own, link), PORT_ROWS * 4);
    }
    if (server && source.type == POD && destination.type == POD && !isProbe(link)) {
      store<usize>(rows, pairRow(source, destination, link), PAIR_ROWS * 4);
    }
  }

  const linkAt = load<usize>(rows, LINK_ROWS * 4);
  if (linkAt) {
    raise(linkAt, LINK_SENT, server ? received : sent);
    raise(linkAt, LINK_RECEIVED, server ? sent : received);
    raise(linkAt, LINK_REQUESTS, exchanges);
  } else {
    counters.probeBytes += sent + received;
  }
  const podAt = load<usize>(rows, POD_ROWS * 4);
  if (podAt) {
    raise(podAt, POD_TRANSMITTED, sent);
    if (!server) raise(podAt, POD_REQUESTS, exchanges);
  }
  const pairAt = load<usize>(rows, PAIR_ROWS * 4);
  if (pairAt) raise(pairAt, PAIR_REQUESTS, exchanges);
  const portAt = load<usize>(rows, PORT_ROWS * 4);
  if (portAt) {
    raise(portAt, PORT_ACKNOWLEDGED, received);
    raise(portAt, PORT_REQUESTS, exchanges);
    raise(portAt, PORT_DURATION, duration);
    for (let i: usize = 0; i < BUCKETS; i++) {
      const bucket = load<u64>(at + LINK_BUCKETS + i * 8);
      const toldBucket = at + LINK_TOLD + offsetof<Totals>() + i * 8;
      raise(portAt, PORT_BUCKETS + i, bucket - load<u64>(toldBucket));
      store<u64>(toldBucket, bucket);
    }
  }

  counters.postedBytes += sent + received;
  if (source.type == EXTERNAL || destination.type == EXTERNAL) counters.postedExternalBytes += sent + received;
}

/** Brings the rows up to date. */
export function project(): void {
  let at = firstChanged;
  clearChanged();
  while (at) {
    const link = changetype<Link>(at);
    at = link.nextChanged;
    link.changed = 0;
    tell(link);
  }
}

/** Shows the values of all rows born before the watermark, for good. */
export function releaseHeld(now: u64, watermark: u64): void {
  lastRender = now;
  while (firstHeld && changetype<Series>(firstHeld).born < watermark) {
    const row = changetype<Series>(firstHeld);
    row.held = 0;
    firstHeld = row.nextHeld;
    if (!firstHeld) lastHeld = 0;
    counters.seriesHeld--;
  }
}
