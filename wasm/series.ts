import { counters } from "./counters";
import { shows } from "./family";
import { EMPTY, NAMESPACE } from "./labels";
import { grown, isProbe, isServer, Link, nextChanged, portOfLink, sweepLinks } from "./links";
import { DURATION, EXCHANGE_BUCKETS, EXCHANGES, measures, RECEIVED, SENT } from "./measures";
import { allocate, free, table } from "./memory";
import { EXTERNAL, isGone, NODE, Owner, ownerOf, POD } from "./owners";
import { BUCKETS } from "./record";
import { INTERNET, OTHER_ZONE, OUTSIDE, SAME_ZONE, UNKNOWN } from "./scope";
import { ascii, begin, decimal, keep, label } from "./writer";

/**
 * The rows of the exposition: projections of links, keyed by labels. Brought up to date from the links that changed, so
 * that a scrape is one snapshot.
 *
 *   born -> held at 0 until every scraper has had the 0 -> shown -> leaving: nobody counts in it any more
 *        -> shown until every scraper has had its last value twice -> gone
 *
 * A counter that appears at a value other than 0 is invisible to increase(), and so is what it grew by since its last
 * scrape when it disappears.
 */

/** The sets of labels. */
export const POD_ROWS: usize = 0;
export const PORT_ROWS: usize = 1;
export const PAIR_ROWS: usize = 2;
export const LINK_ROWS: usize = 3;

/** What the ends of a row of links are. */
const BY_POD: u32 = 0;
const BY_NAMESPACE: u32 = 2;

@unmanaged
export class Series {
  /** The labels' texts, then what is not a text: port, reporter, counted, scope, set. */
  text0: u32;
  text1: u32;
  text2: u32;
  text3: u32;
  text4: u32;
  text5: u32;
  text6: u32;
  text7: u32;
  text8: u32;
  rest: u32;
  /** The rows of its set, in the order of their births. */
  next: usize;
  prev: usize;
  nextHeld: usize;
  nextLeaving: usize;
  /** From here on every scrape shows it, boot time in ns. */
  born: u64;
  /** While it leaves: from here on every scrape shows its last value, and then, shows it again. */
  since: u64;
  /** `{name="value",...` without the closing brace. */
  labels: usize;
  /** Links that count in it. */
  links: u32;
  /** Of a pod's rows: whose they are. */
  owner: u32;
  held: u32;
  leaving: u32;
  /** While it leaves: its last value was scraped by all. */
  scraped: u32;
  /* u64 values[], by measure */
}

const KEY: usize = 40;
const VALUES = offsetof<Series>();
/** In `rest`, above the port; scope and set are above these. */
const BY_SERVER: u32 = 1 << 16;
const AGAIN: u32 = 1 << 17;
const ANY: u32 = 1 << 18;
const SCOPE: u32 = 19;
const SET: u32 = 22;

const series = table();
const draft = changetype<Series>(memory.data(offsetof<Series>(), 8));
const first = memory.data(4 * 4);
const last = memory.data(4 * 4);
let firstHeld: usize = 0;
let lastHeld: usize = 0;
let firstLeaving: usize = 0;
let lastRender: u64 = 0;

let level: u32 = 1;
let most: u64 = 2000;

/** By what links are told (0 pod, 1 workload, 2 namespace), and in how many rows. */
export function setLinks(aggregate: u32, limit: u32): void {
  level = aggregate;
  most = limit;
}

export function firstOf(rows: usize): usize {
  return load<usize>(first + rows * 4);
}

export function valueAt(row: usize, measure: usize): usize {
  return row + VALUES + measure * 8;
}

/** Whether a row of links is one that the server reports. */
export function isByServer(row: usize): bool {
  return (changetype<Series>(row).rest & BY_SERVER) != 0;
}

/** Marks the texts of its labels: a byte each. */
export function markRow(row: usize, bytes: usize): void {
  for (let text: usize = 0; text < 9; text++) store<u8>(bytes + load<u32>(row + text * 4), 1);
}

function clearDraft(rows: usize): void {
  memory.fill(changetype<usize>(draft), 0, KEY);
  draft.rest = (<u32>rows) << SET;
}

function drafted(): usize {
  return series.find(changetype<usize>(draft), KEY);
}

