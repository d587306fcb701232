/** Markdown as the generated pages have it. */
import { join } from "node:path";
import { RingsideError } from "../../src/errors.ts";

const root = join(import.meta.dir, "../..");

const cell = (text: string): string => text.replaceAll("|", "\\|");
export const code = (text: string): string => `\`${text}\``;

export function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.map(cell).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** As the style check has Markdown. */
export function formatted(page: string): string {
  const biome = [process.execPath, join(root, "node_modules/.bin/biome")];
  const { exitCode, stdout, stderr } = Bun.spawnSync([...biome, "format", "--stdin-file-path=docs/page.md"], {
    cwd: root,
    stdin: Buffer.from(page),
  });
  if (exitCode !== 0) throw new RingsideError("format", "a page", "Run hack/setup test.", { cause: String(stderr) });
  return stdout.toString();
}
