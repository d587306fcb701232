import { edenGC, fullGC } from "bun:jsc";
import { RingsideError } from "../errors.ts";
import { type Access, ApiClient } from "./client.ts";
import { isEphemeral, type Row } from "./parse.ts";
import { type Listener, Reflector, type ReflectorCounters, type Resource } from "./reflector.ts";
import type { Resolver } from "./resolve.ts";
import { Stream, type StreamCounters } from "./stream.ts";

/** The first requests of all agents of a cluster are spread over so many milliseconds. */
const JITTER = 2000;
/** The other streams wait so long for the own node's pods, at most. */
const HEAD_START = 5000;
/** The core is told at most so often how fresh the names are, and which ports lead where. */
const PACE_MS = 500;
/** So many Services and backends are looked at in one go; the rest waits, so that they take this share of the time. */
const AT_ONCE = 1000;
const SHARE = 0.2;
/** So many malformed objects are logged; further ones are counted only. */
const MALFORMED_LOGGED = 5;

export interface WatchOptions {
  access: Access;
  resolver: Resolver;
  /** The own node; undefined: all are. */
  node: string | undefined;
  /** Boot time in ns. */
  now: () => bigint;
  onError: (error: RingsideError) => void;
  /** Told when a stream is well again. */
  onWell: (stream: string) => void;
  /** For tests: milliseconds, else as the constants and the reflector say. */
  jitter?: number;
  patience?: number;
}

export interface WatchCounters {
  objects: Record<Row["type"], number>;
  streams: Record<string, ReflectorCounters & StreamCounters & { age: number }>;
}

/** Without a node of our own every pod may be on it, and short ones count: those that have finished, too. */
export function resourcesFor(node: string | undefined): { own: Resource; others: Resource[] } {
  const pods: Resource = { name: "pods", type: "pod", apiVersion: "v1", kind: "Pod", path: "/api/v1/pods" };
  const others: Resource[] = [
    { name: "services", type: "service", apiVersion: "v1", kind: "Service", path: "/api/v1/services" },
    {
      name: "endpointslices",
      type: "slice",
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      path: "/apis/discovery.k8s.io/v1/endpointslices",
    },
    { name: "nodes", type: "node", apiVersion: "v1", kind: "Node", path: "/api/v1/nodes" },
  ];
  if (node === undefined) return { own: pods, others };
  const unfinished = "status.phase!=Succeeded,status.phase!=Failed";
  return {
    own: { ...pods, name: "own_pods", fieldSelector: `spec.nodeName=${node}` },
    others: [{ ...pods, fieldSelector: `spec.nodeName!=${node},${unfinished}` }, ...others],
  };
}

/**
 * Which stream speaks for a pod. A pod comes to a node once, and stays: so the own node's stream speaks for each pod
 * that it has, and the other one for the rest. The other sees a pod before it has a node, and "deleted" as it gets ours.
 */
export function otherPods(own: { has(key: string): boolean }, rows: Omit<Listener, "malformed">): typeof rows {
  return {
    upsert: (row) => {
      if (!own.has(row.key)) rows.upsert(row);
    },
    remove: (key) => {
      if (!own.has(key)) rows.remove(key);
    },
  };
}

const NONE: never[] = [];

/** Slices say what a Service leads to: what only selectors need of a pod would be half of its row. */
function slim(row: Row): Row {
  if (row.type !== "pod") return row;
  const ports = row.ports.filter(({ port }) => isEphemeral(port));
  return Object.assign(row, { labels: NONE, ports: ports.length > 0 ? ports : NONE });
}

/** Names from the API server, by list and watch, for as long as the agent runs. */
export class Watch {
  /** All streams have told what there is; or one of them failed, so that it may take any time. */
  readonly settled: Promise<void>;
  private readonly settle: () => void;
  private readonly stop = new AbortController();
  private readonly streams: { resource: Resource; reflector: Reflector; stream: Stream }[] = [];
  private readonly startedAt: bigint;
  private logged = 0;
  private timer: Timer | undefined;
  private told = 0n;
  private wait = PACE_MS;

