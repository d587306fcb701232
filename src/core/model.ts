/**
 * What the core is to do, slow and obvious, for tests: names are known at once, every row is looked at in every scrape,
 * nothing is kept up to date that can be looked up.
 */
import { type Family, families, reasons } from "./families.ts";
import type { Snapshot } from "./fixture.ts";
import type { Owner } from "./names.ts";

export interface Options {
  aggregate: "pod" | "workload" | "namespace";
  maxLinks: number;
  histograms: boolean;
  settle: bigint;
  disabled: readonly string[];
  scope: boolean;
}

interface Held {
  owner: Owner;
  /** The node that it is on. */
  node: string;
  from: bigint;
  until?: bigint;
}

/** What a connection's records count up. */
interface Totals {
  sent: number;
  received: number;
  exchanges: number;
  durationNs: number;
  segments: number;
  retransmitted: number;
  buckets: number[];
}

interface Connection {
  first: Snapshot;
  /** What it had counted before the agent saw it. */
  base: Totals;
  last: Totals;
  rtt: number;
  reset: boolean;
  ended: boolean;
  link?: Link;
  /** Settles until then, where it has ended and is posted. */
  leftAt?: number;
}

interface Row {
  set: Family["rows"];
  labels: string;
  reporter?: "client" | "server";
  /** Of a pod's rows. */
  owner?: Owner;
  limited: boolean;
  values: Record<string, bigint>;
  born: bigint;
  held: boolean;
  leaving?: { since: bigint; scraped: boolean };
}

interface Link {
  ends: [Owner, Owner];
  reporter: "client" | "server";
  rows: { [set in Family["rows"]]?: Row | undefined };
}

