/**
 * Watch streams and files of identities, mutated in structure and in bytes, through the parser, the resolver and the
 * core. RINGSIDE_TEST_SEED=N repeats a run; with RINGSIDE_TEST_ALL there are a million of them.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { stringify } from "yaml";
import type { Core } from "../core/core.ts";
import { feed, load, second } from "../core/fixture.ts";
import { RingsideError } from "../errors.ts";
import type { ApiClient } from "./client.ts";
import type { Row } from "./parse.ts";
import { readLists } from "./read.ts";
import { Reflector, type Resource } from "./reflector.ts";
import { Resolver } from "./resolve.ts";
import { Stream } from "./stream.ts";

const RUNS = process.env.RINGSIDE_TEST_ALL ? 900_000 : 5_400;
const seed = Number(process.env.RINGSIDE_TEST_SEED ?? Date.now() % 2 ** 31);
/** Names are told to one core for so many runs; then another begins. */
const CORE_RUNS = 1000;
/** CPU of one run; one that hangs is the test's own limit's. */
const LIMIT_MS = 5000;
/** Growth since the start, which is the other tests', too; the collector has its delay. */
const RSS_LIMIT = 300e6;

const pod = (name: string, address: string) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: {
    name,
    namespace: "shop",
    uid: `uid-${name}`,
    resourceVersion: "7",
    labels: { app: "web", "pod-template-hash": "5d4f8" },
    annotations: { "ringside.io/ignore": "false", "kubernetes.io/config.mirror": "" },
    deletionTimestamp: "2026-11-24T12:00:00Z",
    ownerReferences: [{ kind: "ReplicaSet", name: "web-5d4f8", controller: true }],
  },
  spec: {
    nodeName: "node-a",
    hostNetwork: false,
    initContainers: [{ restartPolicy: "Always", ports: [{ name: "proxy", containerPort: 15001 }] }],
    containers: [
      {
        ports: [{ name: "http", containerPort: 8080, hostPort: 80, protocol: "TCP" }],
        livenessProbe: { httpGet: { port: "http" } },
        readinessProbe: { tcpSocket: { port: 8080 } },
      },
    ],
  },
  status: {
    phase: "Running",
    podIP: address,
    podIPs: [{ ip: address }, { ip: "fd00::1" }],
    startTime: "2026-11-24T10:00:00Z",
    conditions: [{ type: "PodReadyToStartContainers", status: "True", lastTransitionTime: "2026-11-24T10:00:01Z" }],
    containerStatuses: [{ state: { terminated: { finishedAt: "2026-11-24T11:00:00Z" } } }],
  },
});
const service = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "web", namespace: "shop", resourceVersion: "8" },
  spec: {
    clusterIP: "10.96.0.1",
    clusterIPs: ["10.96.0.1"],
    externalIPs: ["192.0.2.1"],
    selector: { app: "web" },
    ports: [{ name: "http", port: 80, targetPort: "http", nodePort: 30080, protocol: "TCP" }],
  },
  status: { loadBalancer: { ingress: [{ ip: "192.0.2.2" }] } },
};
const node = {
  apiVersion: "v1",
  kind: "Node",
  metadata: { name: "node-a", resourceVersion: "9" },
  spec: { podCIDR: "10.0.0.0/24", podCIDRs: ["10.0.0.0/24"] },
  status: { addresses: [{ type: "InternalIP", address: "172.16.0.1" }] },
};
const slice = {
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: {
    name: "web-1",
    namespace: "shop",
    resourceVersion: "10",
    labels: { "kubernetes.io/service-name": "web" },
  },
  addressType: "IPv4",
  endpoints: [{ addresses: ["10.0.0.1"] }, { addresses: ["10.0.0.2"] }],
  ports: [{ name: "http", port: 8080, protocol: "TCP" }],
};
const bookmark = (kind: string) => ({
  kind,
  metadata: { resourceVersion: "11", annotations: { "k8s.io/initial-events-end": "true" } },
});

