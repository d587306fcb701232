import { RingsideError } from "../errors.ts";
import { families, reasons } from "./families.ts";
import { anyNode, type Names, type Owner } from "./names.ts";

/** What wasm/index.ts exports. Pointers and sizes are bytes in `memory`, which detaches its views when it grows. */
interface Exports {
  memory: { readonly buffer: ArrayBuffer };
  configure(settle: bigint, grace: bigint, refresh: number, onlyMine: number, probes: number): void;
  setLoopback(posted: number): void;
  setLinks(aggregate: number, limit: number): void;
  setHistograms(all: number): void;
  setFamilies(kept: bigint): void;
  word(bytes: number): number;
  text(bytes: number): number;
  textOf(number: number): number;
  owner(
    type: number,
    mine: number,
    ignored: number,
    namespace: number,
    name: number,
    workload: number,
    kind: number,
  ): number;
  ownerOf(number: number): number;
  hold(owner: number): void;
  drop(owner: number): void;
  assign(owner: number, since: bigint, node: number): void;
  zone(node: number, zone: number): void;
  release(at: bigint): void;
  setPort(owner: number, port: number, toOwner: number, toPort: number, service: number): void;
  setProbe(owner: number, port: number): void;
  setScope(told: number): void;
  dropPorts(owner: number): void;
  range(bits: number, owner: number, waits: number): void;
  dropRange(bits: number): void;
  cgroup(id: bigint, told: number, owner: number): void;
  host(netns: number, owner: number): void;
  fresh(at: bigint): void;
  batch(bytes: number): number;
  ingest(bytes: number): void;
  settle(now: bigint, sweep: number): void;
  render(form: number, now: bigint, watermark: bigint, epoch: bigint): void;
  renderMore(): void;
  abandon(now: bigint): void;
  written(): number;
  writtenBytes(): number;
  reportLinks(): number;
  reportCounters(): number;
  reportRow(): number;
}

/** All of them have a default. */
export interface CoreOptions {
  /** A connection's ends are looked up this long after its birth: ns, 2 s. */
  settle?: bigint;
  /** An address that nobody names is external this long after the connection's birth: ns, 60 s. */
  grace?: bigint;
  /** A clean connection is written every so many sweeps (struct config): 10. */
  refresh?: number;
  /** Post connections over loopback too: false. */
  loopback?: boolean;
  /** Post only connections whose local end is of the agent's own node: false. */
  onlyMine?: boolean;
  /** Post the kubelet's probes to links, too: false. */
  probes?: boolean;
  /** What the ends of a row of links are: workload. */
  aggregate?: (typeof aggregates)[number];
  /** Rows of links, beyond which a new connection without a row counts in one of all others: 2000. */
  maxLinks?: number;
  /** Histograms of all durations, not of the servers' alone: false. */
  histograms?: boolean;
  /** Tell how far links go: false. */
  scope?: boolean;
  /** Names of families (families.ts) that are not rendered, and need no rows: none. */
  disabled?: readonly string[];
}

/** Of the exposition: Prometheus' text format 0.0.4, OpenMetrics 1.0.0, delimited messages of protobuf. */
const forms = ["text", "openmetrics", "protobuf"] as const;
export type Form = (typeof forms)[number];

/** How far a link goes, in the order of wasm/scope.ts; the first where nobody asked. */
const scopes = ["", "unknown", "same_zone", "other_zone", "outside", "internet"] as const;

export const aggregates = ["pod", "workload", "namespace"] as const;

/** One side's view of the connections from one owner to another's port. Numbers are exact up to 2^53. */
export interface Link {
  /** The client's end, and the server's. */
  source: Owner;
  destination: Owner;
  /** The server's, and the Service that has it, or "". 0: an ephemeral one that nobody declares, or any. */
  port: number;
  service: string;
  reporter: "client" | "server";
  /** How far it goes, where `CoreOptions.scope` asks, else "". */
  scope: (typeof scopes)[number];
  /** Connections posted so far, and those of them that are not over. */
  connections: number;
  active: number;
  /** Payload bytes from source to destination, and back. */
  sent: number;
  received: number;
  exchanges: number;
  /** Of all exchanges. */
  durationNs: number;
  /** Connects that failed, by reason. */
  failures: Record<(typeof reasons)[number], number>;
  /** Connections that an RST went through. */
  resets: number;
  /** Segments with data that the reporter's socket sent, and segments that it sent again. */
  segments: number;
  retransmitted: number;
  /** Sums and counts of the samples: round-trip time, and time to connect. */
  rttUs: number;
  rtts: number;
  connectUs: number;
  connects: number;
  /** Exchanges by duration: up to 2^-14 s, 2^-13 s, ... 2^2 s, longer. */
  buckets: number[];
}

