/**
 * What the core costs: ns for a record of `ingest`, against the same sums in a JavaScript Map, and ms for a scrape of
 * 100,000 series. Run by hack/bench core; with --json the figures go to stdout as JSON, progress goes to stderr.
 */
import { record } from "../../src/bpf/abi.ts";
import type { Core } from "../../src/core/core.ts";
import { address, feed, load, pod, stride, write } from "../../src/core/fixture.ts";

/** Records that the kernel side lets into a ring of 4 MiB before it waits for a drain. */
const batch = 14_500;
/** The fastest counts: the others measure what else the machine does. */
const rounds = 25;
const header = 8;

interface Ingest {
  pods: number;
  links: number;
  connections: number;
  /** ns for a record: a batch in place, the same with its copy into the core's memory, and the baseline. */
  ingest: number;
  copyAndIngest: number;
  javascriptMap: number;
}

interface Render {
  series: number;
  bytes: number;
  ms: number;
}

const ip = (i: number): string => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
const say = (text: string): void => console.error(`${(performance.now() / 1000).toFixed(0).padStart(4)}s  ${text}`);

/** A permutation, for a sweep meets connections in no order that we know. */
function shuffled(count: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  let state = 12345;
  for (let i = count - 1; i > 0; i--) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const j = state % (i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** One sweep's records, each connection once, each the server's end. */
function sweepOf(pods: number, links: number, connections: number): Uint8Array {
  const span = new Uint8Array(connections * stride);
  const order = shuffled(connections);
  for (let at = 0; at < connections; at++) {
    const i = order[at]!;
    const link = i % links;
    const local = `${ip(link % pods)}:8080`;
    const remote = `${ip((link * 7 + 1 + Math.floor(link / pods)) % pods)}:40000`;
    write(span, at * stride, {
      id: (BigInt(i >> 2) << 8n) | BigInt(i & 3),
      role: "server",
      local,
      remote,
      netns: 1 + (link % pods),
    });
  }
  return span;
}

/** Moves the totals of every record: both byte counts, two segments, one exchange, its duration and its bucket. */
function move(span: Uint8Array): void {
  const words = new Uint32Array(span.buffer);
  const step = stride / 4;
  const at = (offset: number) => (header + offset) / 4;
  for (let i = 0, n = 0; i < words.length; i += step, n++) {
    words[i + at(record.sent)]! += 700;
    words[i + at(record.received)]! += 300;
    words[i + at(record.segments)]! += 2;
    words[i + at(record.srttUs)] = 150;
    words[i + at(record.exchanges)]! += 1;
    words[i + at(record.durationNs)]! += 250_000;
    words[i + at(record.buckets) + (n % 18)]! += 1;
  }
}

/** The baseline: the same sums, by connection and link, in Maps keyed by bigint. */
class Baseline {
  readonly #connections = new Map<
    bigint,
    { sent: bigint; received: bigint; exchanges: bigint; duration: bigint; buckets: number[]; link: bigint }
  >();
  readonly #links = new Map<
    bigint,
    { sent: bigint; received: bigint; exchanges: bigint; duration: bigint; buckets: number[] }
  >();

  ingest(span: Uint8Array): void {
    const view = new DataView(span.buffer, span.byteOffset, span.byteLength);
    for (let at = header; at < span.byteLength; at += stride) {
      const u64 = (offset: number) => view.getBigUint64(at + offset, true);
      const id = u64(record.id);
      let row = this.#connections.get(id);
      if (!row) {
        const key = (u64(record.local + 8) << 64n) | u64(record.remote + 8);
        row = { sent: 0n, received: 0n, exchanges: 0n, duration: 0n, buckets: Array(18).fill(0), link: key };
        this.#connections.set(id, row);
        if (!this.#links.has(key))
          this.#links.set(key, { sent: 0n, received: 0n, exchanges: 0n, duration: 0n, buckets: Array(18).fill(0) });
      }
      const link = this.#links.get(row.link)!;
      const sent = u64(record.sent);
      const received = u64(record.received);
      const exchanges = u64(record.exchanges);
      const duration = u64(record.durationNs);
      link.sent += sent - row.sent;
      link.received += received - row.received;
      link.duration += duration - row.duration;
      if (exchanges !== row.exchanges) {
        link.exchanges += exchanges - row.exchanges;
        for (let i = 0; i < 18; i++) {
          const count = view.getUint32(at + record.buckets + 4 * i, true);
          link.buckets[i]! += count - row.buckets[i]!;
          row.buckets[i] = count;
        }
      }
      row.sent = sent;
      row.received = received;
      row.exchanges = exchanges;
      row.duration = duration;
    }
  }
}

/** Hands a sweep over in batches; the ns that the core took, with the copies and without. */
function drain(core: Core, span: Uint8Array): { ingest: number; all: number } {
  let ingest = 0;
  let all = 0;
  for (let from = 0; from < span.length; from += batch * stride) {
    const part = span.subarray(from, from + batch * stride);
    const begin = Bun.nanoseconds();
    core.batch(part.length).set(part);
    const copied = Bun.nanoseconds();
    core.ingest(part.length);
    const end = Bun.nanoseconds();
    ingest += end - copied;
    all += end - begin;
  }
  return { ingest, all };
}

async function benchIngest(pods: number, links: number, connections: number): Promise<Ingest> {
  say(`ingest: ${pods} pods, ${links} links, ${connections} connections`);
  const core = await load();
  core.fresh(2n ** 64n - 1n);
  for (let i = 0; i < pods; i++) core.assign(address(ip(i)), core.owner(pod(`w${i % 1000}-${i}`)), 0n);
  const span = sweepOf(pods, links, connections);
  drain(core, span);
  core.settle(10_000_000_000n, 1);

  const times: { ingest: number; all: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    move(span);
    times.push(drain(core, span));
    core.settle(10_000_000_000n, 2 + round);
  }
  say("  the same in a JavaScript Map");
  const baseline = new Baseline();
  baseline.ingest(span);
  const baselineTimes: number[] = [];
  for (let round = 0; round < 3; round++) {
    move(span);
    const begin = Bun.nanoseconds();
    baseline.ingest(span);
    baselineTimes.push(Bun.nanoseconds() - begin);
  }
  return {
    pods,
    links: core.counters().links,
    connections,
    ingest: Math.min(...times.map(({ ingest }) => ingest)) / connections,
    copyAndIngest: Math.min(...times.map(({ all }) => all)) / connections,
    javascriptMap: Math.min(...baselineTimes) / connections,
  };
}

async function benchRender(series: number): Promise<Render> {
  say(`render: ${series} series`);
  const core = await load();
  core.fresh(2n ** 64n - 1n);
  const server = address("10.255.0.1");
  core.assign(server, core.owner(pod("api-1")), 0n);
  const lines = () =>
    new TextDecoder().decode(core.render(3_000_000_000n, 2n ** 64n - 1n)).match(/^[^#]/gm)?.length ?? 0;
  // A client pod that serves too: 17 lines of its own, 19 and 22 of its links.
  for (let i = 0; lines() < series; ) {
    const until = i + Math.ceil((series - lines()) / 60) + 1;
    for (; i < until; i++) {
      core.assign(address(ip(i)), core.owner(pod(`w${i}-1`)), 0n);
      const ends = { local: `${ip(i)}:8080`, remote: "10.255.0.1:40000" };
      feed(core, {
        id: 2 * i + 2,
        role: "server",
        ...ends,
        sent: i * 1e6,
        received: i,
        exchanges: i,
        durationNs: i * 123457,
        buckets: { 3: i },
      });
      feed(core, {
        id: 2 * i + 3,
        role: "client",
        local: `${ip(i)}:40000`,
        remote: "10.255.0.1:80",
        sent: i,
        received: i,
      });
    }
    core.settle(2_000_000_000n, 1);
  }
  const found = lines();
  const times: number[] = [];
  let bytes = 0;
  for (let round = 0; round < rounds; round++) {
    const begin = Bun.nanoseconds();
    bytes = core.render(4_000_000_000n, 0n).length;
    times.push((Bun.nanoseconds() - begin) / 1e6);
  }
  return { series: found, bytes, ms: Math.min(...times) };
}

const ingest = [
  await benchIngest(100, 1_000, 10_000),
  await benchIngest(10_000, 5_000, 50_000),
  await benchIngest(150_000, 50_000, 500_000),
];
const render = await benchRender(100_000);
if (process.argv.includes("--json")) {
  console.log(JSON.stringify({ ingest, render }, null, 2));
} else {
  const million = (ns: number): string => (1000 / ns).toFixed(1).padStart(6);
  console.log("   pods   links  connections   ns/record  M records/s   with copy   JavaScript Map");
  for (const row of ingest) {
    const { pods, links, connections, ingest, copyAndIngest, javascriptMap } = row;
    const counts = `${String(pods).padStart(7)} ${String(links).padStart(7)} ${String(connections).padStart(12)}`;
    const figures = `${ingest.toFixed(1).padStart(11)} ${million(ingest).padStart(12)} ${copyAndIngest.toFixed(1).padStart(11)}`;
    console.log(`${counts} ${figures} ${javascriptMap.toFixed(1).padStart(16)}`);
  }
  console.log(`render: ${render.series} series, ${render.bytes} bytes in ${render.ms.toFixed(1)} ms`);
}