const resources: { resource: Resource; events: unknown[] }[] = [
  { type: "pod", kind: "Pod", objects: [pod("web-1", "10.0.0.1"), pod("web-2", "10.0.0.2")] },
  { type: "service", kind: "Service", objects: [service] },
  { type: "node", kind: "Node", objects: [node] },
  { type: "slice", kind: "EndpointSlice", objects: [slice] },
].map(({ type, kind, objects }) => ({
  resource: { name: type, type: type as Row["type"], apiVersion: "", kind, path: `/${type}` },
  events: [
    ...objects.map((object) => ({ type: "ADDED", object })),
    { type: "BOOKMARK", object: bookmark(kind) },
    ...objects.map((object) => ({ type: "MODIFIED", object })),
    { type: "DELETED", object: objects[0] },
    { type: "ERROR", object: { kind: "Status", code: 410, details: { retryAfterSeconds: 1 } } },
  ],
}));

const deep = (depth: number): unknown => (depth === 0 ? 1 : depth % 2 ? [deep(depth - 1)] : { items: deep(depth - 1) });
const longText = "x".repeat(100_000);

/** What a hostile or broken server might put where something else should be. */
const hostile = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(null, true, 0, -1, 0.5, 65_536, 1e308, -0, "", "0", [], {}, "True") },
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      "10.0.0.1",
      "10.0.0.2",
      "999.1.1.1",
      "::ffff:10.0.0.1",
      "fd00::1",
      "fe80::1%eth0",
      "10.0.0.0/33",
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom("uid-web-1", "uid-web-2", "web", "shop", "node-a", "Pod", "Failed", "Succeeded"),
  },
  { weight: 2, arbitrary: fc.constantFrom("2026-13-45T99:00:00Z", "9999-12-31T23:59:59Z", "1970-01-01T00:00:00Z") },
  { weight: 2, arbitrary: fc.constantFrom("__proto__", "constructor", 'a"b\\c\n}', "\u0000", "\u{10ffff}", "\ud800") },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 40 }) },
  { weight: 1, arbitrary: fc.double() },
  { weight: 1, arbitrary: fc.constantFrom(40, 190, 210, 3000).map(deep) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(1, 40).map((times) => longText.repeat(times / 40 || 1).slice(0, times * 2500)),
  },
);
const structural = fc.record({
  at: fc.nat(),
  what: fc.constantFrom("set", "set", "set", "delete", "rename", "repeat", "proto"),
  value: hostile,
});
const inBytes = fc.record({
  at: fc.nat(),
  what: fc.constantFrom("flip", "insert", "cut", "copy", "truncate"),
  length: fc.nat(40),
  byte: fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('{}[]",:\\\n-0'))),
});
interface ByteChange {
  at: number;
  what: string;
  length: number;
  byte: number;
}
const none: fc.Arbitrary<ByteChange[]> = fc.constant([]);
const some: fc.Arbitrary<ByteChange[]> = fc.array(inBytes, { maxLength: 3 });
const mutations = {
  structure: fc.array(structural, { maxLength: 4 }),
  bytes: fc.oneof({ weight: 3, arbitrary: none }, { weight: 2, arbitrary: some }),
  /** In how many parts it arrives. */
  parts: fc.integer({ min: 1, max: 5 }),
};

type Fields = Record<string, unknown>;

/** All places of a structure, its own too deep parts left out. */
function placesOf(value: unknown, found: [Fields, string][] = [], depth = 0): [Fields, string][] {
  if (typeof value !== "object" || value === null || depth > 20) return found;
  for (const key of Object.keys(value)) {
    found.push([value as Fields, key]);
    placesOf((value as Fields)[key], found, depth + 1);
  }
  return found;
}

