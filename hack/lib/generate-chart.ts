import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isMap, isNode, isScalar, parseDocument, type YAMLMap } from "yaml";
import { code, formatted, table } from "./markdown.ts";

const top = join(import.meta.dir, "../..");

export interface Value {
  /** As `--set` has it: agent.interval. */
  key: string;
  type: string;
  default: unknown;
  /** The comment above it that begins with `# --`; empty where there is none. */
  text: string;
}

/** The values of a chart: one for each comment, and one for each leaf that no comment is about. */
export function values(yaml: string): Value[] {
  const found: Value[] = [];
  const walk = (map: YAMLMap, path: string[]): void => {
    for (const [i, { key, value }] of map.items.entries()) {
      if (!isScalar(key)) throw new Error(`${path.join(".")} has a key that is no scalar`);
      // The comment above a map's first key is the map's.
      const comment = key.commentBefore ?? (i === 0 && path.length > 0 ? map.commentBefore : undefined) ?? "";
      const [, text = ""] = /(?:^|\n) --\s+([\s\S]*)$/.exec(comment) ?? [];
      const here = [...path, String(key.value)];
      if (!text && isMap(value) && value.items.length > 0) {
        walk(value, here);
        continue;
      }
      const plain = isNode(value) ? value.toJSON() : null;
      const type = plain === null ? "" : Array.isArray(plain) ? "list" : typeof plain;
      found.push({ key: here.join("."), type, default: plain, text: text.replace(/\n\s*/g, " ").trim() });
    }
  };
  walk(parseDocument(yaml).contents as YAMLMap, []);
  return found;
}

/** chart/README.md: the prose of chart.md, and the table of all values. */
export function chartPage(): string {
  const rows = values(readFileSync(join(top, "chart/values.yaml"), "utf8")).map(
    ({ key, type, default: value, text }) => [code(key), type, code(JSON.stringify(value)), text],
  );
  const page = readFileSync(join(top, "hack/lib/chart.md"), "utf8");
  return formatted(page.replace("{{values}}", () => table(["key", "type", "default", "meaning"], rows)));
}