/** The row whose key is in `draft`, made where there was none. */
function rowOf(rows: usize, now: u64): usize {
  const found = drafted();
  if (found) return found;

  const at = allocate(VALUES + measures * 8);
  memory.copy(at, changetype<usize>(draft), KEY);
  series.add(at, KEY);
  const row = changetype<Series>(at);
  // Renders after the link settled have had the row, and those before the last render have not.
  row.born = max(now, lastRender);
  row.labels = labelsOf(rows, row);
  row.held = 1;
  const tail = load<usize>(last + rows * 4);
  row.prev = tail;
  if (tail) changetype<Series>(tail).next = at;
  else store<usize>(first + rows * 4, at);
  store<usize>(last + rows * 4, at);
  hold(row);
  counters.series++;
  counters.seriesHeld++;
  return at;
}

function draftEnd(text: usize, end: Owner, any: bool): void {
  const whole = level == BY_NAMESPACE && !any;
  const namespaced = end.namespace != EMPTY;
  store<u32>(text, end.namespace, 0);
  store<u32>(text, whole && (namespaced || end.type == NODE) ? EMPTY : end.workload, 4);
  store<u32>(text, whole && namespaced ? NAMESPACE : end.kind, 8);
  store<u32>(text, level == BY_POD && end.type == POD ? end.name : 0, 12);
}

/** Its row, made where there was none; 0 where there is none and no room. `any`: of all that found none. */
export function linkRow(
  from: u32,
  to: u32,
  port: u32,
  server: bool,
  scope: u32,
  service: u32,
  now: u64,
  any: bool,
): usize {
  const source = ownerOf(any ? ownerOf(from).other : from);
  const destination = ownerOf(any ? ownerOf(to).other : to);
  // The server's end of any other destination is counted too, by this agent or another.
  const again = !server && destination.type != EXTERNAL;
  clearDraft(LINK_ROWS);
  draftEnd(changetype<usize>(draft), source, any);
  draftEnd(changetype<usize>(draft) + 16, destination, any);
  draft.rest |= (server ? BY_SERVER : 0) | (again ? AGAIN : 0) | (scope << SCOPE);
  if (any) {
    draft.rest |= ANY;
    return rowOf(LINK_ROWS, now);
  }
  if (level != BY_NAMESPACE) {
    draft.text8 = service;
    draft.rest |= port;
  }
  const found = drafted();
  if (found) return found;
  if (counters.linkRows >= most) return 0;
  counters.linkRows++;
  return rowOf(LINK_ROWS, now);
}

function podRow(owner: u32, now: u64): usize {
  clearDraft(POD_ROWS);
  draft.text0 = ownerOf(owner).namespace;
  draft.text1 = ownerOf(owner).name;
  return owned(rowOf(POD_ROWS, now), owner);
}

function portRow(owner: u32, port: u32, now: u64): usize {
  clearDraft(PORT_ROWS);
  draft.text0 = ownerOf(owner).namespace;
  draft.text1 = ownerOf(owner).name;
  draft.rest |= port;
  return owned(rowOf(PORT_ROWS, now), owner);
}

function owned(at: usize, owner: u32): usize {
  const row = changetype<Series>(at);
  if (!row.links || isGone(ownerOf(row.owner))) row.owner = owner;
  return at;
}

function draftPair(source: Owner, destination: Owner, port: u32): void {
  clearDraft(PAIR_ROWS);
  draft.text0 = source.namespace;
  draft.text1 = source.name;
  draft.text2 = destination.namespace;
  draft.text3 = destination.name;
  draft.rest |= port | (isAny(source) ? ANY : 0);
}

/** Whether it stands for any of its kind. */
function isAny(owner: Owner): bool {
  return changetype<usize>(ownerOf(owner.other)) == changetype<usize>(owner);
}

function pairRow(source: Owner, destination: Owner, port: u32, now: u64): usize {
  draftPair(source, destination, port);
  if (!isAny(source) && !drafted()) {
    if (counters.pairRows < most) counters.pairRows++;
    else draftPair(ownerOf(source.other), destination, port);
  }
  return rowOf(PAIR_ROWS, now);
}

