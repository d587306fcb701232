import { join } from "node:path";
import { Core } from "../../src/core/core.ts";
import { type Family, families, labels } from "../../src/core/families.ts";
import { SelfMetrics } from "../../src/serve/metrics.ts";
import { code, formatted, table } from "./markdown.ts";

function labelsOf({ rows, byReason, reporter }: Family): string {
  const own = rows === "link" ? `those of links${byReason ? ", `reason`" : ""}` : labels[rows].map(code).join(", ");
  return reporter === undefined ? own : `${own}; \`reporter="${reporter}"\` only`;
}

function familyTable(of: (family: Family) => boolean): string {
  const rows = families
    .filter(of)
    .map((family) => [
      code(family.name),
      family.type,
      labelsOf(family),
      family.unit,
      family.help,
      code(family.example),
    ]);
  return table(["family", "type", "labels", "unit", "meaning", "for example"], rows);
}

/** docs/metrics.md: the prose of metrics.md, and the tables of what there is. */
export async function metricsPage(): Promise<string> {
  const core = await Core.load(join(import.meta.dir, "../../build/core.wasm"));
  const own = new SelfMetrics(core, undefined).describe();
  const tables = new Map([
    ["pods", familyTable(({ rows }) => rows !== "link")],
    ["links", familyTable(({ rows }) => rows === "link")],
    [
      "agent",
      table(
        ["family", "type", "labels", "meaning"],
        own.map(({ name, type, labels, help }) => [code(name), type, labels.map(code).join(", "), help]),
      ),
    ],
  ]);
  const page = await Bun.file(join(import.meta.dir, "metrics.md")).text();
  return formatted(page.replace(/\{\{(\w+)\}\}/g, (_, name: string) => tables.get(name) ?? ""));
}
