/** The Prometheuses in the cluster, asked at a node's own port: the API server may be gone. */
import { addressOf, nodes } from "./cluster.ts";

export type Labels = Record<string, string>;
export interface Row {
  labels: Labels;
  value: number;
}
/** A series: time in seconds and value of each sample. */
export interface Series {
  labels: Labels;
  samples: [number, number][];
}

/**
 * `plain` is deploy/prometheus.yaml as it is; the others scrape with `honor_labels`, and as a PodMonitor has it. With the
 * node ports of their Services.
 */
export const servers = { plain: 30090, honored: 30091, monitored: 30092 } as const;
export type Server = keyof typeof servers;

let node: string | undefined;

/** An answer of the HTTP API: `get("targets")`. @throws what it complains of */
export async function get<T>(path: string, parameters: Labels = {}, server: Server = "plain"): Promise<T> {
  node ??= await addressOf((await nodes())[0]!);
  const url = `http://${node}:${servers[server]}/api/v1/${path}`;
  const body = new URLSearchParams(parameters);
  const post = path.startsWith("query") ? { method: "POST", body } : {};
  // Where nobody is behind the port yet, nothing answers.
  const response = await fetch("body" in post ? url : `${url}?${body}`, {
    ...post,
    signal: AbortSignal.timeout(15_000),
  });
  const answer = (await response.json()) as { status: string; data: T; error?: string };
  if (answer.status !== "success") throw new Error(`${parameters.query ?? path}: ${answer.error}`);
  return answer.data;
}

interface Vector {
  result: { metric: Labels; value: [number, string] }[];
}
interface Matrix {
  result: { metric: Labels; values: [number, string][] }[];
}

/** The rows of an instant query, now or then (seconds). */
export async function query(
  promql: string,
  { time, server = "plain" as Server }: { time?: number; server?: Server } = {},
): Promise<Row[]> {
  const { result } = await get<Vector>(
    "query",
    { query: promql, ...(time === undefined ? {} : { time: `${time}` }) },
    server,
  );
  return result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
}

/** The one value of a query; 0 where it has no row. @throws where it has several */
export async function value(promql: string, options: Parameters<typeof query>[1] = {}): Promise<number> {
  const rows = await query(promql, options);
  if (rows.length > 1) throw new Error(`${promql}: ${rows.length} rows`);
  return rows[0]?.value ?? 0;
}

/** All samples of the series that a selector finds, of the last so many seconds. */
export async function samples(selector: string, seconds = 7200, server: Server = "plain"): Promise<Series[]> {
  const { result } = await get<Matrix>("query", { query: `${selector}[${Math.ceil(seconds)}s]` }, server);
  return result.map(({ metric, values }) => ({
    labels: metric,
    samples: values.map(([time, value]) => [time, Number(value)] as [number, number]),
  }));
}

/**
 * How much a counter's samples say that it has counted, exactly: `increase()` extrapolates. A value below the last one is
 * that of a counter that began again.
 *
 * @param from what it stood at before the first sample
 */
export function growth(samples: [number, number][], from: number): number {
  let all = 0;
  let last = from;
  for (const [, value] of samples) {
    all += value >= last ? value - last : value;
    last = value;
  }
  return all;
}

/**
 * What the counters of a selector have counted, since they began or since a moment (seconds) at which they stood still:
 * a series that was not there then counts from 0.
 */
export async function counted(selector: string, since = 0, server: Server = "plain"): Promise<Row[]> {
  const margin = 4;
  const window = since ? Date.now() / 1000 - since + margin : undefined;
  return (await samples(selector, window, server)).map(({ labels, samples }) => {
    const last = samples.findLastIndex(([time]) => time <= since);
    return { labels, value: growth(samples.slice(last + 1), samples[last]?.[1] ?? 0) };
  });
}
