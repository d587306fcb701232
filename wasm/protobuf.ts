import { BY_REASON, Family, GAUGE, SUMMARY } from "./family";
import { REASONS } from "./measures";
import { BUCKETS } from "./record";
import { Series } from "./series";
import { BOUNDS, bucketsUntil, isHistogram, reasonLabel, shown } from "./text";
import { byte, close, float, open, raw, text, varint } from "./writer";

/**
 * A family as a message MetricFamily of io.prometheus.client behind its length, with histograms that are classic and
 * native, and the time at which each counter began.
 *
 * Buckets of powers of two are those of a native histogram of schema 0: bucket i ends at 2^i s. The first one holds all
 * that is not longer, so it is the zero bucket; the last one, of all that is longer, has the place of (4, 8].
 */

/** Of a native histogram: the bucket behind the zero bucket, and the zero bucket's end. */
const FIRST_NATIVE: i32 = -13;
const ZERO_THRESHOLD: f64 = 0.00006103515625;

/** Wire types. */
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;

/** Fields, by message. */
const FAMILY_NAME: u32 = 1;
const FAMILY_HELP: u32 = 2;
const FAMILY_TYPE: u32 = 3;
const FAMILY_METRIC: u32 = 4;
const METRIC_LABEL: u32 = 1;
const METRIC_GAUGE: u32 = 2;
const METRIC_COUNTER: u32 = 3;
const METRIC_SUMMARY: u32 = 4;
const METRIC_HISTOGRAM: u32 = 7;
const LABEL_NAME: u32 = 1;
const LABEL_VALUE: u32 = 2;
const VALUE: u32 = 1;
const COUNTER_CREATED: u32 = 3;
/** Of a summary and a histogram. */
const SAMPLE_COUNT: u32 = 1;
const SAMPLE_SUM: u32 = 2;
const SUMMARY_CREATED: u32 = 4;
const HISTOGRAM_BUCKET: u32 = 3;
const HISTOGRAM_SCHEMA: u32 = 5;
const HISTOGRAM_ZERO_THRESHOLD: u32 = 6;
const HISTOGRAM_ZERO_COUNT: u32 = 7;
const HISTOGRAM_SPAN: u32 = 12;
const HISTOGRAM_DELTA: u32 = 13;
const HISTOGRAM_CREATED: u32 = 15;
const BUCKET_COUNT: u32 = 1;
const BUCKET_BOUND: u32 = 2;
const SPAN_OFFSET: u32 = 1;
const SPAN_LENGTH: u32 = 2;
const TIME_SECONDS: u32 = 1;
const TIME_NANOS: u32 = 2;

/** Types of families. */
const TYPE_COUNTER: u64 = 0;
const TYPE_GAUGE: u64 = 1;
const TYPE_SUMMARY: u64 = 2;
const TYPE_HISTOGRAM: u64 = 4;

function number(field: u32, value: u64): void {
  varint((field << 3) | VARINT);
  varint(value);
}

function double(field: u32, value: f64): void {
  varint((field << 3) | FIXED64);
  float(value);
}

/** Begins a message in a field. */
function message(field: u32): usize {
  varint((field << 3) | BYTES);
  return open();
}

function words(field: u32, value: usize): void {
  varint((field << 3) | BYTES);
  varint(load<u32>(value));
  text(value);
}

function zigzag(value: i64): u64 {
  return ((<u64>value) << 1) ^ <u64>(value >> 63);
}

/** Begins a family; what is written until it is closed are its metrics. */
export function openFamily(one: Family): usize {
  const opened = open();
  words(FAMILY_NAME, one.name);
  words(FAMILY_HELP, one.help);
  const type = isHistogram(one)
    ? TYPE_HISTOGRAM
    : one.type == SUMMARY
      ? TYPE_SUMMARY
      : one.type == GAUGE
        ? TYPE_GAUGE
        : TYPE_COUNTER;
  number(FAMILY_TYPE, type);
  return opened;
}

/** The metrics of a row. */
export function metrics(one: Family, row: Series, epoch: u64): void {
  if (one.type == BY_REASON) {
    for (let i: usize = 0; i < REASONS; i++) metric(one, row, one.measure + i, reasonLabel(i), epoch);
  } else {
    metric(one, row, one.measure, 0, epoch);
  }
}