const external: Owner = {
  type: "external",
  namespace: "",
  name: "external",
  workload: "external",
  kind: "External",
  mine: false,
};
const keyOf = (owner: Owner): string => JSON.stringify(owner);
const other = ({ type, kind }: Owner): Owner => ({
  type,
  namespace: "",
  name: "other",
  workload: "other",
  kind,
  mine: false,
});
const isOther = (owner: Owner): boolean => owner.namespace === "" && owner.name === "other";
const textOf = (labels: Record<string, string>): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}="${value}"`)
    .join(",");

const bounds = [-14, -12, -10, -8, -6, -4, -2, 0, 2].map((power) => String(2 ** power));

function seconds(ns: bigint): string {
  const whole = ns / 1_000_000_000n;
  const fraction = String(ns % 1_000_000_000n)
    .padStart(9, "0")
    .replace(/0+$/, "");
  return fraction === "" ? String(whole) : `${whole}.${fraction}`;
}

function bucketOf(us: number): number {
  for (let i = 0; i < 17; i++) if (us <= 1e6 * 2 ** (i - 14)) return i;
  return 17;
}

function totalsOf(record: Snapshot): Totals {
  return {
    sent: Number(record.sent ?? 0),
    received: Number(record.received ?? 0),
    exchanges: record.exchanges ?? 0,
    durationNs: Number(record.durationNs ?? 0),
    segments: record.segments ?? 0,
    retransmitted: record.retransmitted ?? 0,
    buckets: Array.from({ length: 18 }, (_, i) => record.buckets?.[i] ?? 0),
  };
}

const nothing = totalsOf({ id: 0 });

function most(a: Totals, b: Totals): Totals {
  return {
    sent: Math.max(a.sent, b.sent),
    received: Math.max(a.received, b.received),
    exchanges: Math.max(a.exchanges, b.exchanges),
    durationNs: Math.max(a.durationNs, b.durationNs),
    segments: Math.max(a.segments, b.segments),
    retransmitted: Math.max(a.retransmitted, b.retransmitted),
    buckets: a.buckets.map((count, i) => Math.max(count, b.buckets[i]!)),
  };
}

export class Model {
  readonly addresses = new Map<string, Held[]>();
  readonly objects = new Map<string, number>();
  /** By node. */
  readonly zones = new Map<string, string>();
  readonly ports = new Map<string, string>();
  readonly connections = new Map<number, Connection>();
  readonly young: Connection[] = [];
  links = new Map<string, Link>();
  rows = new Map<string, Row>();
  settles = 0;
  lastRender = 0n;
  capped = 0;

  readonly families: Family[];

  constructor(readonly options: Options) {
    this.families = families.filter(({ name }) => !options.disabled.includes(name));
  }

  assign(address: string, owner: Owner, at: bigint, node: string): void {
    const holders = this.addresses.get(address) ?? [];
    this.addresses.set(address, holders);
    const last = holders.at(-1);
    if (last && last.until === undefined) {
      if (keyOf(last.owner) === keyOf(owner)) {
        last.node = node;
        return;
      }
      last.until = at;
    }
    holders.push({ owner, node, from: at });
  }

  release(address: string, at: bigint): void {
    const last = this.addresses.get(address)?.at(-1);
    if (last && last.until === undefined) last.until = at;
  }

  /** The port of that owner is declared, and the Service's. */
  port(owner: Owner, port: number, service: string): void {
    this.ports.set(`${keyOf(owner)} ${port}`, service);
  }

  observe(record: Snapshot): void {
    const id = Number(record.id);
    const seen = totalsOf(record);
    let connection = this.connections.get(id);
    if (!connection) {
      const { segments, retransmitted } = record.flags?.includes("seeded") ? seen : nothing;
      const base = { ...nothing, segments, retransmitted };
      connection = { first: record, base, last: base, rtt: 0, reset: false, ended: false };
      this.connections.set(id, connection);
      this.young.push(connection);
    }
    const before = connection.last;
    const moved = seen.sent > before.sent || seen.received > before.received;
    connection.last = most(before, seen);
    const rtt = moved ? (record.srttUs ?? 0) : 0;
    const reset = (record.flags ?? []).some((flag) => flag !== "seeded") && record.kind !== "failed";
    const countsReset = reset && !connection.reset;
    connection.reset ||= reset;
    if (connection.link) {
      this.post(connection.link, before, connection.last);
      if (rtt) this.sample(connection.link, "RTT", rtt);
      if (countsReset) this.add(connection.link, "RESETS", 1n);
    } else if (rtt) {
      connection.rtt = rtt;
    }
    if ((record.kind === "final" || record.kind === "failed") && !connection.ended) {
      connection.ended = true;
      this.leave(connection);
    }
  }

  private leave(connection: Connection): void {
    if (!connection.link || !connection.ended) return;
    connection.leftAt = this.settles;
    this.add(connection.link, "ACTIVE", -1n);
  }

  settle(now: bigint): void {
    this.settles++;
    for (const [id, { leftAt }] of this.connections) {
      if (leftAt !== undefined && leftAt + 2 <= this.settles) this.connections.delete(id);
    }
    while (this.young[0] && this.young[0].first.bornAt! + this.options.settle <= now) {
      this.decide(this.young.shift()!, now);
    }
  }

  private decide(connection: Connection, now: bigint): void {
    const { first } = connection;
    const client = first.role === "client";
    const local = this.ownerAt(first.local!, first.bornAt!);
    const remote = this.ownerAt(first.remote!, first.bornAt!);
    const scope = this.options.scope ? this.scope(first.local!, first.remote!, first.bornAt!) : "";
    const server = client ? remote : local;
    const number = Number((client ? first.remote : first.local)!.split(":")[1]);
    const service = this.ports.get(`${keyOf(server)} ${number}`);
    const ephemeral = service === undefined && number >= 32768 && number <= 60999;
    const port = ephemeral ? "ephemeral" : String(number);
    const link = this.link(
      client ? [local, remote] : [remote, local],
      port,
      client ? "client" : "server",
      service ?? "",
      scope,
      now,
    );
    connection.link = link;
    this.post(link, connection.base, connection.last);
    if (connection.rtt) this.sample(link, "RTT", connection.rtt);
    this.add(link, "ACTIVE", 1n);
    if (first.kind === "failed") {
      const why = { none: "aborted", timedOut: "timed_out" }[first.reason as string] ?? first.reason;
      this.add(link, `FAILURES ${why}`, 1n);
    } else {
      this.add(link, "CONNECTIONS", 1n);
      if (client && first.connectUs) this.sample(link, "CONNECT", first.connectUs);
    }
    if (connection.reset) this.add(link, "RESETS", 1n);
    this.leave(connection);
  }

  private heldAt(end: string, time: bigint): Held | undefined {
    const holders = this.addresses.get(end.split(":")[0]!) ?? [];
    return holders.find(({ from, until }) => from <= time && (until === undefined || time < until));
  }

  private ownerAt(end: string, time: bigint): Owner {
    return this.heldAt(end, time)?.owner ?? external;
  }

  private scope(local: string, remote: string, time: bigint): string {
    for (const end of [remote, local]) {
      if (this.ownerAt(end, time).type === "external") return end.startsWith("10.") ? "outside" : "internet";
    }
    const nodes = [local, remote].map((end) => this.heldAt(end, time)!.node);
    const [here, there] = nodes.map((node) => this.zones.get(node) ?? "");
    if (nodes[0] === nodes[1]) return "same_zone";
    if (here === "" || there === "") return "unknown";
    return here === there ? "same_zone" : "other_zone";
  }

  private link(
    ends: [Owner, Owner],
    port: string,
    reporter: "client" | "server",
    service: string,
    scope: string,
    now: bigint,
  ): Link {
    const key = JSON.stringify([ends, port, reporter, service, scope]);
    const known = this.links.get(key);
    if (known) return known;
    const server = reporter === "server";
    const again = !server && ends[1].type !== "external";
    const counted = again ? "again" : "once";
    const labels = { ...this.end("source", ends[0]), ...this.end("destination", ends[1]) };
    const whole = this.options.aggregate === "namespace";
    const last = { reporter, counted, ...(scope && { scope }) };
    const rest = { destination_service: whole ? "" : service, port: whole ? "" : port, ...last };
    const row = this.row("link", { ...labels, ...rest }, now, true, reporter);
    if (row || !this.shows("link")) return this.attach(key, ends, port, reporter, row, now);

    this.capped++;
    const any = ends.map(other) as [Owner, Owner];
    const all = { ...this.end("source", any[0], true), ...this.end("destination", any[1], true) };
    const shared = this.row("link", { ...all, destination_service: "", port: "", ...last }, now, false, reporter)!;
    const own: [Owner, Owner] = server ? [any[0], ends[1]] : [ends[0], any[1]];
    const ownKey = JSON.stringify(["any", own, server ? port : "", reporter, scope]);
    return this.links.get(ownKey) ?? this.attach(ownKey, own, port, reporter, shared, now);
  }

  private attach(
    key: string,
    ends: [Owner, Owner],
    port: string,
    reporter: "client" | "server",
    row: Row | undefined,
    now: bigint,
  ): Link {
    const server = reporter === "server";
    const own = server ? ends[1] : ends[0];
    const rows: Link["rows"] = { link: row };
    if (own.type === "pod") {
      const labels = { namespace: own.namespace, name: own.name };
      rows.pod = this.row("pod", labels, now, false, undefined, own);
      if (server) rows.port = this.row("port", { ...labels, port }, now, false, undefined, own);
    }
    if (server && ends[0].type === "pod" && ends[1].type === "pod") {
      const pair = ({ namespace, name }: Owner) => ({
        ...{ source_namespace: namespace, source_name: name },
        ...{ destination_namespace: ends[1].namespace, destination_name: ends[1].name, destination_port: port },
      });
      rows.pair =
        (isOther(ends[0]) ? undefined : this.row("pair", pair(ends[0]), now, true)) ??
        this.row("pair", pair(other(ends[0])), now, false);
    }
    for (const used of Object.values(rows)) delete used?.leaving;
    const link: Link = { ends, reporter, rows };
    this.links.set(key, link);
    return link;
  }

  private end(side: string, owner: Owner, any = false): Record<string, string> {
    const { aggregate } = this.options;
    const whole = aggregate === "namespace" && !any && keyOf(owner) !== keyOf(external);
    return {
      [`${side}_namespace`]: owner.namespace,
      [`${side}_workload`]: whole ? "" : owner.workload,
      [`${side}_kind`]: whole && owner.type !== "node" ? "Namespace" : owner.kind,
      ...(aggregate === "pod" ? { [`${side}_pod`]: owner.type === "pod" ? owner.name : "" } : {}),
    };
  }

  private shows(set: Row["set"]): boolean {
    return this.families.some(({ rows }) => rows === set);
  }

  /** The row with these labels, made where there was none; undefined where it is limited and there is no room. */
  private row(
    set: Row["set"],
    labels: Record<string, string>,
    now: bigint,
    limited: boolean,
    reporter?: "client" | "server",
    owner?: Owner,
  ): Row | undefined {
    if (!this.shows(set)) return undefined;
    const text = textOf(labels);
    const known = this.rows.get(`${set} ${text}`);
    if (known) {
      const used = [...this.links.values()].some((link) => link.rows[set] === known);
      if (owner && (!used || this.isGone(known.owner!))) known.owner = owner;
      return known;
    }
    const count = [...this.rows.values()].filter((row) => row.set === set && row.limited).length;
    if (limited && count >= this.options.maxLinks) return undefined;
    const born = now > this.lastRender ? now : this.lastRender;
    const row: Row = { set, labels: text, limited, values: {}, born, held: true };
    if (reporter) row.reporter = reporter;
    if (owner) row.owner = owner;
    this.rows.set(`${set} ${text}`, row);
    return row;
  }

  private post(link: Link, before: Totals, after: Totals): void {
    const more = (of: (totals: Totals) => number) => BigInt(of(after) - of(before));
    this.add(
      link,
      "SENT",
      more((t) => t.sent),
    );
    this.add(
      link,
      "RECEIVED",
      more((t) => t.received),
    );
    this.add(
      link,
      "EXCHANGES",
      more((t) => t.exchanges),
    );
    this.add(
      link,
      "DURATION",
      more((t) => t.durationNs),
    );
    this.add(
      link,
      "SEGMENTS",
      more((t) => t.segments),
    );
    this.add(
      link,
      "RETRANSMITTED",
      more((t) => t.retransmitted),
    );
    for (let i = 0; i < 18; i++)
      this.add(
        link,
        `EXCHANGE_BUCKETS ${i}`,
        more((t) => t.buckets[i]!),
      );
  }

  private sample(link: Link, what: "RTT" | "CONNECT", us: number): void {
    this.add(link, what, BigInt(us));
    this.add(link, `${what}S`, 1n);
    this.add(link, `${what}_BUCKETS ${bucketOf(us)}`, 1n);
  }

  /** Adds what the reporter's own socket counted to whatever row says it. */
  private add({ rows, reporter }: Link, measure: string, more: bigint): void {
    const to = (row: Row | undefined, as = measure) => {
      if (row) row.values[as] = (row.values[as] ?? 0n) + more;
    };
    const swapped: Record<string, string> = { SENT: "RECEIVED", RECEIVED: "SENT" };
    to(rows.link, reporter === "server" ? (swapped[measure] ?? measure) : measure);
    to(rows.port);
    to(rows.pair);
    if (measure !== "EXCHANGES" || reporter === "client") to(rows.pod);
  }

  private isGone(owner: Owner): boolean {
    if (keyOf(owner) === keyOf(external) || isOther(owner)) return false;
    if (this.objects.get(keyOf(owner))) return false;
    return ![...this.addresses.values()].some((holders) => {
      const last = holders.at(-1);
      return last && last.until === undefined && keyOf(last.owner) === keyOf(owner);
    });
  }

  /** What a scrape sees. */
  scrape(now: bigint, watermark: bigint): string[] {
    this.sweep(now);
    this.lastRender = now;
    for (const row of this.rows.values()) {
      if (!row.held || row.born >= watermark) continue;
      row.held = false;
      if (row.leaving) row.leaving.since = now;
    }
    for (const [key, row] of this.rows) {
      if (!row.leaving || row.held || watermark < row.leaving.since) continue;
      if (row.leaving.scraped) this.rows.delete(key);
      else row.leaving = { since: now, scraped: true };
    }
    return this.families.flatMap((family) =>
      [...this.rows.values()]
        .filter((row) => row.set === family.rows && (!family.reporter || family.reporter === row.reporter))
        .flatMap((row) => this.lines(family, row)),
    );
  }

  abandon(now: bigint): void {
    this.sweep(now);
    for (const [key, row] of this.rows) if (row.leaving) this.rows.delete(key);
  }

  private sweep(now: bigint): void {
    const used = new Set([...this.connections.values()].map(({ link }) => link));
    for (const [key, link] of this.links) {
      if (!used.has(link) && link.ends.some((end) => this.isGone(end))) this.links.delete(key);
    }
    const counted = new Set([...this.links.values()].flatMap(({ rows }) => Object.values(rows)));
    for (const row of this.rows.values()) {
      const left = !counted.has(row) && (row.owner === undefined || this.isGone(row.owner));
      if (!left) delete row.leaving;
      else row.leaving ??= { since: now, scraped: false };
    }
  }

  private lines(family: Family, row: Row): string[] {
    const value = (measure: string) => (row.held && family.type !== "gauge" ? 0n : (row.values[measure] ?? 0n));
    const line = (suffix: string, extra: string, text: string | bigint) =>
      `${family.name}${suffix}{${row.labels}${extra}} ${text}`;
    if (family.byReason) {
      return reasons.map((reason) => line("", `,reason="${reason}"`, value(`${family.measure} ${reason}`)));
    }
    if (!family.distribution) return [line("", "", value(family.measure))];
    const { count, buckets, ns } = family.distribution;
    const lines: string[] = [];
    let below = 0n;
    if (family.type === "histogram" || this.options.histograms) {
      for (let i = 0; i < 18; i++) {
        below += value(`${buckets} ${i}`);
        if (i % 2 === 0) lines.push(line("_bucket", `,le="${bounds[i / 2]}"`, below));
      }
      lines.push(line("_bucket", ',le="+Inf"', below));
    }
    lines.push(line("_sum", "", seconds(value(family.measure) * BigInt(ns))), line("_count", "", value(count)));
    return lines;
  }
}