/** In the order of wasm/counters.ts. */
const counterNames = [
  "records",
  "discards",
  "malformed",
  "connections",
  "settling",
  "waiting",
  "failed",
  "loopback",
  "loopbackBytes",
  "foreign",
  "foreignBytes",
  "ignored",
  "ignoredBytes",
  "addressesNamed",
  "addressesExternal",
  "probes",
  "probeBytes",
  "unnamedFinals",
  "unnamedBytes",
  "finalsMissed",
  "links",
  "capped",
  "linkRows",
  "pairRows",
  "series",
  "seriesHeld",
  "postedBytes",
  "postedExternalBytes",
] as const;

/** In the order of wasm/measures.ts; then failures by reason, and buckets. */
const measures = [
  "sent",
  "received",
  "exchanges",
  "durationNs",
  "segments",
  "rttUs",
  "rtts",
  "retransmitted",
  "connections",
  "active",
  "resets",
  "connectUs",
  "connects",
] as const;
type Measure = (typeof measures)[number];
const BUCKETS = 18;

/** What stands before the measures of a link (wasm/report.ts). */
type Ends = [source: number, destination: number, service: number, port: number, byServer: number, scope: number];

/**
 * What the core counts about itself. `connections`, `settling` (for their time), `waiting` (for a name),
 * `addressesNamed`, `addressesExternal`, `links`, `linkRows`, `pairRows`, `series` and `seriesHeld` (at 0) are as of now,
 * the rest since the start. Bytes are those of both directions.
 */
export type CoreCounters = Record<(typeof counterNames)[number], number>;

const ownerTypes = ["external", "pod", "node", "service"] as const;

const external: Owner = {
  type: "external",
  namespace: "",
  name: "external",
  workload: "external",
  kind: "External",
  mine: false,
};