function restructured<T>(original: T, changes: { at: number; what: string; value: unknown }[]): T {
  const root = { root: structuredClone(original) };
  for (const { at, what, value: shared } of changes) {
    const value = structuredClone(shared);
    const places = placesOf(root.root);
    const [parent, key] = places[at % places.length] ?? [root as Fields, "root"];
    if (what === "set") parent[key] = value;
    else if (what === "delete") delete parent[key];
    else if (what === "rename") parent[`${key.slice(0, -1)}`] = parent[key];
    else if (what === "repeat" && Array.isArray(parent)) parent.push(parent[Number(key)]);
    else Object.defineProperty(parent, "__proto__", { value, enumerable: true, configurable: true, writable: true });
  }
  return root.root;
}

function changed(bytes: Uint8Array, changes: ByteChange[]): Uint8Array {
  let result = Buffer.from(bytes);
  for (const { at, what, length, byte } of changes) {
    const from = at % (result.length + 1);
    const part = result.subarray(from, from + length);
    if (what === "flip") result.set(from < result.length ? [byte] : [], from);
    else if (what === "truncate") result = result.subarray(0, from);
    else {
      const middle = what === "insert" ? [Buffer.from([byte])] : what === "copy" ? [part, part] : [];
      result = Buffer.concat([
        result.subarray(0, from),
        ...middle,
        result.subarray(what === "insert" ? from : from + length),
      ]);
    }
  }
  return result;
}

function* partsOf(bytes: Uint8Array, parts: number): Generator<Uint8Array> {
  const size = Math.max(1, Math.ceil(bytes.length / parts));
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function* asyncPartsOf(bytes: Uint8Array, parts: number): AsyncGenerator<Uint8Array> {
  yield* partsOf(bytes, parts);
}

const nothing = (): void => {};

/** A core, and who tells it names; what it shows must stay in order, whatever it is told. */
class Subject {
  private shown = new Map<string, number>();
  private now = 100n * second;
  private ids = 0;

  constructor(readonly core: Core) {}

  resolver(): Resolver {
    return new Resolver(this.core, (wall) => BigInt(wall) * 1_000_000n, "node-a");
  }

  /** Traffic between the addresses that all this is about, and what the exposition says of it. */
  check(): void {
    const { core } = this;
    for (const local of ["10.0.0.1", "10.0.0.2", "fd00::1", "172.16.0.1"]) {
      const ends = { local: `[${local}]:40000`, remote: "10.96.0.1:80" };
      const what = { kind: "final", role: "client", bornAt: this.now, sent: 3, received: 5, exchanges: 1 } as const;
      feed(core, { id: ++this.ids, netns: 1, ...what, ...ends });
    }
    this.now += 100n * second;
    core.settle(this.now, this.ids);
    // A series that goes, as when a Service leads elsewhere, may come again at 0.
    const shown = new Map<string, number>();
    for (const line of new TextDecoder().decode(core.render(this.now, 2n ** 64n - 1n)).split("\n")) {
      if (line === "" || line.startsWith("#")) continue;
      const [, series = "", value] =
        /^([a-z_]+(?:\{(?:[a-z_]+="(?:[^"\\]|\\[\\"n])*",?)*\})?) ([0-9.e+-]+)$/.exec(line) ?? [];
      if (value === undefined || !Number.isFinite(Number(value))) throw new Error(`no sample: ${line.slice(0, 500)}`);
      if (series.includes("_active")) continue;
      const before = this.shown.get(series) ?? 0;
      if (Number(value) < before) throw new Error(`${series} falls from ${before} to ${value}`);
      shown.set(series, Number(value));
    }
    this.shown = shown;
    for (const link of core.links()) {
      if (!Number.isFinite(link.sent + link.received + link.port)) throw new Error(`no link: ${JSON.stringify(link)}`);
    }
  }

  advance(): bigint {
    this.now += 1000n;
    return this.now;
  }
}

/** Numbers of a row are what they say, or it is none. */
function checkRow(row: Row): void {
  for (const [parent, key] of placesOf(row)) {
    const value = parent[key];
    if (typeof value === "number" && !Number.isFinite(value)) throw new Error(`${key} of ${row.key} is ${value}`);
  }
}

function checkErrors(errors: unknown[]): void {
  for (const error of errors) {
    if (!(error instanceof RingsideError) || error.remedy.includes("fault of Ringside")) throw error;
  }
}

async function watch(subject: Subject, resource: Resource, text: Uint8Array, parts: number): Promise<void> {
  const controller = new AbortController();
  const resolver = subject.resolver();
  const errors: unknown[] = [];
  class Once extends Reflector {
    override end(...how: Parameters<Reflector["end"]>): boolean {
      controller.abort();
      return super.end(...how);
    }
  }
  const reflector = new Once(
    resource,
    {
      upsert: (row) => {
        checkRow(row);
        resolver.take(row, subject.advance());
      },
      remove: (key) => resolver.drop(resource.type, key, subject.advance()),
      malformed: nothing,
    },
    () => 0.5,
    0,
  );
  const body = new ReadableStream({
    start(to) {
      for (const part of partsOf(text, parts)) to.enqueue(part);
      to.close();
    },
  });
  const client = { get: async () => new Response(body) } as unknown as ApiClient;
  const now = () => subject.advance();
  const stream = new Stream({
    client,
    resource,
    reflector,
    now,
    onError: (error) => errors.push(error),
    onWell: nothing,
    onChange: nothing,
  });
  await stream.run(controller.signal);
  resolver.tellPorts();
  checkErrors(errors);
  expect(stream.counters.faults).toBe(0);
}

async function file(subject: Subject, text: Uint8Array, parts: number): Promise<void> {
  const rows: Row[] = [];
  try {
    await readLists(asyncPartsOf(text, parts), "file", (row) => {
      checkRow(row);
      rows.push(row);
    });
  } catch (error) {
    checkErrors([error]);
    return;
  }
  subject.resolver().replace(rows, subject.advance());
}

/** Runs a property so many times; each with a limit of time, and with what the core shows in between. */
async function fuzz<T>(runs: number, input: fc.Arbitrary<T>, run: (subject: Subject, input: T) => Promise<void>) {
  let subject = new Subject(await load());
  let done = 0;
  const rss = process.memoryUsage.rss();
  const property = fc.asyncProperty(input, async (value) => {
    const before = process.cpuUsage();
    await run(subject, value);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000).toBeLessThan(LIMIT_MS);
    if (++done % 50 === 0) subject.check();
    if (done % CORE_RUNS === 0) {
      subject = new Subject(await load());
      Bun.gc(true);
      expect(process.memoryUsage.rss() - rss).toBeLessThan(RSS_LIMIT);
    }
  });
  await fc.assert(property, { seed, numRuns: runs });
  expect(done).toBe(runs);
}

