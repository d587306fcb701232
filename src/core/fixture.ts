/** Spans of the ring as the kernel side writes them, for tests and benchmarks. */
import { join } from "node:path";
import { kind, reason, record, recordFlag, role } from "../bpf/abi.ts";
import { toBytes as address } from "../kube/address.ts";
import { Core, type CoreOptions } from "./core.ts";
import type { Owner } from "./names.ts";

export const second = 1_000_000_000n;

const header = 8;
const discard = 1 << 30;
export const stride = header + record.size;

/** What a test says of a record; the rest is 0. Ends are "10.0.0.1:80" or "[fd00::1]:80". */
export interface Snapshot {
  id: bigint | number;
  local?: string;
  remote?: string;
  role?: keyof typeof role;
  kind?: keyof typeof kind;
  time?: bigint;
  bornAt?: bigint;
  sent?: bigint | number;
  received?: bigint | number;
  exchanges?: number;
  durationNs?: bigint | number;
  netns?: number;
  cgroup?: bigint | number;
  sweep?: number;
  connectUs?: number;
  srttUs?: number;
  segments?: number;
  retransmitted?: number;
  reason?: keyof typeof reason;
  flags?: (keyof typeof recordFlag)[];
  /** Exchanges by bucket number. */
  buckets?: Record<number, number>;
}

export { address };

function end(text: string): { address: Uint8Array; port: number } {
  const colon = text.lastIndexOf(":");
  return { address: address(text.slice(0, colon).replace(/[[\]]/g, "")), port: Number(text.slice(colon + 1)) };
}

/** Writes one record with its header at `at`, where `stride` bytes are. */
export function write(span: Uint8Array, at: number, snapshot: Snapshot): void {
  const view = new DataView(span.buffer, span.byteOffset + at);
  view.setUint32(0, record.size, true);
  const u64 = (offset: number, value: bigint | number) => view.setBigUint64(header + offset, BigInt(value), true);
  const u32 = (offset: number, value: number) => view.setUint32(header + offset, value, true);
  u64(record.id, snapshot.id);
  u64(record.time, snapshot.time ?? 0n);
  u64(record.bornAt, snapshot.bornAt ?? 0n);
  u64(record.cgroup, snapshot.cgroup ?? 0);
  u64(record.sent, snapshot.sent ?? 0);
  u64(record.received, snapshot.received ?? 0);
  u64(record.exchanges, snapshot.exchanges ?? 0);
  u64(record.durationNs, snapshot.durationNs ?? 0);
  u32(record.netns, snapshot.netns ?? 0);
  u32(record.sweep, snapshot.sweep ?? 0);
  u32(record.connectUs, snapshot.connectUs ?? 0);
  u32(record.srttUs, snapshot.srttUs ?? 0);
  u32(record.segments, snapshot.segments ?? 0);
  u32(record.retransmitted, snapshot.retransmitted ?? 0);
  for (const [side, addressAt, portAt] of [
    [snapshot.local, record.local, record.localPort],
    [snapshot.remote, record.remote, record.remotePort],
  ] as const) {
    if (side === undefined) continue;
    const { address, port } = end(side);
    span.set(address, at + header + addressAt);
    view.setUint16(header + portAt, port, true);
  }
  view.setUint8(header + record.role, role[snapshot.role ?? "unknown"]);
  view.setUint8(header + record.kind, kind[snapshot.kind ?? "snapshot"]);
  view.setUint8(header + record.reason, reason[snapshot.reason ?? "none"]);
  const flags = (snapshot.flags ?? []).reduce((all, flag) => all | recordFlag[flag], 0);
  view.setUint8(header + record.flags, flags);
  for (const [bucket, count] of Object.entries(snapshot.buckets ?? {})) {
    u32(record.buckets + 4 * Number(bucket), count);
  }
}

/** Hands records to the core as one span. */
export function feed(core: Core, ...snapshots: Snapshot[]): void {
  const bytes = snapshots.length * stride;
  const span = core.batch(bytes).fill(0);
  snapshots.forEach((snapshot, i) => {
    write(span, i * stride, snapshot);
  });
  core.ingest(bytes);
}

/** A discarded record of that many bytes, as a span. */
export function discarded(length: number): Uint8Array {
  const span = new Uint8Array(header + Math.ceil(length / 8) * 8);
  new DataView(span.buffer).setUint32(0, (length | discard) >>> 0, true);
  return span;
}

export const load = (options?: CoreOptions): Promise<Core> =>
  Core.load(join(import.meta.dir, "../../build/core.wasm"), options);

/** A pod of a Deployment named as the pod up to its last dash. */
export function pod(name: string, more: Partial<Owner> = {}): Owner {
  const workload = name.replace(/-[^-]*$/, "");
  return { type: "pod", namespace: "shop", name, workload, kind: "Deployment", mine: true, ...more };
}

/** A small generator with a seed (xorshift), so that a failure comes again. */
export function generator(seed: number): (below: number) => number {
  let state = Math.imul(seed, 2654435761) | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** The lines of the exposition that hold samples. */
export function samples(core: Core, now: bigint, watermark: bigint): string[] {
  return new TextDecoder()
    .decode(core.render(now, watermark))
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
}
