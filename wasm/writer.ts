import { textOf } from "./labels";
import { Area, allocate } from "./memory";

/** Text that grows at the end of one area: the exposition, and in between the labels of a new series. */

const area = changetype<Area>(memory.data(8));
const digits = memory.data(24);
let at: usize = 0;
let end: usize = 0;

/** Starts a new text. */
export function begin(): void {
  at = area.reserve(65536);
  end = at + area.size;
}

/** Makes room for that many bytes. */
export function room(bytes: usize): void {
  if (at + bytes > end) grow(bytes);
}

function grow(bytes: usize): void {
  const length = at - area.start;
  area.reserve(max(area.size * 2, length + bytes), length);
  at = area.start + length;
  end = area.start + area.size;
}

export function written(): usize {
  return area.start;
}

export function writtenBytes(): usize {
  return at - area.start;
}

/** A copy of the text {u32 length, bytes}. */
export function keep(): usize {
  const length = writtenBytes();
  const text = allocate(4 + length);
  store<u32>(text, length);
  memory.copy(text + 4, area.start, length);
  return text;
}

/** Adds an ASCII literal. */
export function ascii(value: string): void {
  room(value.length);
  for (let i = 0; i < value.length; i++) store<u8>(at++, load<u8>(changetype<usize>(value) + i * 2));
}

export function text(value: usize): void {
  const length = load<u32>(value);
  room(length);
  memory.copy(at, value + 4, length);
  at += length;
}

export function label(number: u32): void {
  text(textOf(number));
}

export function decimal(value: u64): void {
  room(20);
  if (value < 10) {
    store<u8>(at++, 48 + <u8>value);
    return;
  }
  let first = digits + 24;
  while (value) {
    const rest = value / 10;
    store<u8>(--first, 48 + <u8>(value - rest * 10));
    value = rest;
  }
  const length = digits + 24 - first;
  memory.copy(at, first, length);
  at += length;
}

/** Nanoseconds as seconds, exact. */
export function seconds(ns: u64): void {
  decimal(ns / 1_000_000_000);
  let fraction = ns % 1_000_000_000;
  if (!fraction) return;
  room(10);
  store<u8>(at++, 46);
  for (let place: u64 = 100_000_000; fraction; place /= 10) {
    store<u8>(at++, 48 + <u8>(fraction / place));
    fraction %= place;
  }
}

/** Adds a varint. */
export function varint(value: u64): void {
  room(10);
  if (value < 128) {
    store<u8>(at++, <u8>value);
    return;
  }
  for (; value >= 128; value >>= 7) store<u8>(at++, <u8>value | 128);
  store<u8>(at++, <u8>value);
}

export function float(value: f64): void {
  room(8);
  store<f64>(at, value);
  at += 8;
}

/** Adds what lies there. */
export function raw(from: usize, until: usize): void {
  room(until - from);
  memory.copy(at, from, until - from);
  at += until - from;
}

export function byte(value: u8): void {
  room(1);
  store<u8>(at++, value);
}

/** Begins what is to stand behind its own length; to be given to `close`. */
export function open(): usize {
  room(1);
  at++;
  return writtenBytes();
}

/** Writes the length before it. */
export function close(opened: usize): void {
  let length = writtenBytes() - opened;
  let more: usize = 0;
  for (let rest = length >> 7; rest; rest >>= 7) more++;
  room(more);
  const first = area.start + opened;
  if (more) memory.copy(first + more, first, length);
  at += more;
  let place = first - 1;
  for (; length >= 128; length >>= 7) store<u8>(place++, <u8>length | 128);
  store<u8>(place, <u8>length);
}

/** Takes back all that was written since. */
export function rewind(bytes: usize): void {
  at = area.start + bytes;
}
