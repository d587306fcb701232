/**
 * Random histories: connections that open, move, close and fail, pods that come, go and come again, links beyond the
 * cap, several scrapers. What the core renders is compared with the model, line by line, and what a scraper that never
 * sleeps can make of it with the truth.
 */
import { expect, test } from "bun:test";
import { Scrapers } from "../serve/scrapers.ts";
import { aggregates } from "./core.ts";
import { families, labels } from "./families.ts";
import { address, feed, generator, load, type Snapshot, samples, second } from "./fixture.ts";
import { Model } from "./model.ts";
import type { Owner } from "./names.ts";

const histories = process.env.RINGSIDE_TEST_ALL ? 100_000 : 300;
const firstSeed = Number(process.env.RINGSIDE_TEST_SEED ?? 1);
const hold = 4n * second;

const pods: Owner[] = ["a", "b"].flatMap((namespace) =>
  ["db-0", "db-1", "web-x"].map((name) => {
    const workload = name.slice(0, -2);
    return {
      type: "pod",
      namespace,
      name,
      workload,
      kind: name === "web-x" ? "Deployment" : "StatefulSet",
      mine: true,
    };
  }),
);
const nodes = ["n1", "n2", "n3"].map(
  (name): Owner => ({ type: "node", namespace: "", name, workload: name, kind: "Node", mine: true }),
);
/** A Service that leads out of the cluster. */
const outward: Owner = { ...pods[0]!, type: "external", name: "pay", workload: "pay", kind: "Service", mine: false };
const ends: Owner[] = [...pods, nodes[0]!, outward];
const addresses = Array.from({ length: 6 }, (_, i) => `10.0.0.${i}`);
const outside = ["10.9.0.1", "1.1.1.1"];
const ports = [80, 8080, 40000, 50000];
const kinds = ["refused", "timedOut", "reset", "unreachable", "other", "none"] as const;

/** Most often none; else some families, or all of one set of rows. */
function disabledBy(random: (below: number) => number): string[] {
  if (random(4) > 0) return [];
  const set = Object.keys(labels)[random(8)];
  return families.filter(({ rows }) => rows === set || random(5) === 0).map(({ name }) => name);
}

/** What increase() gives to a scraper: by family, over all its series. */
class Seen {
  #last = new Map<string, number>();
  readonly increase = new Map<string, number>();
  readonly errors: string[] = [];

  scrape(lines: string[]): void {
    const now = new Map<string, number>();
    for (const line of lines) {
      const space = line.lastIndexOf(" ");
      const series = line.slice(0, space);
      const value = line.slice(space + 1);
      if (now.has(series)) this.errors.push(`twice: ${series}`);
      if (series.includes("_active")) continue;
      const count = Math.round(Number(value) * (series.includes("_sum{") ? 1e9 : 1));
      const before = this.#last.get(series);
      if (before === undefined && count !== 0) this.errors.push(`born at ${count}: ${series}`);
      // A row that went and came again between two scrapes begins at 0, which increase() takes for what it is.
      const again = before !== undefined && count < before && count === 0;
      if (before !== undefined && count < before && !again)
        this.errors.push(`${series} fell from ${before} to ${count}`);
      const family = series.slice(0, series.indexOf("{")) + (series.includes('counted="again"') ? " again" : "");
      this.increase.set(family, (this.increase.get(family) ?? 0) + count - (again ? 0 : (before ?? 0)));
      now.set(series, count);
    }
    this.#last = now;
  }
}

