import { BUCKETS } from "./record";

/**
 * What a link counts, and so each row of the exposition: places in a list of u64. In a link `sent` and `received` are
 * the reporter's own socket's, in a row of links they are the source's and the destination's.
 */
export const SENT: usize = 0;
export const RECEIVED: usize = 1;
export const EXCHANGES: usize = 2;
/** Of all exchanges, ns. */
export const DURATION: usize = 3;
export const SEGMENTS: usize = 4;
/** Sum of the round-trip times sampled, us, and how many they were. */
export const RTT: usize = 5;
export const RTTS: usize = 6;
export const RETRANSMITTED: usize = 7;
export const CONNECTIONS: usize = 8;
/** Goes down, too. */
export const ACTIVE: usize = 9;
export const RESETS: usize = 10;
/** Sum of the times to connect, us, and how many they were. */
export const CONNECT: usize = 11;
export const CONNECTS: usize = 12;
/** By reason: refused, timed out, reset, unreachable, other, aborted. */
export const FAILURES: usize = 13;
export const REASONS: usize = 6;
/** Exchanges by duration. */
export const EXCHANGE_BUCKETS = FAILURES + REASONS;
const LEAN = EXCHANGE_BUCKETS + BUCKETS;
/** With --histograms. */
export const RTT_BUCKETS = LEAN;
export const CONNECT_BUCKETS = RTT_BUCKETS + BUCKETS;
export const MOST_MEASURES = CONNECT_BUCKETS + BUCKETS;

/** How many there are. */
export let measures: usize = LEAN;

/** To be called before there is any link. */
export function setHistograms(all: bool): void {
  measures = all ? MOST_MEASURES : LEAN;
}

export function hasHistograms(): bool {
  return measures != LEAN;
}

/** The bucket of so many us: the first bound 2^(i - 14) s that they do not exceed. */
export function bucketOf(us: u64): usize {
  const scaled = us << 14;
  let bound: u64 = 1_000_000;
  let i: usize = 0;
  for (; i < BUCKETS - 1 && scaled > bound; i++) bound <<= 1;
  return i;
}
