/** The records of the kernel side (bpf/ringside.h), with names for their numbers. */
import { kind, reason, record, role } from "../../src/bpf/abi.ts";
import type { Sink } from "../../src/bpf/ring.ts";

const HEADER = 8;
const DISCARD = 1 << 30;
const STRIDE = HEADER + record.size;

const nameOf = (names: Record<string, number>, value: number): string =>
  Object.keys(names).find((name) => names[name] === value) ?? String(value);

/** One record. Times are nanoseconds of boot time. Each number is read when it is asked for: most of most records are not. */
export class Recorded {
  private readonly view: DataView;

  /** @param raw the record behind its header in the ring */
  constructor(readonly raw: Uint8Array) {
    this.view = new DataView(raw.buffer, raw.byteOffset + HEADER, record.size);
  }

  get time(): bigint {
    return this.view.getBigUint64(record.time, true);
  }
  get id(): bigint {
    return this.view.getBigUint64(record.id, true);
  }
  get bornAt(): bigint {
    return this.view.getBigUint64(record.bornAt, true);
  }
  get sent(): number {
    return Number(this.view.getBigUint64(record.sent, true));
  }
  get received(): number {
    return Number(this.view.getBigUint64(record.received, true));
  }
  get exchanges(): number {
    return Number(this.view.getBigUint64(record.exchanges, true));
  }
  get netns(): number {
    return this.view.getUint32(record.netns, true);
  }
  get local(): string {
    return this.end(record.local, record.localPort);
  }
  get remote(): string {
    return this.end(record.remote, record.remotePort);
  }
  get connectUs(): number {
    return this.view.getUint32(record.connectUs, true);
  }
  get srttUs(): number {
    return this.view.getUint32(record.srttUs, true);
  }
  get segments(): number {
    return this.view.getUint32(record.segments, true);
  }
  get retransmitted(): number {
    return this.view.getUint32(record.retransmitted, true);
  }
  get role(): string {
    return nameOf(role, this.view.getUint8(record.role));
  }
  get kind(): string {
    return nameOf(kind, this.view.getUint8(record.kind));
  }
  get reason(): string {
    return nameOf(reason, this.view.getUint8(record.reason));
  }
  get flags(): number {
    return this.view.getUint8(record.flags);
  }

  /** As the programs write it: IPv4 with dots, IPv6 in its shortest form, then the port. */
  private end(at: number, port: number): string {
    const words = Array.from({ length: 8 }, (_, i) => this.view.getUint16(at + 2 * i));
    const mapped = words.slice(0, 5).every((word) => word === 0) && words[5] === 0xffff;
    const address = mapped
      ? [0, 1, 2, 3].map((i) => this.view.getUint8(at + 12 + i)).join(".")
      : new URL(`http://[${words.map((word) => word.toString(16)).join(":")}]`).hostname.slice(1, -1);
    return `${address} ${this.view.getUint16(port, true)}`;
  }
}

/** @returns the records of a span of the ring, which they look into, without those that were discarded */
export function* recordsOf(span: Uint8Array): Generator<Recorded> {
  for (let at = 0; at < span.length; at += STRIDE) {
    const one = span.subarray(at, at + STRIDE);
    if (!(new DataView(one.buffer, one.byteOffset).getUint32(0, true) & DISCARD)) yield new Recorded(one);
  }
}

/** A reader of the ring that keeps every record but those that only say "alive". */
export class Recorder implements Sink {
  readonly records: Recorded[] = [];
  private span = new Uint8Array(0);

  batch(bytes: number): Uint8Array {
    this.span = new Uint8Array(bytes);
    return this.span;
  }

  ingest(): void {
    for (const one of recordsOf(this.span)) if (one.kind !== "alive") this.records.push(one);
  }
}
