/** The chart, as the real helm renders it. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { parse, parseAllDocuments } from "yaml";

export const top = join(import.meta.dir, "../..");
export const chart = join(top, "chart");
/** The chart's own values. */
export const defaults: Manifest = parse(readFileSync(join(chart, "values.yaml"), "utf8"));
export const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "ringside/kind");

// biome-ignore lint/suspicious/noExplicitAny: objects of any kind
export type Manifest = Record<string, any>;

export interface Run {
  code: number;
  out: string;
  error: string;
}

/** Runs a program of the cluster's: helm, kubectl. */
export async function run(program: string, args: string[], options: { kubeconfig?: string; input?: string } = {}) {
  const child = Bun.spawn([join(cache, "bin", program), ...args], {
    stdin: options.input === undefined ? "ignore" : new Blob([options.input]),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, KUBECONFIG: options.kubeconfig ?? "/nonexistent" },
  });
  const [out, error] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { code: await child.exited, out, error } satisfies Run;
}

/** @throws where it fails */
export async function ok(...call: Parameters<typeof run>): Promise<string> {
  const { code, out, error } = await run(...call);
  if (code !== 0) throw new Error(`${call[0]} ${call[1].join(" ")}: ${error}`);
  return out;
}

/** The scenarios of chart/ci, by name: helm's arguments for each. */
export const scenarios: Record<string, string[]> = Object.fromEntries(
  readdirSync(join(chart, "ci")).map((file) => [
    file.replace("-values.yaml", ""),
    ["--values", join(chart, "ci", file)],
  ]),
);

export const manifests = (yaml: string): Manifest[] =>
  parseAllDocuments(yaml).flatMap((document) => {
    if (document.errors.length > 0) throw document.errors[0];
    return (document.toJS() as Manifest | null) ?? [];
  });

/** What a chart renders as a release "ringside" in the namespace "monitor". */
export async function template(args: string[] = [], path = chart): Promise<Manifest[]> {
  return manifests(await ok("helm", ["template", "ringside", path, "--namespace", "monitor", ...args]));
}

export const kinds = (objects: Manifest[], kind: string): Manifest[] =>
  objects.filter((object) => object.kind === kind);

/** A copy of the chart in which one file has something else. @throws where that text is not in there */
export function changed(file: string, from: string, to: string): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "ringside-chart-"));
  cpSync(chart, path, { recursive: true });
  const text = readFileSync(join(path, file), "utf8");
  if (!text.includes(from)) throw new Error(`${file} has no ${from}`);
  writeFileSync(
    join(path, file),
    text.replace(from, () => to),
  );
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}
