/** Dashboards as Grafana reads them: their queries, with the variables put in as it does. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Row } from "./prometheus.ts";
import { type Labels, selector } from "./promtool.ts";

const folder = join(import.meta.dir, "../../chart/dashboards");

export interface Target {
  refId: string;
  expr: string;
  instant: boolean;
  format?: string;
}

export interface Panel {
  id: number;
  type: string;
  title: string;
  datasource?: { type: string; uid: string };
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: Target[];
  fieldConfig?: {
    defaults: { unit?: string };
    overrides: { matcher: { id: string; options: string }; properties: { id: string; value: string }[] }[];
  };
  options?: { nodes?: { mainStatUnit: string }; edges?: { mainStatUnit: string }; yAxis?: { unit: string } };
  transformations?: { id: string; options: { renameByName?: Record<string, string> } }[];
}

export interface Variable {
  name: string;
  type: string;
  query: string | { query: string };
  regex: string;
  includeAll: boolean;
  multi: boolean;
  allValue?: string;
}

export interface Dashboard {
  file: string;
  uid: string;
  title: string;
  schemaVersion: number;
  templating: { list: Variable[] };
  panels: Panel[];
}

export async function dashboards(): Promise<Dashboard[]> {
  const files = (await readdir(folder)).sort();
  return Promise.all(files.map(async (file) => ({ file, ...(await Bun.file(join(folder, file)).json()) })));
}

/** Where Grafana would put an interval that fits the graph. */
export const intervals = { __rate_interval: "10s", __range: "1m" };

/** A panel that is empty without an API server that refuses something. */
export const ofAnApiServer = "Requests that failed";

/** One of several values, in a regular expression in a string of PromQL. */
export const escaped = (value: string): string => value.replace(/[\\^$*+?.()|[\]{}]/g, "\\\\$&");

/** @param values of the variables, as a regular expression has them where a variable has more than one */
export function interpolate(text: string, values: Record<string, string>): string {
  return text.replace(/\$(\w+)|\$\{(\w+)\}/g, (whole, plain, braced) => values[plain ?? braced] ?? whole);
}

/** The names of all variables in a text. */
export const variablesOf = (text: string): string[] =>
  [...text.matchAll(/\$(\w*[a-z]\w*)|\$\{(\w+)\}/g)].map((found) => (found[1] ?? found[2])!);

/** A Prometheus, as Grafana asks it. */
export interface Source {
  get<T>(path: string, parameters: Labels): Promise<T>;
  /** @param range from and to, in seconds; without it the last value */
  query(query: string, range?: [number, number]): Promise<Row[]>;
}

/** What a variable offers, as Grafana's data source for Prometheus reads its query. */
async function offered(source: Source, variable: Variable, values: Labels): Promise<string[]> {
  const query = interpolate((variable.query as { query: string }).query, values);
  const [, metric, label] = /^label_values\((.+), (\w+)\)$/.exec(query) ?? [];
  if (label) return source.get<string[]>(`label/${label}/values`, { "match[]": metric! });
  const [, promql] = /^query_result\((.+)\)$/.exec(query) ?? [];
  if (!promql) throw new Error(`what kind of variable is ${query}?`);
  const regex = new RegExp(variable.regex.slice(1, -1));
  return (await source.query(promql)).flatMap(({ metric }) => regex.exec(selector(metric))?.[1] ?? []);
}

/**
 * The variables of a dashboard: with one value each, and where it is possible with all.
 *
 * @param choice of a reader, where it is not the first that is offered
 */
export async function chosen(source: Source, board: Dashboard, choice: Labels): Promise<Labels[]> {
  const [one, all]: [Labels, Labels] = [{ ...intervals }, { ...intervals }];
  for (const variable of board.templating.list.filter(({ type }) => type === "query")) {
    const values = await offered(source, variable, one);
    const value = choice[variable.name] ?? values[0]!;
    if (!values.includes(value)) throw new Error(`${board.title}: ${variable.name} offers no ${value}`);
    one[variable.name] = variable.multi ? `(${escaped(value)}|nothing)` : value;
    all[variable.name] = variable.allValue ?? value;
  }
  return [one, all];
}

/** @param began in seconds: from when on a graph is drawn */
export const ask = (source: Source, { expr, instant }: Target, values: Labels, began: number): Promise<Row[]> =>
  source.query(interpolate(expr, values), instant ? undefined : [began, Date.now() / 1000]);

/** All queries of a dashboard. */
export const queriesOf = (board: Dashboard) =>
  board.panels.flatMap((panel) => (panel.targets ?? []).map((target) => ({ board, panel, target })));