/** Gives a link its rows. */
export function attach(link: Link, row: usize, now: u64): void {
  const server = isServer(link);
  const own = server ? link.destination : link.source;
  const port = portOfLink(link);
  link.linkRow = row;
  if (ownerOf(own).type == POD) {
    if (shows(POD_ROWS)) link.podRow = podRow(own, now);
    if (server && shows(PORT_ROWS)) link.portRow = portRow(own, port, now);
  }
  const source = ownerOf(link.source);
  const destination = ownerOf(link.destination);
  if (server && source.type == POD && destination.type == POD && !isProbe(link) && shows(PAIR_ROWS)) {
    link.pairRow = pairRow(source, destination, port, now);
  }
  use(link.podRow, 1);
  use(link.portRow, 1);
  use(link.pairRow, 1);
  use(link.linkRow, 1);
}

export function detach(link: Link): void {
  use(link.podRow, -1);
  use(link.portRow, -1);
  use(link.pairRow, -1);
  use(link.linkRow, -1);
}

function use(at: usize, by: i32): void {
  if (!at) return;
  const row = changetype<Series>(at);
  row.links += by;
  if (by < 0 || !row.leaving) return;
  // Whatever it comes to now nobody has had, even if it is left again before the next scrape.
  row.scraped = 0;
  row.since = u64.MAX_VALUE;
}

function labelsOf(rows: usize, row: Series): usize {
  begin();
  if (rows == POD_ROWS || rows == PORT_ROWS) {
    text('{namespace="', row.text0);
    text('",name="', row.text1);
    if (rows == PORT_ROWS) port('",port="', row);
  } else if (rows == PAIR_ROWS) {
    text('{source_namespace="', row.text0);
    text('",source_name="', row.text1);
    text('",destination_namespace="', row.text2);
    text('",destination_name="', row.text3);
    port('",destination_port="', row);
  } else {
    text('{source_namespace="', row.text0);
    text('",source_workload="', row.text1);
    text('",source_kind="', row.text2);
    if (level == BY_POD) text('",source_pod="', row.text3);
    text('",destination_namespace="', row.text4);
    text('",destination_workload="', row.text5);
    text('",destination_kind="', row.text6);
    if (level == BY_POD) text('",destination_pod="', row.text7);
    text('",destination_service="', row.text8);
    port('",port="', row);
    ascii(row.rest & BY_SERVER ? '",reporter="server' : '",reporter="client');
    ascii(row.rest & AGAIN ? '",counted="again' : '",counted="once');
    scope((row.rest >> SCOPE) & 7);
  }
  ascii('"');
  return keep();
}

function text(name: string, value: u32): void {
  ascii(name);
  label(value);
}

function port(name: string, row: Series): void {
  ascii(name);
  const number = row.rest & 0xffff;
  if (number) decimal(number);
  // A row of all ports names none.
  else if (<usize>(row.rest >> SET) != LINK_ROWS || (!(row.rest & ANY) && level != BY_NAMESPACE)) ascii("ephemeral");
}

function scope(value: u32): void {
  if (value == UNKNOWN) ascii('",scope="unknown');
  else if (value == SAME_ZONE) ascii('",scope="same_zone');
  else if (value == OTHER_ZONE) ascii('",scope="other_zone');
  else if (value == OUTSIDE) ascii('",scope="outside');
  else if (value == INTERNET) ascii('",scope="internet');
}

function raise(row: usize, measure: usize, by: u64): void {
  store<u64>(valueAt(row, measure), load<u64>(valueAt(row, measure)) + by);
}

/** What a link has grown by since it was last told, added to each of its rows. */
function tell(at: usize): void {
  const link = changetype<Link>(at);
  const server = isServer(link);
  const sent = grown(at, SENT);
  const received = grown(at, RECEIVED);
  const exchanges = grown(at, EXCHANGES);
  const duration = grown(at, DURATION);
  if (link.podRow) {
    raise(link.podRow, SENT, sent);
    if (!server) raise(link.podRow, EXCHANGES, exchanges);
  }
  if (link.portRow) {
    raise(link.portRow, RECEIVED, received);
    raise(link.portRow, EXCHANGES, exchanges);
    raise(link.portRow, DURATION, duration);
  }
  if (link.pairRow) raise(link.pairRow, EXCHANGES, exchanges);
  if (link.linkRow) {
    raise(link.linkRow, SENT, server ? received : sent);
    raise(link.linkRow, RECEIVED, server ? sent : received);
    raise(link.linkRow, EXCHANGES, exchanges);
    raise(link.linkRow, DURATION, duration);
  }
  if (isProbe(link)) counters.probeBytes += sent + received;
  for (let measure = DURATION + 1; measure < measures; measure++) {
    const more = grown(at, measure);
    if (!more) continue;
    if (link.linkRow) raise(link.linkRow, measure, more);
    const isBucket = measure >= EXCHANGE_BUCKETS && measure < EXCHANGE_BUCKETS + BUCKETS;
    if (isBucket && link.portRow) raise(link.portRow, measure, more);
  }

  counters.postedBytes += sent + received;
  if (ownerOf(link.source).type == EXTERNAL || ownerOf(link.destination).type == EXTERNAL) {
    counters.postedExternalBytes += sent + received;
  }
}