  private constructor(private readonly options: WatchOptions) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.settled = promise;
    this.settle = resolve;
    this.startedAt = options.now();
  }

  /** Begins, and returns at once: names come as they come. */
  static start(options: WatchOptions): Watch {
    const watch = new Watch(options);
    void watch.run();
    return watch;
  }

  counters(): WatchCounters {
    const { now, resolver } = this.options;
    const streams = this.streams.map(({ resource, reflector, stream }) => {
      const age = Number(now() - (reflector.counters.proof ?? this.startedAt)) / 1e9;
      return [resource.name, { ...reflector.counters, ...stream.counters, age }] as const;
    });
    return { objects: resolver.counts(), streams: Object.fromEntries(streams) };
  }

  close(): void {
    this.stop.abort();
    clearTimeout(this.timer);
  }

  private async run(): Promise<void> {
    const { node, resolver, now, jitter = JITTER } = this.options;
    const { own, others } = resourcesFor(node);
    const rowsOf = ({ type }: Resource): Omit<Listener, "malformed"> => ({
      upsert: (row) => resolver.take(slim(row), now()),
      remove: (key) => resolver.drop(type, key, now()),
    });
    const first = Promise.withResolvers<void>();
    const ownPods = this.add(own, rowsOf(own), 0, first.resolve);
    const all = others.map((resource) => {
      const rows = resource.type === "pod" ? otherPods(ownPods.reflector, rowsOf(resource)) : rowsOf(resource);
      return this.add(resource, rows, jitter, () => {});
    });
    void ownPods.stream.run(this.stop.signal);
    setTimeout(first.resolve, HEAD_START).unref();
    await first.promise;
    for (const { stream } of all) void stream.run(this.stop.signal);
  }

  private add(resource: Resource, rows: Omit<Listener, "malformed">, jitter: number, onChange: () => void) {
    const { access, now, onError, onWell, patience } = this.options;
    const reflector = new Reflector(
      resource,
      { ...rows, malformed: (name, cause) => this.malformed(resource, name, cause) },
      Math.random,
      jitter,
    );
    const stream = new Stream({
      client: new ApiClient(access),
      resource,
      reflector,
      now,
      onError: (error) => {
        onChange();
        this.settle();
        onError(error);
      },
      onWell: () => {
        // Names are complete only with all of them.
        for (const { stream } of this.streams) stream.wake();
        onWell(resource.name);
      },
      onChange: () => {
        if (reflector.synced) onChange();
        this.plan();
      },
      ...(patience === undefined ? {} : { patience }),
    });
    const added = { resource, reflector, stream };
    this.streams.push(added);
    return added;
  }

  private malformed({ name: stream }: Resource, name: string, cause: Error): void {
    if (this.logged++ >= MALFORMED_LOGGED) return;
    const remedy = `What was known of it stays; it is counted in ringside_identities_malformed_total${
      this.logged === MALFORMED_LOGGED ? ", and further ones are not logged" : ""
    }.`;
    this.options.onError(new RingsideError(`understand one of the ${stream}`, name, remedy, { cause }));
  }

  private plan(): void {
    if (this.stop.signal.aborted) return;
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.tell();
    }, this.wait);
  }

  /** The names are as fresh as the stream that was proven last of all. */
  private tell(): void {
    const start = performance.now();
    let all = true;
    try {
      all = this.options.resolver.tellPorts(AT_ONCE);
    } catch (cause) {
      const remedy = "This is a fault of Ringside: please report it. Names go on.";
      this.options.onError(new RingsideError("tell the core", "ports of Services", remedy, { cause }));
    }
    if (!all) edenGC(); // as while a list comes
    const took = performance.now() - start;
    this.wait = all ? PACE_MS : took / SHARE;
    if (!all) {
      this.plan();
      return;
    }
    if (!this.streams.every(({ reflector }) => reflector.synced)) return;
    if (this.told === 0n) fullGC(); // the lists leave much of the heap empty
    this.settle();
    const [fresh = 0n] = this.streams
      .map(({ reflector }) => reflector.counters.proof ?? 0n)
      .sort((a, b) => Number(a - b));
    if (fresh <= this.told) return;
    this.told = fresh;
    this.options.resolver.fresh(fresh);
  }
}
