import Table from "cli-table3";
import { RingsideError } from "./errors.ts";
import type { End, Link, LinksReport } from "./serve/links.ts";

export interface Totals {
  sent: bigint;
  received: bigint;
  requests: bigint;
  buckets: number[];
}

/** One line of the table: a link between two workloads, as each of its ends counted it. */
export interface Row {
  client: string;
  server: string;
  port: number;
  reporters: Partial<Record<Link["reporter"], Totals>>;
  /** The server's where it reports, else the client's. */
  shown: Totals;
}

interface Column {
  title: string;
  /** A narrow terminal goes without. */
  optional?: true;
  cell: (row: Row, before: Row | undefined, seconds: number) => string;
}

const COLUMNS: Column[] = [
  { title: "port", cell: (row) => (row.port === 0 ? "*" : String(row.port)) },
  { title: "sent", cell: (row) => formatBytes(row.shown.sent) },
  { title: "received", cell: (row) => formatBytes(row.shown.received) },
  { title: "requests", cell: (row) => String(row.shown.requests) },
  { title: "sent/s", optional: true, cell: rate((totals) => totals.sent, formatBytes) },
  { title: "received/s", optional: true, cell: rate((totals) => totals.received, formatBytes) },
  { title: "requests/s", optional: true, cell: rate((totals) => totals.requests, formatCount) },
  { title: "p50", cell: (row) => formatQuantile(row.shown.buckets, 0.5) },
  { title: "p99", cell: (row) => formatQuantile(row.shown.buckets, 0.99) },
];
const GAP = 2;
const SHORTEST_NAME = 12;

/**
 * The links of a snapshot, most bytes first. Both reporters' links of the same workloads and port are one row.
 */
export function rowsOf(snapshot: LinksReport): Row[] {
  const rows = new Map<string, Row>();
  for (const link of snapshot.links) {
    const client = nameOf(link.source);
    const server = nameOf(link.destination);
    const key = JSON.stringify([client, link.source.kind, server, link.destination.kind, link.port]);
    const row = rows.get(key) ?? { client, server, port: link.port, reporters: {}, shown: nothing() };
    rows.set(key, row);
    row.reporters[link.reporter] = plus(row.reporters[link.reporter] ?? nothing(), link);
  }
  for (const row of rows.values()) row.shown = row.reporters.server ?? row.reporters.client ?? row.shown;
  const traffic = ({ shown }: Row) => shown.sent + shown.received;
  return [...rows.values()].sort(
    (a, b) =>
      Number(traffic(b) - traffic(a)) ||
      a.client.localeCompare(b.client) ||
      a.server.localeCompare(b.server) ||
      a.port - b.port,
  );
}

/**
 * The table as it stands on a terminal.
 *
 * @param previous an earlier snapshot, for the rates; undefined: there are none yet
 * @param width    columns; names are cut to it, and byte rates go where it is narrow
 * @param height   lines, the head and "and N more" among them
 */
export function tableOf(
  previous: LinksReport | undefined,
  current: LinksReport,
  width: number,
  height = Number.POSITIVE_INFINITY,
): string {
  const rows = rowsOf(current);
  if (rows.length === 0) return "No links yet.";
  const fits = rows.length + 1 <= height ? rows.length : Math.max(0, height - 2);
  const shown = rows.slice(0, fits);
  const before = new Map(previous === undefined ? [] : rowsOf(previous).map((row) => [idOf(row), row]));
  const seconds = (current.time - (previous?.time ?? current.time)) / 1000;

  const columns = COLUMNS.map(({ title, optional, cell }) => {
    const cells = [title, ...shown.map((row) => cell(row, before.get(idOf(row)), seconds))];
    return { optional, cells, width: GAP + Math.max(...cells.map((text) => text.length)) };
  });
  const room = () => width - columns.reduce((sum, column) => sum + column.width, 0);
  while (room() < 2 * SHORTEST_NAME + GAP) {
    const last = columns.findLastIndex(({ optional }) => optional);
    if (last < 0) break;
    columns.splice(last, 1);
  }
  const [longestClient, longestServer] = [longest(shown, "client"), longest(shown, "server")];
  const names = Math.max(2 * SHORTEST_NAME, room() - GAP);
  // Half for each, and what the server's names leave.
  const clientWidth = Math.min(longestClient, Math.max(Math.floor(names / 2), names - longestServer));
  const cells = [
    ["client", ...shown.map(({ client }) => cut(client, clientWidth))],
    ["server", ...shown.map(({ server }) => cut(server, names - clientWidth))],
  ];
  cells.push(...columns.map((column) => column.cells));

  const table = new Table({
    chars: NO_LINES,
    colAligns: cells.map((_, index) => (index < 2 ? "left" : "right")),
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [] },
  });
  for (let line = 0; line <= shown.length; line++) table.push(cells.map((column) => column[line]));
  const lines = table.toString().split("\n");
  if (shown.length < rows.length) lines.push(`and ${rows.length - shown.length} more`);
  return lines.map((line) => line.trimEnd().slice(0, width)).join("\n");
}