/** Brings the rows up to date. */
export function project(): void {
  for (let at = nextChanged(); at; at = nextChanged()) tell(at);
}

/** Nobody counts in it any more. A pod's own rows stay as long as the pod does. */
function isLeft(row: Series): bool {
  return !row.links && (<usize>(row.rest >> SET) > PORT_ROWS || isGone(ownerOf(row.owner)));
}

function sweepRows(now: u64): void {
  for (let rows: usize = 0; rows <= LINK_ROWS; rows++) {
    for (let at = firstOf(rows); at; at = changetype<Series>(at).next) {
      const row = changetype<Series>(at);
      if (row.leaving || !isLeft(row)) continue;
      row.leaving = 1;
      row.scraped = 0;
      row.since = now;
      row.nextLeaving = firstLeaving;
      firstLeaving = at;
    }
  }
}

/**
 * Removes the rows whose last value every scraper has had twice; those that are in use again stay. `abandoned`: there is
 * no scraper to wait for.
 */
function removeLeft(now: u64, watermark: u64, abandoned: bool): void {
  let at = firstLeaving;
  firstLeaving = 0;
  while (at) {
    const row = changetype<Series>(at);
    const next = row.nextLeaving;
    row.since = min(row.since, now);
    if (!isLeft(row)) {
      row.leaving = 0;
    } else if (abandoned || (!row.held && row.scraped && watermark >= row.since)) {
      remove(row);
    } else {
      if (!row.held && watermark >= row.since) {
        row.scraped = 1;
        row.since = now;
      }
      row.nextLeaving = firstLeaving;
      firstLeaving = at;
    }
    at = next;
  }
}

function remove(row: Series): void {
  const at = changetype<usize>(row);
  const rows: usize = row.rest >> SET;
  series.remove(at, KEY);
  if (row.prev) changetype<Series>(row.prev).next = row.next;
  else store<usize>(first + rows * 4, row.next);
  if (row.next) changetype<Series>(row.next).prev = row.prev;
  else store<usize>(last + rows * 4, row.prev);
  if (rows == LINK_ROWS && !(row.rest & ANY)) counters.linkRows--;
  if (rows == PAIR_ROWS && !(row.rest & ANY)) counters.pairRows--;
  counters.series--;
  free(row.labels, 4 + load<u32>(row.labels));
  free(at, VALUES + measures * 8);
}

/** Takes those that are left off the list of rows held at 0: there is nobody to see the 0. */
function unholdLeft(): void {
  let at = firstHeld;
  firstHeld = 0;
  lastHeld = 0;
  while (at) {
    const row = changetype<Series>(at);
    const next = row.nextHeld;
    row.nextHeld = 0;
    if (isLeft(row)) {
      row.held = 0;
      counters.seriesHeld--;
    } else {
      hold(row);
    }
    at = next;
  }
}

function hold(row: Series): void {
  const at = changetype<usize>(row);
  if (lastHeld) changetype<Series>(lastHeld).nextHeld = at;
  else firstHeld = at;
  lastHeld = at;
}

/** Brings the rows to what a scrape begun at `now` is to see, when every scraper has had all before the watermark. */
export function turn(now: u64, watermark: u64): void {
  project();
  if (sweepLinks()) sweepRows(now);
  lastRender = now;
  while (firstHeld && changetype<Series>(firstHeld).born < watermark) {
    const row = changetype<Series>(firstHeld);
    row.held = 0;
    row.since = now;
    firstHeld = row.nextHeld;
    if (!firstHeld) lastHeld = 0;
    counters.seriesHeld--;
  }
  removeLeft(now, watermark, false);
}

/** The same when nobody scrapes any more: what is left goes at once. */
export function abandon(now: u64): void {
  project();
  if (sweepLinks()) sweepRows(now);
  if (!firstLeaving) return;
  unholdLeft();
  removeLeft(now, 0, true);
}
