/** A reader of the ring that keeps what it was told of each connection in some network namespaces. */
import type { Sink } from "../../src/bpf/ring.ts";
import { type Recorded, recordsOf } from "../truth/recorded.ts";

/** Of one connection: its latest totals, in bytes and exchanges. */
export interface Told {
  role: string;
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
    const kept = recordsOf(this.area.subarray(0, bytes))
      .filter((one) => this.take(one))
      .map(({ raw }) => raw)
      .toArray();
    if (!this.onward || kept.length === 0) return;
    const all = Buffer.concat(kept);
    this.onward.batch(all.length).set(all);
    this.onward.ingest(all.length);
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

  private take({ id, kind, netns, sent, received, role, exchanges, flags }: Recorded): boolean {
    const before = this.connections.get(id);
    if (kind === "alive") return before !== undefined;
    if (!this.namespaces.includes(netns)) return false;
    if (before && (sent < before.sent || received < before.received)) this.fell++;
    if (kind === "snapshot" && this.closed.has(id)) this.late++;
    if (kind === "closed" || kind === "final") this.closed.add(id);
    const ended = kind === "final" || before?.ended === true;
    this.connections.set(id, { role, sent, received, exchanges, flags, ended, failed: kind === "failed" });
    return true;
  }
}
