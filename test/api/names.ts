/** A watch as the agent runs it, and what it tells the core: which address has which name. */
import type { Names, Owner } from "../../src/core/names.ts";
import type { RingsideError } from "../../src/errors.ts";
import type { Access } from "../../src/kube/client.ts";
import { Resolver } from "../../src/kube/resolve.ts";
import { Watch, type WatchCounters, type WatchOptions } from "../../src/kube/watch.ts";

export class Watched implements Names {
  readonly errors: RingsideError[] = [];
  /** Streams that were well again, in order. */
  readonly well: string[] = [];
  /** Each address that lost its name, in order. */
  readonly released: string[] = [];
  /** Boot time in ns: names are complete until then. */
  freshUntil = 0n;
  private readonly owners: Owner[] = [];
  private readonly holders = new Map<string, number>();
  private readonly ports = new Map<string, string>();
  private readonly watch: Watch;

  constructor(access: Access, options: Partial<WatchOptions> = {}) {
    this.watch = Watch.start({
      access,
      node: "node-a",
      now,
      resolver: new Resolver(this, (wall) => BigInt(wall) * 1_000_000n, "node-a"),
      onError: (error) => this.errors.push(error),
      onWell: (stream) => this.well.push(stream),
      jitter: 0,
      ...options,
    });
  }

  owner(o: Owner): number {
    const index = this.owners.findIndex((known) => Bun.deepEquals(known, o));
    return index < 0 ? this.owners.push({ ...o }) - 1 : index;
  }
  assign(address: Uint8Array, owner: number): void {
    this.holders.set(show(address), owner);
  }
  release(address: Uint8Array): void {
    this.released.push(show(address));
    this.holders.delete(show(address));
  }
  port(owner: number, port: number, toOwner: number, toPort: number, service: string): void {
    const [from, to] = [this.owners[owner]?.name, this.owners[toOwner]?.workload];
    this.ports.set(`${from}:${port}`, `${to}:${toPort} ${service}`);
  }
  dropPorts(owner: number): void {
    const from = `${this.owners[owner]?.name}:`;
    for (const key of this.ports.keys()) if (key.startsWith(from)) this.ports.delete(key);
  }
  fresh(at: bigint): void {
    this.freshUntil = at;
  }
  // What these tests do not look at.
  hold(): void {}
  drop(): void {}
  probe(): void {}
  zone(): void {}
  range(): void {}
  dropRange(): void {}
  cgroup(): void {}

  /** All addresses with their names, sorted. */
  names(): string[] {
    return [...this.holders].map(([address, owner]) => `${address} ${this.owners[owner]?.name}`).sort();
  }
  name(address: string): string | undefined {
    return this.owners[this.holders.get(address) ?? -1]?.name;
  }
  /** What a Service's port leads to. */
  leadsTo(port: string): string | undefined {
    return this.ports.get(port);
  }
  counters(): WatchCounters {
    return this.watch.counters();
  }
  stream(name: string): WatchCounters["streams"][string] {
    const stream = this.counters().streams[name];
    if (stream === undefined) throw new Error(`there is no stream ${name}`);
    return stream;
  }
  /** All streams have a whole list. */
  async synced(): Promise<void> {
    await until(() => this.freshUntil > 0n, "the first lists");
  }
  /** As the watch has it: all is named, or something failed. */
  get settled(): Promise<void> {
    return this.watch.settled;
  }
  close(): void {
    this.watch.close();
  }
}

/** Boot time enough for a test: ns of a clock that never goes back. */
export function now(): bigint {
  return process.hrtime.bigint();
}

/** Waits until it is so. @returns after how many milliseconds @throws after `patience` milliseconds */
export async function until(isSo: () => unknown, what: string, patience = 20_000): Promise<number> {
  const start = performance.now();
  while (!(await isSo())) {
    if (performance.now() - start > patience) throw new Error(`still waiting for ${what} after ${patience} ms`);
    await Bun.sleep(10);
  }
  return performance.now() - start;
}

function show(address: Uint8Array): string {
  return address.slice(12).join(".");
}