async function history(seed: number): Promise<void> {
  const random = generator(seed);
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
  const options = {
    aggregate: pick(aggregates),
    maxLinks: pick([1, 2, 4, 2000]),
    histograms: random(3) === 0,
    disabled: disabledBy(random),
    scope: random(2) === 0,
    settle: 2n * second,
  };
  const core = await load(options);
  const model = new Model(options);
  core.fresh(2n ** 64n - 1n);
  const numbers = new Map([...ends, ...nodes].map((owner) => [owner, core.owner(owner)]));
  for (const owner of pods.filter(({ name }) => name === "db-0")) {
    for (const [port, service] of [
      [80, "db"],
      [50000, ""],
    ] as const) {
      core.port(numbers.get(owner)!, port, numbers.get(owner)!, port, service);
      model.port(owner, port, service);
    }
  }
  const scrapers = new Scrapers(0n, hold);
  const steady = new Seen();
  const truth = { sent: 0, received: 0, exchanges: 0, connections: 0, failures: 0, podSent: 0 };
  const live: Snapshot[] = [];
  /** Connections whose own end is a pod. */
  const ofPods = new Set<number>();
  const assigned = new Map<string, bigint[]>();
  let id = 0;
  let now = second;
  const tick = () => (now += BigInt(1 + random(1000)));
  const mistake = (what: string) => `seed ${seed}: ${what}`;

  const tell = (...records: Snapshot[]) => {
    feed(core, ...records);
    for (const record of records) model.observe({ ...record });
  };
  const scrape = (name: string, seen?: Seen) => {
    tick();
    const lines = samples(core, now, scrapers.watermark(now));
    const expected = model.scrape(now, scrapers.watermark(now));
    scrapers.completed(name, now);
    if (lines.join("\n") !== expected.join("\n")) {
      const only = (all: string[], others: string[]) => all.filter((line) => !others.includes(line)).slice(0, 3);
      const differs = {
        core: only(lines, expected),
        model: only(expected, lines),
        lines: [lines.length, expected.length],
      };
      throw new Error(mistake(`a scrape by ${name} at ${now}: ${JSON.stringify(differs, null, 2)}`));
    }
    seen?.scrape(lines);
  };
  const open = (): Snapshot => {
    const client = random(2) === 0;
    const mine = client ? 30000 + random(100) : pick(ports);
    const theirs = client ? pick(ports) : 30000 + random(100);
    const failed = client && random(5) === 0;
    const at = random(addresses.length);
    const to = (at + 1 + random(addresses.length - 1)) % addresses.length;
    return {
      id: ++id,
      role: client ? "client" : "server",
      local: `${addresses[at]}:${mine}`,
      remote: `${random(5) === 0 ? pick(outside) : addresses[to]}:${theirs}`,
      bornAt: now,
      connectUs: failed || !client ? 0 : 1 + random(100_000),
      kind: failed ? "failed" : "snapshot",
      reason: failed ? pick(kinds) : "none",
      flags: !failed && random(6) === 0 ? ["seeded"] : [],
      ...{ sent: 0, received: 0, exchanges: 0, durationNs: 0, buckets: {} },
      ...{ segments: random(50), retransmitted: random(5), srttUs: random(3) * 40_000 },
    };
  };
  const move = (connection: Snapshot) => {
    connection.sent = Number(connection.sent) + random(1000);
    connection.received = Number(connection.received) + random(2) * 10;
    connection.segments! += random(9);
    connection.retransmitted! += random(2);
    connection.srttUs = random(1_000_000);
    if (random(3) === 0) {
      const bucket = random(18);
      connection.exchanges!++;
      connection.durationNs = Number(connection.durationNs) + random(2_000_000_000);
      connection.buckets = { ...connection.buckets, [bucket]: (connection.buckets?.[bucket] ?? 0) + 1 };
    }
    if (random(20) === 0 && !connection.flags!.includes("resetSent"))
      connection.flags = [...connection.flags!, "resetSent"];
  };
  const account = (connection: Snapshot) => {
    const server = connection.role === "server";
    const [up, down] = [Number(connection.sent), Number(connection.received)];
    truth.sent += server ? down : up;
    truth.received += server ? up : down;
    truth.exchanges += connection.exchanges!;
    if (connection.kind === "failed") truth.failures++;
    else truth.connections++;
    if (ofPods.has(Number(connection.id))) truth.podSent += up;
  };
  const end = (connection: Snapshot) => {
    live.splice(live.indexOf(connection), 1);
    connection.kind = "final";
    tell(connection, ...(random(4) === 0 ? [connection] : []));
    account(connection);
  };

  const steps = 30 + random(40);
  // At its end until the slowest scraper is given up.
  for (let step = 1; step <= steps + 9 || core.counters().seriesHeld > 0 || step % 3 !== 0; step++) {
    now = BigInt(step) * second;
    for (let n = random(4); n > 0 && step <= steps; n--) {
      tick();
      const what = random(10);
      if (what < 3) {
        const connection = open();
        const holder = model.addresses.get(connection.local!.split(":")[0]!)?.at(-1);
        if (holder?.until === undefined && holder?.owner.type === "pod") ofPods.add(id);
        tell(connection);
        if (connection.kind === "failed") account(connection);
        else live.push(connection);
      } else if (what < 5 && live.length > 0) {
        const connection = pick(live);
        const late = { ...connection };
        move(connection);
        tell(...(random(5) === 0 ? [connection, late, connection] : [connection]));
      } else if (what < 6 && live.length > 0) {
        end(pick(live));
      } else if (what < 8) {
        const owner = pick(ends);
        const text = pick(addresses);
        // Four holders are remembered (wasm/addresses.ts): nobody settles so late that there was a fifth.
        const times = assigned.get(text) ?? [];
        if (times.filter((time) => time > now - 15n * second).length > 2) continue;
        assigned.set(text, [...times, now]);
        const node = owner.type === "node" ? owner : pick(nodes);
        core.assign(address(text), numbers.get(owner)!, now, numbers.get(node)!);
        model.assign(text, owner, now, node.name);
      } else if (random(3) === 0) {
        const [node, zone] = [pick(nodes), pick(["", "a", "b"])];
        core.zone(numbers.get(node)!, zone);
        model.zones.set(node.name, zone);
      } else {
        const text = pick(addresses);
        core.release(address(text), now);
        model.release(text, now);
      }
    }
    if (step > steps) for (const connection of [...live]) end(connection);
    tick();
    if (random(4) || step > steps) {
      core.settle(now, 1);
      model.settle(now);
    }
    if (step % 3 === 0) scrape("steady", steady);
    if (step > steps) continue;
    if (random(6) === 0) scrape("now and then");
    if (random(9) === 0) scrape("slow");
  }
  const increase = (family: string) =>
    options.disabled.includes(family) ? undefined : (steady.increase.get(family) ?? 0);
  const both = (family: string) => {
    const once = increase(family);
    return once === undefined ? undefined : once + increase(`${family} again`)!;
  };
  const link = "kube_ebpf_link";
  expect(steady.errors, mistake("what a steady scraper sees")).toEqual([]);
  const given = {
    sent: both(`${link}_sent_bytes_total`),
    received: both(`${link}_received_bytes_total`),
    exchanges: both(`${link}_requests_total`),
    connections: both(`${link}_connections_total`),
    failures: both(`${link}_connect_failures_total`),
    podSent: increase("kube_ebpf_transmitted_bytes_total"),
  };
  // A family that is off gives nothing at all.
  const expected = Object.entries(truth).map(([what, sum]) => [
    what,
    given[what as keyof typeof given] === undefined ? undefined : sum,
  ]);
  expect(given, mistake("what increase() gives")).toEqual(Object.fromEntries(expected));
  const { capped, linkRows, pairRows } = core.counters();
  expect({ capped, links: linkRows <= options.maxLinks, pairs: pairRows <= options.maxLinks }).toEqual({
    ...{ capped: model.capped, links: true, pairs: true },
  });

  // Whoever is left goes, and then there is nothing that was not there at first.
  now += 400n * second;
  for (const text of addresses) {
    core.release(address(text), now);
    model.release(text, now);
  }
  for (let n = 0; n < 3; n++) core.settle(now, 1);
  for (let n = 0; n < 3; n++) model.settle(now);
  expect(scrapers.abandoned(now)).toBe(true);
  core.abandon(now);
  model.abandon(now);
  scrape("again");
}

test(
  `${histories} histories from seed ${firstSeed} on are what the model says`,
  async () => {
    for (let seed = firstSeed; seed < firstSeed + histories; seed++) await history(seed);
  },
  { timeout: 3_600_000 },
);
