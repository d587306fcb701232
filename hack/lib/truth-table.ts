/** The truth table: scenarios down, backends and kernels across. */
import type { TruthLine } from "../../test/truth/truth.ts";

/** What one column says: a backend, or a backend on a kernel. */
export interface TruthColumn {
  name: string;
  lines: TruthLine[];
  /** As the comparisons of test/truth give them: "SCENARIO: what differs". */
  differences: string[];
}

export type Verdict = "ok" | "FAIL" | `skipped (${string})`;

/** @returns the verdict on each scenario of the traffic, in its order; what belongs to none is in a row of its own, at the end */
export function verdicts({ lines, differences }: TruthColumn): Map<string, Verdict> {
  const found = new Map<string, Verdict>();
  for (const { scenario, skipped } of lines) found.set(scenario, skipped ? `skipped (${skipped})` : "ok");
  for (const difference of differences) found.set(difference.slice(0, Math.max(0, difference.indexOf(":"))), "FAIL");
  return found;
}

/** @returns the table, its counts and each difference, as lines of text */
export function truthTable(columns: TruthColumn[]): string {
  const byColumn = columns.map(verdicts);
  const scenarios = [...new Set(byColumn.flatMap((verdict) => [...verdict.keys()]))];
  const rows = [
    ["scenario", ...columns.map(({ name }) => name)],
    ...scenarios.map((scenario) => [scenario, ...byColumn.map((verdict) => verdict.get(scenario) ?? "")]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const table = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  );
  const all = byColumn.flatMap((verdict) => [...verdict.values()]);
  const count = (what: string) => all.filter((verdict) => verdict.startsWith(what)).length;
  const details = columns.flatMap(({ name, differences }) => differences.map((difference) => `${name}: ${difference}`));
  return [...table, `${count("ok")} ok, ${count("FAIL")} failed, ${count("skipped")} skipped`, ...details].join("\n");
}
