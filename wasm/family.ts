import { allocate } from "./memory";
import { ascii, begin, keep } from "./writer";

/** What the exposition consists of, in its order; families.ts is the list. A renderer walks it. */

export const COUNTER: u32 = 0;
export const GAUGE: u32 = 1;
export const HISTOGRAM: u32 = 2;
/** One without quantiles; a histogram with --histograms. */
export const SUMMARY: u32 = 3;
/** A counter for each reason of a failed connect. */
export const BY_REASON: u32 = 4;

/** Of rows of links, those that which end reports. */
export const EITHER: u32 = 0;
export const BY_CLIENT: u32 = 1;
export const BY_SERVER: u32 = 2;

@unmanaged
export class Family {
  next: usize;
  /** Texts: {u32 length, bytes}. */
  name: usize;
  help: usize;
  type: u32;
  rows: usize;
  reporter: u32;
  /** Places among the measures. */
  measure: usize;
  count: usize;
  buckets: usize;
  /** The ns in one of its sum. */
  ns: u64;
}

export let firstFamily: usize = 0;
let last: usize = 0;
/** A bit for each set of rows that some family shows. */
let shown: u32 = 0;

/** Whether there is a family of that set of rows. */
export function shows(rows: usize): bool {
  return (shown & (1 << (<u32>rows))) != 0;
}

/** Leaves only the families whose bits are set, in their order. To be called before there is any link. */
export function setFamilies(kept: u64): void {
  let at = firstFamily;
  firstFamily = 0;
  last = 0;
  shown = 0;
  for (; at; kept >>= 1) {
    const next = changetype<Family>(at).next;
    if (kept & 1) append(at);
    at = next;
  }
}

function append(at: usize): void {
  changetype<Family>(at).next = 0;
  if (last) changetype<Family>(last).next = at;
  else firstFamily = at;
  last = at;
  shown |= 1 << (<u32>changetype<Family>(at).rows);
}

export function literal(value: string): usize {
  begin();
  ascii(value);
  return keep();
}

export function family(
  type: u32,
  name: string,
  rows: usize,
  reporter: u32,
  measure: usize,
  count: usize,
  buckets: usize,
  ns: u64,
  help: string,
): void {
  const at = allocate(offsetof<Family>());
  const made = changetype<Family>(at);
  made.type = type;
  made.name = literal(name);
  made.help = literal(help);
  made.rows = rows;
  made.reporter = reporter;
  made.measure = measure;
  made.count = count;
  made.buckets = buckets;
  made.ns = ns;
  append(at);
}