/** As a label value stands between its quotes. */
const escaped = (value: string): string =>
  value.replace(/[\\"\n]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`));
const unescaped = (value: string): string =>
  value.replace(/\\(.)/g, (_, character) => (character === "n" ? "\n" : character));

/**
 * The WebAssembly core: takes spans of the ring buffer, holds connections, names, links and series, writes the
 * exposition. It reads no clock and calls nothing. Times are boot time in ns. Views that it returns live until the
 * next call.
 */
export class Core implements Names {
  readonly #wasm: Exports;
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder();
  #memory = new Uint8Array();
  /** Bytes of the last expositions. */
  readonly #lengths: Record<Form, number> = { text: 0, openmetrics: 0, protobuf: 0 };
  /** Rows of links that there may be. */
  readonly maxLinks: number;

  private constructor(wasm: Exports, options: CoreOptions) {
    this.#wasm = wasm;
    const { settle = 2_000_000_000n, grace = 60_000_000_000n, refresh = 10 } = options;
    wasm.configure(settle, grace, refresh, Number(options.onlyMine ?? false), Number(options.probes ?? false));
    wasm.setLoopback(Number(options.loopback ?? false));
    wasm.setScope(Number(options.scope ?? false));
    const { aggregate = "workload", maxLinks = 2000 } = options;
    this.maxLinks = maxLinks;
    wasm.setLinks(aggregates.indexOf(aggregate), maxLinks);
    wasm.setHistograms(Number(options.histograms ?? false));
    const { disabled = [] } = options;
    wasm.setFamilies(
      families.reduce((kept, { name }, i) => (disabled.includes(name) ? kept : kept | (1n << BigInt(i))), 0n),
    );
    for (const o of [external, anyNode]) this.hold(this.owner(o));
  }

  /**
   * @param module core.wasm: its path, or its bytes
   * @throws RingsideError where there is none, or it is not one
   */
  static async load(module: string | Uint8Array<ArrayBuffer>, options: CoreOptions = {}): Promise<Core> {
    try {
      const bytes = typeof module === "string" ? await Bun.file(module).bytes() : module;
      const { instance } = await WebAssembly.instantiate(bytes);
      return new Core(instance.exports as unknown as Exports, options);
    } catch (cause) {
      const object = typeof module === "string" ? module : "core.wasm";
      throw new RingsideError("load the core", object, "Build it with hack/build.", { cause });
    }
  }

  owner(o: Owner): number {
    const [namespace, name] = [this.#text(o.namespace), this.#text(o.name)];
    const [workload, kind] = [this.#text(o.workload), this.#text(o.kind)];
    const type = ownerTypes.indexOf(o.type);
    return this.#wasm.owner(type, Number(o.mine), Number(o.ignored ?? false), namespace, name, workload, kind);
  }

  hold(owner: number): void {
    this.#wasm.hold(owner);
  }

  drop(owner: number): void {
    this.#wasm.drop(owner);
  }

  assign(address: Uint8Array, owner: number, since: bigint, node = 0): void {
    this.#word(address);
    this.#wasm.assign(owner, since, node);
  }

  zone(node: number, zone: string): void {
    this.#wasm.zone(node, this.#text(zone));
  }

  release(address: Uint8Array, at: bigint): void {
    this.#word(address);
    this.#wasm.release(at);
  }

  port(owner: number, port: number, toOwner: number, toPort: number, service: string): void {
    this.#wasm.setPort(owner, port, toOwner, toPort, this.#text(service));
  }

  probe(owner: number, port: number): void {
    this.#wasm.setProbe(owner, port);
  }

  dropPorts(owner: number): void {
    this.#wasm.dropPorts(owner);
  }

  range(address: Uint8Array, bits: number, owner: number, waits: boolean): void {
    this.#word(address);
    this.#wasm.range(bits, owner, Number(waits));
  }

  dropRange(address: Uint8Array, bits: number): void {
    this.#word(address);
    this.#wasm.dropRange(bits);
  }

  cgroup(id: bigint, owner: number | "none" | "later"): void {
    const told = { none: 1, later: 2 };
    if (typeof owner === "string") this.#wasm.cgroup(id, told[owner], 0);
    else this.#wasm.cgroup(id, 3, owner);
  }

  fresh(at: bigint): void {
    this.#wasm.fresh(at);
  }

  /** Which network namespace is the machine's own: an address seen there that nobody else has is that owner's. */
  host(netns: number, owner: number): void {
    this.hold(owner);
    this.#wasm.host(netns, owner);
  }

  /** Where the next span of the ring goes. */
  batch(bytes: number): Uint8Array {
    return this.#view(this.#wasm.batch(bytes), bytes);
  }

  /** Takes the span that was put there: `length` bytes, no busy record among them. */
  ingest(length: number): void {
    this.#wasm.ingest(length);
  }

  /** Posts what is due; to be called after each drain with the time and the number of the sweep that it drained. */
  settle(now: bigint, sweep: number): void {
    this.#wasm.settle(now, sweep);
  }

  /**
   * The exposition; OpenMetrics without the `# EOF` that ends it.
   * @param now the scrape's start
   * @param watermark rows born before it show their values from now on (src/serve/scrapers.ts)
   * @param epoch ns of 1970 at boot time 0; only protobuf says when a row was born
   * @param tail what is to follow it
   * @returns it in memory of its own
   */
  render(
    now: bigint,
    watermark: bigint,
    form: Form = "text",
    epoch = 0n,
    tail: Uint8Array = new Uint8Array(),
  ): Uint8Array<ArrayBuffer> {
    this.#wasm.render(forms.indexOf(form), now, watermark, epoch);
    // Room for a little more than last time.
    let all = new Uint8Array((this.#lengths[form] * 9) >> 3);
    let length = 0;
    for (;;) {
      this.#wasm.renderMore();
      const piece = this.#view(this.#wasm.written(), this.#wasm.writtenBytes());
      const added = piece.length > 0 ? piece : tail;
      if (length + added.length > all.length) {
        const larger = new Uint8Array(2 * (length + added.length));
        larger.set(all.subarray(0, length));
        all = larger;
      }
      all.set(added, length);
      length += added.length;
      if (piece.length === 0) break;
    }
    this.#lengths[form] = length;
    return all.subarray(0, length);
  }

  /** To be called instead of `render` now and then while nobody scrapes: rows that nobody counts in any more go. */
  abandon(now: bigint): void {
    this.#wasm.abandon(now);
  }

  /** All links as they are, none held back. */
  links(): Link[] {
    const { links: count } = this.counters();
    const width = this.#wasm.reportRow();
    const at = this.#wasm.reportLinks() >>> 0;
    const rows = new Float64Array(this.#wasm.memory.buffer, at, count * width);
    return Array.from({ length: count }, (_, i) => {
      const row = rows.subarray(i * width, (i + 1) * width);
      const [source, destination, service, port, byServer, scope] = row as unknown as Ends;
      const totals = row.subarray(6);
      const failed = totals.subarray(measures.length);
      return {
        source: this.#ownerOf(source),
        destination: this.#ownerOf(destination),
        service: this.#textOf(service),
        port,
        reporter: byServer ? "server" : "client",
        scope: scopes[scope]!,
        ...(Object.fromEntries(measures.map((name, m) => [name, totals[m]!])) as Record<Measure, number>),
        failures: Object.fromEntries(reasons.map((reason, r) => [reason, failed[r]!])) as Link["failures"],
        buckets: Array.from(failed.subarray(reasons.length, reasons.length + BUCKETS)),
      };
    });
  }

  counters(): CoreCounters {
    const at = this.#wasm.reportCounters() >>> 0;
    const values = new BigUint64Array(this.#wasm.memory.buffer, at, counterNames.length);
    return Object.fromEntries(counterNames.map((name, i) => [name, Number(values[i])])) as CoreCounters;
  }

  /** Linear memory, bytes. It never shrinks. */
  get memoryBytes(): number {
    return this.#wasm.memory.buffer.byteLength;
  }

  #view(at: number, bytes: number): Uint8Array {
    // Pointers beyond 2 GiB come out negative.
    return this.#bytes().subarray(at >>> 0, (at >>> 0) + bytes);
  }

  #word(bytes: Uint8Array): void {
    const at = this.#wasm.word(bytes.length);
    this.#bytes().set(bytes, at >>> 0);
  }

  /** All of linear memory; as it grows its views become empty. */
  #bytes(): Uint8Array {
    if (this.#memory.length === 0) this.#memory = new Uint8Array(this.#wasm.memory.buffer);
    return this.#memory;
  }

  #text(value: string): number {
    const text = escaped(value);
    const most = 3 * text.length; // UTF-8 of UTF-16
    const { written } = this.#encoder.encodeInto(text, this.#view(this.#wasm.word(most), most));
    return this.#wasm.text(written);
  }

  #textOf(number: number): string {
    const at = this.#wasm.textOf(number);
    const [length = 0] = new Uint32Array(this.#wasm.memory.buffer, at >>> 0, 1);
    return unescaped(this.#decoder.decode(this.#view(at + 4, length)));
  }

  #ownerOf(number: number): Owner {
    // As wasm/owners.ts has it.
    const fields = new Uint32Array(this.#wasm.memory.buffer, this.#wasm.ownerOf(number) >>> 0, 6);
    const [namespace, name, workload, kind] = Array.from(fields.subarray(0, 4), (text) => this.#textOf(text));
    const [type, flags] = fields.subarray(4) as unknown as [number, number];
    const [mine, ignored] = [(flags & 1) !== 0, flags >> 16 !== 0];
    const owner = {
      type: ownerTypes[type]!,
      namespace: namespace!,
      name: name!,
      workload: workload!,
      kind: kind!,
      mine,
    };
    return ignored ? { ...owner, ignored } : owner;
  }
}
