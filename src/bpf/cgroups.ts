import { cgroupPath } from "./abi.ts";
import type { Sink } from "./ring.ts";

const HEADER = 8;
const DISCARD = 1 << 30;
const LEVELS = 5;
const NAME = (cgroupPath.size - cgroupPath.names) / LEVELS;

/** A cgroup of which a socket was seen, as the kernel side told it. */
export interface CgroupPath {
  /** As records have it. */
  id: bigint;
  /** Its own name, then those of its parents, as far as the record reaches. */
  names: string[];
}

/** Reads the ring of cgroups. */
export class CgroupReader implements Sink {
  private span = new Uint8Array(0);
  private readonly paths: CgroupPath[] = [];

  batch(bytes: number): Uint8Array {
    this.span = new Uint8Array(bytes);
    return this.span;
  }

  ingest(): void {
    const { span } = this;
    const view = new DataView(span.buffer);
    for (let at = 0; at < span.length; at += HEADER + cgroupPath.size) {
      if (view.getUint32(at, true) & DISCARD) continue;
      const names = Array.from({ length: LEVELS }, (_, level) => {
        const start = at + HEADER + cgroupPath.names + level * NAME;
        return Buffer.from(span.buffer, start, NAME).toString("latin1").replace(/\0.*/s, "");
      });
      this.paths.push({ id: view.getBigUint64(at + HEADER + cgroupPath.id, true), names: names.filter(Boolean) });
    }
  }

  /** What has come since the last call. */
  take(): CgroupPath[] {
    return this.paths.splice(0);
  }
}
