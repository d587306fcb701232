import { counters } from "./counters";
import { shows } from "./family";
import { MOST_MEASURES, measures } from "./measures";
import { allocate, free, table } from "./memory";
import { isGone, ownerOf } from "./owners";
import { attach, detach, LINK_ROWS, linkRow } from "./series";

export const CLIENT: u32 = 1;
export const SERVER: u32 = 2;
/** In the reporter's place: its connections are a kubelet's probes, and count for their pods only. */
export const PROBE: u32 = 4;
/** In the reporter's place: it holds what found no row of its own, and its other end is any of that kind. */
const OTHER: u32 = 8;
/** A server's port that no Service and no container declares, of the range that the kernel chooses from. */
export const EPHEMERAL: u32 = 0;
/** In `way`: where the scope (scope.ts) begins. */
const SCOPE: u32 = 20;

/**
 * What one side saw of the connections between two owners on one port of the server: the measures (measures.ts), then
 * the same as the rows were last told them. A snapshot touches the second cache line only, and its buckets.
 */
@unmanaged
export class Link {
  source: u32;
  destination: u32;
  /** The port in the low 16 bits, above it the reporter and what stands in its place, above these the scope. */
  way: u32;
  service: u32;
  next: usize;
  prev: usize;
  nextChanged: usize;
  /** The rows that it counts in, or 0. */
  podRow: usize;
  portRow: usize;
  pairRow: usize;
  linkRow: usize;
  /** They fill the first cache line. */
  private spare: u32;
  private spare2: u64;
  private spare3: u64;

  /** On the list of changed links (a sink always says so, and is on none). */
  changed: u32;
  /** Connections that the core holds and that count here. */
  users: u32;
  sent: u64;
  received: u64;
  exchanges: u64;
  duration: u64;
  segments: u64;
  rtt: u64;
  rtts: u64;
  retransmitted: u64;
  connections: u64;
  active: u64;
  resets: u64;
}

const LINK_KEY: usize = 16;
const MEASURES = offsetof<Link>("sent");

const links = table();
const key = memory.data(16, 8);

export let firstLink: usize = 0;
let lastLink: usize = 0;
let firstChanged: usize = 0;
let lastChanged: usize = 0;
/** Links may have lost what they live for. */
let swept: bool = true;

function bytesOf(count: usize): usize {
  return (MEASURES + 2 * count * 8 + 63) & ~63;
}

export function measureAt(link: usize, measure: usize): usize {
  return link + MEASURES + measure * 8;
}

/** What the measure has grown by since the last call. */
export function grown(link: usize, measure: usize): u64 {
  const told = measureAt(link, measures + measure);
  const total = load<u64>(measureAt(link, measure));
  const more = total - load<u64>(told);
  if (more) store<u64>(told, total);
  return more;
}

/** Adds to a measure; the link is to be marked as changed. */
export function add(link: Link, measure: usize, more: u64): void {
  const at = measureAt(changetype<usize>(link), measure);
  store<u64>(at, load<u64>(at) + more);
}

/** Tells the next projection to look at the link. */
export function markChanged(link: Link): void {
  const at = changetype<usize>(link);
  link.changed = 1;
  link.nextChanged = 0;
  if (lastChanged) changetype<Link>(lastChanged).nextChanged = at;
  else firstChanged = at;
  lastChanged = at;
}

/** The next link that has changed, taken off the list; 0 after the last. */
export function nextChanged(): usize {
  const at = firstChanged;
  if (!at) return 0;
  const link = changetype<Link>(at);
  firstChanged = link.nextChanged;
  if (!firstChanged) lastChanged = 0;
  link.changed = 0;
  return at;
}

/** A place for totals that are counted and never posted. */
export function sink(): Link {
  const link = changetype<Link>(allocate(bytesOf(MOST_MEASURES)));
  link.changed = 1;
  return link;
}

/** The link of a connection that settles at `now`, made where there was none. */
export function linkOf(
  source: u32,
  destination: u32,
  port: u32,
  reporter: u32,
  scope: u32,
  service: u32,
  now: u64,
): Link {
  const way = (scope << SCOPE) | (reporter << 16);
  const known = find(source, destination, way | port, service);
  if (known) return changetype<Link>(known);

  const probe = (reporter & PROBE) != 0;
  const server = (reporter & SERVER) != 0;
  const rowless = probe || !shows(LINK_ROWS);
  let row: usize = rowless ? 0 : linkRow(source, destination, port, server, scope, service, now, false);
  if (!rowless && !row) {
    counters.capped++;
    row = linkRow(source, destination, port, server, scope, service, now, true);
    if (server) {
      source = ownerOf(source).other;
    } else {
      destination = ownerOf(destination).other;
      port = 0;
    }
    service = 0;
    const other = find(source, destination, way | (OTHER << 16) | port, service);
    if (other) return changetype<Link>(other);
  }

  const at = allocate(bytesOf(measures));
  const link = changetype<Link>(at);
  memory.copy(at, key, LINK_KEY);
  links.add(at, LINK_KEY);
  link.prev = lastLink;
  if (lastLink) changetype<Link>(lastLink).next = at;
  else firstLink = at;
  lastLink = at;
  ownerOf(source).used = 1;
  ownerOf(destination).used = 1;
  if (!probe) counters.links++;
  attach(link, row, now);
  markChanged(link);
  return link;
}

function find(source: u32, destination: u32, way: u32, service: u32): usize {
  store<u32>(key, source, 0);
  store<u32>(key, destination, 4);
  store<u32>(key, way, 8);
  store<u32>(key, service, 12);
  return links.find(key, LINK_KEY);
}

/** A connection of the link is forgotten. */
export function unuse(link: Link): void {
  if (!--link.users && isDone(link)) swept = false;
}

/** Somebody who was an end of links is gone. */
export function sweepLater(): void {
  swept = false;
}

/** No new connection will come to it. */
function isDone(link: Link): bool {
  return isGone(ownerOf(link.source)) || isGone(ownerOf(link.destination));
}

/** Removes the links of whoever is gone, once they are told and nothing counts in them. Whether there was a reason. */
export function sweepLinks(): bool {
  if (swept) return false;
  swept = true;
  let at = firstLink;
  while (at) {
    const link = changetype<Link>(at);
    at = link.next;
    if (!link.users && !link.changed && isDone(link)) remove(link);
  }
  return true;
}

function remove(link: Link): void {
  const at = changetype<usize>(link);
  detach(link);
  links.remove(at, LINK_KEY);
  if (link.prev) changetype<Link>(link.prev).next = link.next;
  else firstLink = link.next;
  if (link.next) changetype<Link>(link.next).prev = link.prev;
  else lastLink = link.prev;
  if (!isProbe(link)) counters.links--;
  free(at, bytesOf(measures));
}

/** Port, reporter and scope, taken apart. */
export function portOfLink(link: Link): u32 {
  return link.way & 0xffff;
}

export function scopeOfLink(link: Link): u32 {
  return link.way >> SCOPE;
}

export function isServer(link: Link): bool {
  return (link.way & (SERVER << 16)) != 0;
}

export function isProbe(link: Link): bool {
  return (link.way & (PROBE << 16)) != 0;
}
