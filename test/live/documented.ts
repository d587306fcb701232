/** docs/metrics.md, against what an agent says. */
import { join } from "node:path";

interface Family {
  type: string;
  help: string;
  labels: string[];
}

const page = join(import.meta.dir, "../../docs/metrics.md");
const texts = (cell: string) => [...cell.matchAll(/`(\w+)`/g)].map(([, text]) => text!);
const rowsOf = (text: string, start: RegExp) =>
  text
    .split("\n")
    .filter((line) => start.test(line))
    .map((line) => line.slice(2, -2).split(/ +\| /));

/** The rows of its tables. */
async function documented(): Promise<Map<string, Family>> {
  const text = await Bun.file(page).text();
  const ofLinks = rowsOf(text, /^\| `(source|destination|port|reporter|counted|scope)/).flatMap(([labels = ""]) =>
    texts(labels),
  );
  return new Map(
    rowsOf(text, /^\| `(kube_ebpf|ringside)_/).map(([name = "", type = "", labels = "", ...rest]) => {
      const own = texts(labels);
      const help = rest[name.startsWith("`kube_ebpf") ? 1 : 0]?.trim() ?? "";
      return [
        name.replaceAll(/[` ]/g, ""),
        { type: type.trim(), help, labels: labels.startsWith("those of links") ? [...ofLinks, ...own] : own },
      ];
    }),
  );
}

/** The families of an exposition as text; those of which there is nothing have no labels. */
function told(text: string): Map<string, Family> {
  const families = new Map<string, Family>();
  for (const [, name, help] of text.matchAll(/^# HELP (\S+) (.*)$/gm))
    families.set(name!, { type: "", help: help!, labels: [] });
  for (const [, name, type] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) families.get(name!)!.type = type!;
  for (const [, sample, labels = ""] of text.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
    const family = families.get(sample!) ?? families.get(sample!.replace(/_(bucket|sum|count)$/, ""))!;
    const names = [...labels.matchAll(/(\w+)="(?:[^"\\]|\\.)*"/g)].map(([, label]) => label!);
    family.labels = [...new Set([...family.labels, ...names.filter((label) => label !== "le")])];
  }
  return families;
}

/**
 * @param text what an agent with --aggregate pod and --scope answers at /metrics
 * @returns one sentence for each family that only one of both has, or of which they say different things
 */
export async function undocumented(text: string): Promise<string[]> {
  const [page, scrape] = [await documented(), told(text)];
  return [...new Set([...page.keys(), ...scrape.keys()])].flatMap((name) => {
    const [written, said] = [page.get(name), scrape.get(name)];
    if (!written || !said) return [`${name} is only ${said ? "said" : "documented"}`];
    const differs = written.type !== said.type || written.help !== said.help;
    const labels = said.labels.length > 0 && !Bun.deepEquals([...written.labels].sort(), [...said.labels].sort());
    return differs || labels
      ? [`${name}: documented as ${JSON.stringify(written)}, said as ${JSON.stringify(said)}`]
      : [];
  });
}
