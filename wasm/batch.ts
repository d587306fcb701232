import { observe } from "./connections";
import { counters } from "./counters";
import { RECORD_SIZE } from "./record";

const HEADER: usize = 8;
const DISCARD: u32 = 1 << 30;
const LENGTH: u32 = DISCARD - 1;

/**
 * Walks a span of the BPF ring buffer that holds no busy record: {u32 length and flags, u32 page offset, data} each,
 * 8 bytes aligned (Linux, kernel/bpf/ringbuf.c).
 */
export function ingest(span: usize, bytes: usize): void {
  const end = span + bytes;
  while (span + HEADER <= end) {
    const header = load<u32>(span);
    const length: usize = header & LENGTH;
    const next = span + ((HEADER + length + 7) & ~7);
    if (header & DISCARD) counters.discards++;
    else if (length == RECORD_SIZE && next <= end) observe(span + HEADER);
    else counters.malformed++;
    span = next;
  }
}
