/**
 * The ring buffer's reader (kernel/bpf/ringbuf.c): page 0 holds the consumer's position, page 1 the
 * producer's, then the data. The kernel has the data twice in a row, so that no span wraps; we map them
 * once, for what is mapped twice counts twice as resident memory.
 *
 * Order matters: producer's position, headers up to the first busy one, and only then one copy of the
 * whole span. A copy made before its headers were seen committed could be torn.
 */
import { mapShared, pageSize, unmap } from "./libbpf.ts";

const BUSY = 0x8000_0000;
const LENGTH = 0x3fff_ffff;
const HEADER = 8;

/** Where a span goes: room for it first, then the word that it is there. */
export interface Sink {
  batch(bytes: number): Uint8Array;
  ingest(bytes: number): void;
}

export class Ring {
  private readonly consumerPage: ArrayBuffer;
  private readonly producerPages: ArrayBuffer;
  private readonly consumer: BigUint64Array;
  private readonly producer: Uint32Array;
  private readonly headers: Uint32Array;
  private readonly data: Uint8Array;
  private readonly fence = new Int32Array(new SharedArrayBuffer(4));
  private position: number;

  /** @param size of the ring in bytes, a power of two */
  constructor(
    fd: number,
    readonly size: number,
  ) {
    this.consumerPage = mapShared(fd, pageSize, 0, true);
    this.producerPages = mapShared(fd, pageSize + size, pageSize, false);
    this.consumer = new BigUint64Array(this.consumerPage, 0, 1);
    // Plain reads: Atomics on a read-only page are compiled to a write, and crash.
    this.producer = new Uint32Array(this.producerPages, 0, 2);
    this.headers = new Uint32Array(this.producerPages, pageSize);
    this.data = new Uint8Array(this.producerPages, pageSize);
    this.position = Number(this.consumer[0]);
  }

  /** Hands over everything that is committed, in one copy. Returns its bytes, headers included. */
  drain(sink: Sink): number {
    const produced = this.produced();
    const start = this.position & (this.size - 1);
    let span = 0;
    while (this.position + span < produced) {
      const header = this.headers[((this.position + span) & (this.size - 1)) >>> 2] as number;
      if (header >= BUSY) break;
      span += (((header & LENGTH) + HEADER + 7) >>> 3) << 3;
    }
    if (span === 0) return 0;
    // Loads are ordered on x86-64; elsewhere the copy must not run ahead of the headers.
    Atomics.store(this.fence, 0, 0);
    Atomics.load(this.fence, 0);
    const target = sink.batch(span);
    const end = this.data.subarray(start, start + span);
    target.set(end);
    target.set(this.data.subarray(0, span - end.length), end.length);
    this.position += span;
    // One 64-bit store: two halves are seen half-written at each 4 GiB.
    Atomics.store(this.consumer, 0, BigInt(this.position));
    sink.ingest(span);
    return span;
  }

  close(): void {
    unmap(this.consumerPage);
    unmap(this.producerPages);
  }

  private produced(): number {
    for (;;) {
      const high = this.producer[1] as number;
      const low = this.producer[0] as number;
      if (this.producer[1] === high) return high * 2 ** 32 + low;
    }
  }
}