const long = process.env.RINGSIDE_TEST_ALL ? 14_400_000 : 180_000;

test(
  `mutated watch streams do no harm (seed ${seed})`,
  async () => {
    const input = fc.record({ of: fc.constantFrom(...resources), ...mutations });
    await fuzz(RUNS, input, async (subject, { of, structure, bytes, parts }) => {
      const events = restructured(of.events, structure);
      const list = Array.isArray(events) ? events : [events];
      const text = Buffer.from(list.map((event) => `${JSON.stringify(event)}\n`).join(""));
      await watch(subject, of.resource, changed(text, bytes), parts);
    });
  },
  long,
);

test(
  `mutated files of identities do no harm (seed ${seed})`,
  async () => {
    const list = {
      apiVersion: "v1",
      kind: "List",
      items: [pod("web-1", "10.0.0.1"), pod("web-2", "10.0.0.2"), service, node, slice],
    };
    const input = fc.record({ yaml: fc.nat(9).map((n) => n === 0), ...mutations });
    await fuzz(RUNS / 9, input, async (subject, { yaml, structure, bytes, parts }) => {
      const value = restructured(list, structure);
      const json = JSON.stringify(value) ?? "";
      // Block style takes the square of the depth, which only costs the one who writes it.
      const isDeep = json.split('{"items":[').length > 100;
      const text = Buffer.from(yaml && !isDeep ? stringify(value) : json);
      await file(subject, changed(text, bytes), parts);
    });
  },
  long,
);
