import { counters } from "./counters";
import { allocate, table } from "./memory";
import { BUCKETS } from "./record";

export const CLIENT: u32 = 1;
export const SERVER: u32 = 2;

/** The totals of one or many connections as the reporter's own socket has them: what it sent and what it received. */
@unmanaged
export class Totals {
  sent: u64;
  received: u64;
  exchanges: u64;
  duration: u64;
}

/**
 * What one side saw of the connections between two owners on one port of the server. The first cache line is all that
 * a snapshot without a new exchange touches.
 */
@unmanaged
export class Link {
  source: u32;
  destination: u32;
  /** The port in the low 16 bits, the reporter above, then whether it is the kubelet's probes. */
  way: u32;
  service: u32;
  next: usize;
  /** On the list of changed links (a sink always says so, and is on none). */
  changed: u32;
  nextChanged: usize;
  active: u32;
  sent: u64;
  received: u64;
  exchanges: u64;
  duration: u64;
  /* u64 buckets[18] */
}

export const LINK_KEY: usize = 16;
export const LINK_TOTALS = offsetof<Link>("sent");
export const LINK_BUCKETS = offsetof<Link>();
/** What the series were last told: Totals, then buckets. */
export const LINK_TOLD = LINK_BUCKETS + BUCKETS * 8;
export const LINK_CONNECTIONS = LINK_TOLD + offsetof<Totals>() + BUCKETS * 8;
/** The settle that made it, boot time in ns. */
export const LINK_BORN = LINK_CONNECTIONS + 8;
/** The series that it counts in: one pointer of each kind, or 0. */
export const LINK_SERIES = LINK_BORN + 8;
const LINK_SIZE = LINK_SERIES + 4 * 4;

const links = table();
const key = memory.data(16, 8);

export let firstLink: usize = 0;
let lastLink: usize = 0;
export let firstChanged: usize = 0;
let lastChanged: usize = 0;

/** Tells the next projection to look at the link. First in, first out: the links' births stay in order. */
export function markChanged(link: Link): void {
  const at = changetype<usize>(link);
  link.changed = 1;
  link.nextChanged = 0;
  if (lastChanged) changetype<Link>(lastChanged).nextChanged = at;
  else firstChanged = at;
  lastChanged = at;
}

export function clearChanged(): void {
  firstChanged = 0;
  lastChanged = 0;
}

/** A place for totals that are counted and never posted. */
export function sink(): Link {
  const link = changetype<Link>(allocate(LINK_SIZE));
  link.changed = 1;
  return link;
}

/** In the reporter's place: its connections are a kubelet's probes, and count for their pods only. */
export const PROBE: u32 = 4;

/** The link of that key, made at `now` where there was none. */
export function linkOf(source: u32, destination: u32, port: u32, reporter: u32, service: u32, now: u64): Link {
  store<u32>(key, source, 0);
  store<u32>(key, destination, 4);
  store<u32>(key, port | (reporter << 16), 8);
  store<u32>(key, service, 12);
  const found = links.find(key, LINK_KEY);
  if (found) return changetype<Link>(found);

  const at = allocate(LINK_SIZE);
  const link = changetype<Link>(at);
  memory.copy(at, key, LINK_KEY);
  store<u64>(at + LINK_BORN, now);
  links.add(at, LINK_KEY);
  if (lastLink) changetype<Link>(lastLink).next = at;
  else firstLink = at;
  lastLink = at;
  if (!isProbe(link)) counters.links++;
  markChanged(link);
  return link;
}

/** Port and reporter, taken apart. */
export function portOfLink(link: Link): u32 {
  return link.way & 0xffff;
}

export function reporterOf(link: Link): u32 {
  return (link.way >> 16) & 3;
}

export function isProbe(link: Link): bool {
  return (link.way & (PROBE << 16)) != 0;
}
