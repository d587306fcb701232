import { BY_REASON, COUNTER, Family, GAUGE, HISTOGRAM, literal, SUMMARY } from "./family";
import { hasHistograms, REASONS } from "./measures";
import { BUCKETS } from "./record";
import { Series, valueAt } from "./series";
import { ascii, begin, decimal, keep, rewind, seconds, text, writtenBytes } from "./writer";

/** A family in Prometheus' text format 0.0.4 and in OpenMetrics 1.0.0, whose `# EOF` whoever writes last adds. */

/**
 * Ten bounds of the 18 buckets', few series that still tell 0.1 ms from 1 ms and 1 s from 4 s: every second one from
 * 2^-14 s to 2^2 s, and the rest. The bucket of bound i is number 2 * i, of the rest 17.
 */
export const BOUNDS: usize = 10;
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
/** As OpenMetrics has them, where that differs. */
const openBounds = memory.data(4 * 10);
memory.copy(openBounds, bounds, 4 * 10);
openBound(0, "6.103515625e-05");
openBound(7, "1.0");
openBound(8, "4.0");
/** In the order of measures.ts. */
const reasons = memory.data(4 * 6);
reason(0, "refused");
reason(1, "timed_out");
reason(2, "reset");
reason(3, "unreachable");
reason(4, "other");
reason(5, "aborted");
const bucketSuffix = literal("_bucket");
const sumSuffix = literal("_sum");
const countSuffix = literal("_count");
const none = literal("");
const endOfLabels = literal("} ");
const endOfLine = literal("\n");

function bound(number: usize, value: string): void {
  store<usize>(bounds + number * 4, lastLabel(',le="', value));
}

function openBound(number: usize, value: string): void {
  store<usize>(openBounds + number * 4, lastLabel(',le="', value));
}

function reason(number: usize, value: string): void {
  store<usize>(reasons + number * 4, lastLabel(',reason="', value));
}

function lastLabel(name: string, value: string): usize {
  begin();
  ascii(name);
  ascii(value);
  ascii('"} ');
  return keep();
}

/** The label of a reason, as a text with what ends the labels. */
export function reasonLabel(number: usize): usize {
  return load<usize>(reasons + number * 4);
}

export function isHistogram(family: Family): bool {
  return family.type == HISTOGRAM || (family.type == SUMMARY && hasHistograms());
}

/** `open`: in OpenMetrics, where a counter's family goes without the ending of its samples. */
export function header(family: Family, open: bool): void {
  ascii("# HELP ");
  familyName(family, open);
  ascii(" ");
  text(family.help);
  ascii("\n# TYPE ");
  familyName(family, open);
  if (isHistogram(family)) ascii(" histogram\n");
  else if (family.type == SUMMARY) ascii(" summary\n");
  else ascii(family.type == GAUGE ? " gauge\n" : " counter\n");
  if (!open || !(endsWith(family, "_bytes") || endsWith(family, "_seconds"))) return;
  ascii("# UNIT ");
  familyName(family, open);
  ascii(endsWith(family, "_bytes") ? " bytes\n" : " seconds\n");
}

const TOTAL: usize = 6; // _total

function isCounter(family: Family): bool {
  return family.type == COUNTER || family.type == BY_REASON;
}

function familyName(family: Family, open: bool): void {
  text(family.name);
  if (open && isCounter(family)) rewind(writtenBytes() - TOTAL);
}

/** Whether the family's name in OpenMetrics does. */
function endsWith(family: Family, unit: string): bool {
  const length = <usize>load<u32>(family.name) - (isCounter(family) ? TOTAL : 0);
  const from = family.name + 4 + length - unit.length;
  for (let i = 0; i < unit.length; i++) if (load<u8>(from + i) != unit.charCodeAt(i)) return false;
  return true;
}

/** A line up to its value. */
function sample(family: Family, suffix: usize, row: Series, rest: usize): void {
  text(family.name);
  text(suffix);
  text(row.labels);
  text(rest);
}

/** What it is to show: a row that is held shows 0, but for a gauge, which nobody counts from its first value on. */
export function shown(family: Family, row: Series, measure: usize): u64 {
  return row.held && family.type != GAUGE ? 0 : load<u64>(valueAt(changetype<usize>(row), measure));
}

function counter(family: Family, row: Series, measure: usize, rest: usize): void {
  sample(family, none, row, rest);
  decimal(shown(family, row, measure));
  text(endOfLine);
}

function distribution(family: Family, row: Series, open: bool): void {
  let count = shown(family, row, family.count);
  if (isHistogram(family)) {
    count = 0;
    let bucket: usize = 0;
    for (let i: usize = 0; i < BOUNDS; i++) {
      for (; bucket < bucketsUntil(i); bucket++) count += shown(family, row, family.buckets + bucket);
      sample(family, bucketSuffix, row, load<usize>((open ? openBounds : bounds) + i * 4));
      decimal(count);
      text(endOfLine);
    }
  }
  sample(family, sumSuffix, row, endOfLabels);
  seconds(shown(family, row, family.measure) * family.ns);
  text(endOfLine);
  sample(family, countSuffix, row, endOfLabels);
  decimal(count);
  text(endOfLine);
}

/** The first bucket beyond a bound. */
export function bucketsUntil(bound: usize): usize {
  return bound == BOUNDS - 1 ? BUCKETS : bound * 2 + 1;
}

/** The lines of a row. */
export function lines(family: Family, row: Series, open: bool): void {
  if (family.type == HISTOGRAM || family.type == SUMMARY) {
    distribution(family, row, open);
  } else if (family.type == BY_REASON) {
    for (let i: usize = 0; i < REASONS; i++) counter(family, row, family.measure + i, reasonLabel(i));
  } else {
    counter(family, row, family.measure, endOfLabels);
  }
}
