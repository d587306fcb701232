import { fetch, observe, rowOf } from "./connections";
import { counters } from "./counters";
import { RECORD_SIZE } from "./record";

const HEADER: usize = 8;
const DISCARD: u32 = 1 << 30;
const LENGTH: u32 = DISCARD - 1;

/** Records whose rows are looked up before the first of them is taken, so that their cache misses overlap. */
const AHEAD: usize = 16;

/** {u32 record, u32 row} each. */
const group = memory.data(8 * 16, 8);
let fetched: u32 = 0;

/**
 * Walks a span of the BPF ring buffer that holds no busy record: {u32 length and flags, u32 page offset, data} each,
 * 8 bytes aligned (Linux, kernel/bpf/ringbuf.c).
 */
export function ingest(span: usize, bytes: usize): void {
  const end = span + bytes;
  let ahead: usize = 0;
  while (span + HEADER <= end) {
    const header = load<u32>(span);
    const length: usize = header & LENGTH;
    const next = span + ((HEADER + length + 7) & ~7);
    if (header & DISCARD) {
      counters.discards++;
    } else if (length == RECORD_SIZE && next <= end) {
      store<usize>(group + ahead * 8, span + HEADER);
      store<usize>(group + ahead * 8, rowOf(span + HEADER), 4);
      if (++ahead == AHEAD) {
        take(ahead);
        ahead = 0;
      }
    } else {
      counters.malformed++;
    }
    span = next;
  }
  take(ahead);
}

function take(count: usize): void {
  for (let i: usize = 0; i < count; i++) fetched += fetch(load<usize>(group + i * 8, 4));
  for (let i: usize = 0; i < count; i++) observe(load<usize>(group + i * 8), load<usize>(group + i * 8, 4));
}
