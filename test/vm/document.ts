/** Keeps the tables of docs/kernels.md: a row of each machine that has run. */
import { join } from "node:path";
import { $ } from "bun";

const biome = join(import.meta.dir, "../../node_modules/.bin/biome");
const path = join(import.meta.dir, "../../docs/kernels.md");

const cells = (line: string): string[] =>
  line
    .split("|")
    .slice(1, -1)
    .map((cell) => cell.trim());

/**
 * Puts a row into the table with these columns: in place of that which has the same first cell, or at the end.
 *
 * @throws Error where the text has no such table
 */
export function putRow(text: string, columns: string[], row: string[]): string {
  const lines = text.split("\n");
  const head = lines.findIndex((line) => cells(line).join() === columns.join());
  if (head < 0) throw new Error(`docs/kernels.md has no table of ${columns.join(", ")}`);
  let at = head + 2;
  while (lines[at]?.startsWith("|") && cells(lines[at] as string)[0] !== row[0]) at++;
  const replaced = lines[at]?.startsWith("|") ? 1 : 0;
  return lines.toSpliced(at, replaced, `| ${row.join(" | ")} |`).join("\n");
}

/** Puts rows into the tables of docs/kernels.md. */
export async function document(rows: { columns: string[]; row: string[] }[]): Promise<void> {
  const before = await Bun.file(path).text();
  const after = rows.reduce((text, { columns, row }) => putRow(text, columns, row), before);
  if (after === before) return;
  await Bun.write(path, after);
  await $`${process.execPath} ${biome} format --write ${path}`.quiet();
}
