import "./families";
import { BY_CLIENT, BY_REASON, EITHER, Family, firstFamily, GAUGE, HISTOGRAM, literal, SUMMARY } from "./family";
import { hasHistograms, REASONS } from "./measures";
import { BUCKETS } from "./record";
import { firstOf, isByServer, Series, turn, valueAt } from "./series";
import { ascii, begin, decimal, keep, seconds, text } from "./writer";

/** The exposition in Prometheus' text format 0.0.4. */

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
  begin();
  ascii(',le="');
  ascii(value);
  ascii('"} ');
  store<usize>(bounds + number * 4, keep());
}

function reason(number: usize, value: string): void {
  begin();
  ascii(',reason="');
  ascii(value);
  ascii('"} ');
  store<usize>(reasons + number * 4, keep());
}

function isHistogram(family: Family): bool {
  return family.type == HISTOGRAM || (family.type == SUMMARY && hasHistograms());
}

function header(family: Family): void {
  ascii("# HELP ");
  text(family.name);
  ascii(" ");
  text(family.help);
  ascii("\n# TYPE ");
  text(family.name);
  if (isHistogram(family)) ascii(" histogram\n");
  else if (family.type == SUMMARY) ascii(" summary\n");
  else ascii(family.type == GAUGE ? " gauge\n" : " counter\n");
}

/** A line up to its value. */
function sample(family: Family, suffix: usize, row: Series, rest: usize): void {
  text(family.name);
  text(suffix);
  text(row.labels);
  text(rest);
}

function valueOf(row: Series, measure: usize): u64 {
  return load<u64>(valueAt(changetype<usize>(row), measure));
}

function counter(family: Family, row: Series, measure: usize, rest: usize): void {
  sample(family, none, row, rest);
  // A gauge is not counted from its first value on.
  decimal(row.held && family.type != GAUGE ? 0 : valueOf(row, measure));
  text(endOfLine);
}

function distribution(family: Family, row: Series): void {
  let count: u64 = valueOf(row, family.count);
  if (isHistogram(family)) {
    count = 0;
    let bucket: usize = 0;
    for (let i: usize = 0; i < BOUNDS; i++) {
      const until = i == BOUNDS - 1 ? BUCKETS : i * 2 + 1;
      while (bucket < until) count += valueOf(row, family.buckets + bucket++);
      sample(family, bucketSuffix, row, load<usize>(bounds + i * 4));
      decimal(row.held ? 0 : count);
      text(endOfLine);
    }
  }
  sample(family, sumSuffix, row, endOfLabels);
  seconds(row.held ? 0 : valueOf(row, family.measure) * family.ns);
  text(endOfLine);
  sample(family, countSuffix, row, endOfLabels);
  decimal(row.held ? 0 : count);
  text(endOfLine);
}

function write(family: Family, row: Series): void {
  if (family.type == HISTOGRAM || family.type == SUMMARY) {
    distribution(family, row);
  } else if (family.type == BY_REASON) {
    for (let i: usize = 0; i < REASONS; i++) counter(family, row, family.measure + i, load<usize>(reasons + i * 4));
  } else {
    counter(family, row, family.measure, endOfLabels);
  }
}

/** Writes the exposition as of `now`, showing the values of rows born before `watermark` (boot time in ns). */
export function render(now: u64, watermark: u64): void {
  turn(now, watermark);
  begin();
  for (let at = firstFamily; at; at = changetype<Family>(at).next) {
    const family = changetype<Family>(at);
    header(family);
    for (let row = firstOf(family.rows); row; row = changetype<Series>(row).next) {
      if (family.reporter != EITHER && isByServer(row) == (family.reporter == BY_CLIENT)) continue;
      write(family, changetype<Series>(row));
    }
  }
}
