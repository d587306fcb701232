/** A reader of the ring that keeps what it was told of each connection in some network namespaces. */
import { kind, record } from "../../src/bpf/abi.ts";
import type { Sink } from "../../src/bpf/ring.ts";

const HEADER = 8;
const DISCARD = 1 << 30;
const STRIDE = HEADER + record.size;

/** Of one connection: its latest totals, in bytes and exchanges. */
export interface Told {
  role: number;
  sent: number;
  received: number;
  exchanges: number;
  flags: number;
  /** A last word was among the records. */
  ended: boolean;
  /** It never was established. */
  failed: boolean;
}

export class Stalled extends Error {}

export class Records implements Sink {
  readonly connections = new Map<bigint, Told>();
  /** Reads nothing while it is set: a drain throws Stalled, and the ring stays as it is. */
  stalled = false;
  /** Snapshots that stand in the ring behind their connection's closed or last word. */
  late = 0;
  /** Records whose totals are below those of one before. */
  fell = 0;
  private readonly closed = new Set<bigint>();
  private area = new Uint8Array(1 << 20);

  /**
   * @param namespaces inodes; records of others are passed over
   * @param onward     gets the records that are kept, as they came
   */
  constructor(
    private readonly namespaces: number[],
    private readonly onward?: Sink,
  ) {}

  batch(bytes: number): Uint8Array {
    if (this.stalled) throw new Stalled();
    if (this.area.length < bytes) this.area = new Uint8Array(bytes);
    return this.area;
  }

  ingest(bytes: number): void {
    const view = new DataView(this.area.buffer);
    const kept: Uint8Array[] = [];
    for (let at = 0; at < bytes; at += STRIDE) {
      if (view.getUint32(at, true) & DISCARD) continue;
      if (this.take(view, at + HEADER)) kept.push(this.area.subarray(at, at + STRIDE));
    }
    if (!this.onward || kept.length === 0) return;
    const span = this.onward.batch(kept.length * STRIDE);
    kept.forEach((one, i) => {
      span.set(one, i * STRIDE);
    });
    this.onward.ingest(kept.length * STRIDE);
  }

  /** @returns the sum over the connections that `which` picks, of both directions apart */
  total(which: (told: Told) => boolean = () => true): { connections: number; sent: number; received: number } {
    const sum = { connections: 0, sent: 0, received: 0 };
    for (const told of this.connections.values()) {
      if (!which(told)) continue;
      sum.connections++;
      sum.sent += told.sent;
      sum.received += told.received;
    }
    return sum;
  }

  private take(view: DataView, at: number): boolean {
    const id = view.getBigUint64(at + record.id, true);
    const what = view.getUint8(at + record.kind);
    if (what === kind.alive) return this.connections.has(id);
    if (!this.namespaces.includes(view.getUint32(at + record.netns, true))) return false;
    const sent = Number(view.getBigUint64(at + record.sent, true));
    const received = Number(view.getBigUint64(at + record.received, true));
    const before = this.connections.get(id);
    if (before && (sent < before.sent || received < before.received)) this.fell++;
    if (what === kind.snapshot && this.closed.has(id)) this.late++;
    if (what === kind.closed || what === kind.final) this.closed.add(id);
    this.connections.set(id, {
      role: view.getUint8(at + record.role),
      sent,
      received,
      exchanges: Number(view.getBigUint64(at + record.exchanges, true)),
      flags: view.getUint8(at + record.flags),
      ended: what === kind.final || before?.ended === true,
      failed: what === kind.failed,
    });
    return true;
  }
}
