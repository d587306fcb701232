/** Dashboards as Grafana reads them: their queries, with the variables put in as it does. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";

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