const NO_LINES = {
  ...{ top: "", "top-mid": "", "top-left": "", "top-right": "" },
  ...{ bottom: "", "bottom-mid": "", "bottom-left": "", "bottom-right": "" },
  ...{ left: "", "left-mid": "", mid: "", "mid-mid": "", right: "", "right-mid": "" },
  middle: " ".repeat(GAP),
};

export interface TopOptions {
  /** Of the agent: http://HOST:PORT. */
  url: string;
  /** Print one table and return; so it is, too, where the output is no terminal. */
  once: boolean;
  /** Milliseconds between two tables. */
  interval: number;
}

/**
 * `ringside top`: the table of an agent's links, redrawn in place until SIGINT or SIGTERM.
 *
 * @throws {RingsideError} where the agent does not answer, or something else does
 */
export async function top({ url, once, interval }: TopOptions): Promise<void> {
  const { stdout } = process;
  if (once || !stdout.isTTY) {
    console.log(tableOf(undefined, await fetchLinks(url), stdout.columns ?? 160));
    return;
  }
  let wake = () => {};
  let stopped = false;
  const stop = () => {
    stopped = true;
    wake();
  };
  process.once("SIGINT", stop).once("SIGTERM", stop);
  let previous: LinksReport | undefined;
  try {
    stdout.write(HIDE_CURSOR + CLEAR);
    while (!stopped) {
      const current = await fetchLinks(url);
      // The last line is the cursor's.
      const table = tableOf(previous, current, stdout.columns, stdout.rows - 1);
      stdout.write(HOME + table.replaceAll("\n", `${CLEAR_LINE}\n`) + CLEAR_LINE + CLEAR_BELOW);
      previous = current;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, interval);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  } finally {
    stdout.write(`${SHOW_CURSOR}\n`);
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}

const HIDE_CURSOR = "\x1b[?25l";
const SHOW_CURSOR = "\x1b[?25h";
const HOME = "\x1b[H";
const CLEAR = "\x1b[2J";
const CLEAR_LINE = "\x1b[K";
const CLEAR_BELOW = "\x1b[J";

async function fetchLinks(url: string): Promise<LinksReport> {
  try {
    const response = await fetch(new URL("/api/links", url), { signal: AbortSignal.timeout(10_000) });
    if (!response.ok) throw new Error(`the answer is ${response.status} ${response.statusText}`);
    const snapshot = (await response.json()) as LinksReport | null;
    if (typeof snapshot?.time !== "number" || !Array.isArray(snapshot.links))
      throw new Error("the answer has no links");
    return snapshot;
  } catch (error) {
    // Bun's own words for it ask whether the computer is online.
    const cause = (error as { code?: unknown }).code === "ECONNREFUSED" ? new Error("nothing listens there") : error;
    // A Service's name, as `helm test` asks by it. It leads nowhere while no pod of it is ready.
    const remedy = /\.svc(:\d+)?\/?$/.test(url)
      ? "See `kubectl describe daemonset`: at another Pod Security level than privileged the agents get no pods; and `kubectl logs -c check`."
      : "Start an agent with `ringside run`, or give the address of one with --url.";
    throw new RingsideError("read the links of an agent", url, remedy, { cause });
  }
}

function longest(rows: Row[], end: "client" | "server"): number {
  return Math.max(end.length, ...rows.map((row) => row[end].length));
}

function nameOf({ namespace, workload }: End): string {
  return namespace === "" ? workload : `${namespace}/${workload}`;
}

function idOf({ client, server, port }: Row): string {
  return JSON.stringify([client, server, port]);
}

function nothing(): Totals {
  return { sent: 0n, received: 0n, requests: 0n, buckets: Array(18).fill(0) };
}

function plus(totals: Totals, link: Link): Totals {
  return {
    sent: totals.sent + BigInt(link.sent),
    received: totals.received + BigInt(link.received),
    requests: totals.requests + BigInt(link.requests),
    buckets: totals.buckets.map((count, index) => count + Number(link.buckets[index] ?? 0)),
  };
}

/** A column of what a counter grew by, a second; "-" where there is no earlier one, or the agent began anew. */
function rate(of: (totals: Totals) => bigint, format: (value: number) => string): Column["cell"] {
  return (row, before, seconds) => {
    const grown = before === undefined ? -1n : of(row.shown) - of(before.shown);
    return grown < 0n || seconds <= 0 ? "-" : format(Number(grown) / seconds);
  };
}

/** No more than so many characters, and none that a terminal would obey. */
function cut(name: string, length: number): string {
  const plain = name.replaceAll(/[^\x20-\x7e]/g, "?");
  return plain.length <= length ? plain : `${plain.slice(0, length - 1)}…`;
}

/**
 * The duration in seconds that a share of all exchanges did not exceed, by linear interpolation inside a bucket.
 * The true one lies in the same bucket, so the result is less than twice and more than half of it (above 2^-14 s,
 * 61 us; below, it is at most 61 us off). Infinity: above 4 s. Undefined: no exchanges.
 *
 * @param buckets counts (not cumulative) by duration: bucket i has those of at most 2^(i-14) s, the last what is longer
 * @param share   0 to 1
 */
export function quantile(buckets: readonly number[], share: number): number | undefined {
  const total = buckets.reduce((sum, count) => sum + count, 0);
  if (total === 0) return undefined;
  const rank = share * total;
  let below = 0;
  for (const [index, count] of buckets.entries()) {
    if (count > 0 && below + count >= rank) {
      if (index === buckets.length - 1) return Number.POSITIVE_INFINITY;
      const upper = 2 ** (index - 14);
      const lower = index === 0 ? 0 : upper / 2;
      return lower + (upper - lower) * ((rank - below) / count);
    }
    below += count;
  }
  return Number.POSITIVE_INFINITY;
}

function formatQuantile(buckets: readonly number[], share: number): string {
  const seconds = quantile(buckets, share);
  if (seconds === undefined) return "-";
  return seconds === Number.POSITIVE_INFINITY ? "> 4 s" : formatDuration(seconds);
}

/** "512 B", "1.2 MiB", "340 GiB". */
export function formatBytes(bytes: number | bigint): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let value = Number(bytes);
  let unit = 0;
  // 1023.5 would be rounded to 1024.
  for (; value >= 1023.5 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value.toFixed(0) : short(value)} ${units[unit]}`;
}

/** "7 us", "1.2 ms", "340 ms", "2.5 s" from seconds. */
export function formatDuration(seconds: number): string {
  const us = seconds * 1e6;
  if (us < 999.5) return `${us.toFixed(0)} us`;
  if (us < 999_500) return `${short(us / 1e3)} ms`;
  return `${short(seconds)} s`;
}

function formatCount(value: number): string {
  return Number.isInteger(value) ? String(value) : short(value);
}

/** Two digits or more: one after the point below 10. */
function short(value: number): string {
  return value.toFixed(value < 9.95 ? 1 : 0);
}