function metric(one: Family, row: Series, measure: usize, label: usize, epoch: u64): void {
  const opened = message(FAMILY_METRIC);
  labels(row.labels);
  if (label) labels(label);
  const born = epoch + row.born;
  if (isHistogram(one)) {
    histogram(one, row, born);
  } else if (one.type == SUMMARY) {
    const summary = message(METRIC_SUMMARY);
    number(SAMPLE_COUNT, shown(one, row, one.count));
    sum(one, row);
    created(SUMMARY_CREATED, born);
    close(summary);
  } else {
    const value = message(one.type == GAUGE ? METRIC_GAUGE : METRIC_COUNTER);
    double(VALUE, <f64>shown(one, row, measure));
    if (one.type != GAUGE) created(COUNTER_CREATED, born);
    close(value);
  }
  close(opened);
}

/** The labels of a text as the text formats have it: `{name="value",...`, up to its end or a `}`. */
function labels(list: usize): void {
  const end = list + 4 + load<u32>(list);
  for (let at = list + 5; at < end; at += 2) {
    const name = at;
    while (load<u8>(at) != 61 /* = */) at++;
    const nameLength = at - name;
    const value = at + 2;
    let escapes: usize = 0;
    for (at = value; load<u8>(at) != 34 /* " */; at++) {
      if (load<u8>(at) != 92 /* \ */) continue;
      escapes++;
      at++;
    }
    const valueLength = at - value - escapes;
    varint((METRIC_LABEL << 3) | BYTES);
    varint(bytesOf(nameLength) + bytesOf(valueLength));
    varint((LABEL_NAME << 3) | BYTES);
    varint(nameLength);
    raw(name, name + nameLength);
    varint((LABEL_VALUE << 3) | BYTES);
    varint(valueLength);
    if (escapes) unescaped(value, at);
    else raw(value, at);
    if (load<u8>(at + 1) == 125 /* } */) return;
  }
}

/** Of a field of so many: its tag, its length and itself. */
function bytesOf(length: usize): usize {
  let bytes: usize = 2 + length;
  for (let rest = length >> 7; rest; rest >>= 7) bytes++;
  return bytes;
}

function unescaped(from: usize, until: usize): void {
  for (; from < until; from++) {
    let character = load<u8>(from);
    if (character == 92 /* \ */) {
      character = load<u8>(++from);
      if (character == 110 /* n */) character = 10;
    }
    byte(character);
  }
}

function sum(one: Family, row: Series): void {
  double(SAMPLE_SUM, <f64>(shown(one, row, one.measure) * one.ns) / 1e9);
}

function created(field: u32, ns: u64): void {
  const opened = message(field);
  number(TIME_SECONDS, ns / 1_000_000_000);
  number(TIME_NANOS, ns % 1_000_000_000);
  close(opened);
}

function histogram(one: Family, row: Series, born: u64): void {
  const opened = message(METRIC_HISTOGRAM);
  let count: u64 = 0;
  let bucket: usize = 0;
  for (let i: usize = 0; i < BOUNDS; i++) {
    for (; bucket < bucketsUntil(i); bucket++) count += shown(one, row, one.buckets + bucket);
    const classic = message(HISTOGRAM_BUCKET);
    number(BUCKET_COUNT, count);
    double(BUCKET_BOUND, i == BOUNDS - 1 ? Infinity : ZERO_THRESHOLD * <f64>((<u64>1) << (2 * i)));
    close(classic);
  }
  number(SAMPLE_COUNT, count);
  sum(one, row);
  number(HISTOGRAM_SCHEMA, zigzag(0));
  double(HISTOGRAM_ZERO_THRESHOLD, ZERO_THRESHOLD);
  number(HISTOGRAM_ZERO_COUNT, shown(one, row, one.buckets));
  const span = message(HISTOGRAM_SPAN);
  number(SPAN_OFFSET, zigzag(FIRST_NATIVE));
  number(SPAN_LENGTH, BUCKETS - 1);
  close(span);
  const deltas = message(HISTOGRAM_DELTA);
  let last: u64 = 0;
  for (let i: usize = 1; i < BUCKETS; i++) {
    const value = shown(one, row, one.buckets + i);
    varint(zigzag(<i64>(value - last)));
    last = value;
  }
  close(deltas);
  created(HISTOGRAM_CREATED, born);
  close(opened);
}
