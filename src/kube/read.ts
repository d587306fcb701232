import { LineCounter, parseDocument } from "yaml";
import { RingsideError } from "../errors.ts";
import { JsonLists } from "./json.ts";
import { Malformed, nameOf, parse, type Row } from "./parse.ts";

/** The largest part that is held at once: an item, or all of a list but its items. The API server allows 1.5 MiB. */
const PART_LIMIT = 32 << 20;
/** YAML takes some 0.6 s a MiB (JSON: 0.02 s), and a reread shares its core with the agent. */
const YAML_LIMIT = 32 << 20;
/** As PART_LIMIT; the parser needs some 70 times the text. */
const YAML_PART_LIMIT = 4 << 20;

const STEP = "read the identities";
const JSON_REMEDY = "Print it with `kubectl get ... -o json`, which may have any size.";
const EXPECTED = "It must be what `kubectl get pods,services,nodes,endpointslices -A -o json` (or yaml) prints";

/**
 * Reads Kubernetes lists (PodList, ..., or a List of anything), JSON or YAML, also several in a row. Each item becomes
 * a row and is dropped, so memory follows the largest item and not the text.
 *
 * @param chunks the text in UTF-8; a chunk is not used any more once the next one is asked for
 * @param file   what errors call it
 * @param keep   gets each row as it is read; items of other kinds are skipped
 * @throws {RingsideError} with the byte (JSON) or line (YAML), or the item's index and name
 */
export async function readLists(
  chunks: AsyncIterable<Uint8Array>,
  file: string,
  keep: (row: Row) => void,
): Promise<void> {
  let reader: JsonLists | YamlReader | undefined;
  for await (const chunk of chunks) {
    reader ??= readerFor(chunk, file, keep);
    reader?.write(chunk);
  }
  if (reader === undefined) throw new RingsideError(STEP, `${file} is empty`, `${EXPECTED}.`);
  reader.end();
}

/** JSON starts with a brace or a bracket; undefined while nothing but white space has come. */
function readerFor(chunk: Uint8Array, file: string, keep: (row: Row) => void): JsonLists | YamlReader | undefined {
  const first = /[^\s\uFEFF]/.exec(new TextDecoder().decode(chunk))?.[0];
  if (first === undefined) return undefined;
  const items = new Items(file, keep);
  return first === "{" || first === "[" ? jsonReader(file, items) : new YamlReader(file, items);
}

/** The items of all lists of a file, in order. */
class Items {
  private index = 0;

  constructor(
    private readonly file: string,
    private readonly keep: (row: Row) => void,
  ) {}

  /** @param list what is known of the item's list so far. */
  add(item: unknown, list: { apiVersion: unknown; kind: unknown }): void {
    try {
      const row = parse(item, list);
      if (row !== undefined) this.keep(row);
    } catch (cause) {
      if (!(cause instanceof Malformed)) throw cause;
      const object = `${this.file}, item ${this.index} (${nameOf(item)})`;
      throw new RingsideError(STEP, object, "Correct the item, or take it out of the file.", { cause });
    }
    this.index++;
  }

  /** @param list a whole document, less the items that were added already. */
  checkList(list: unknown): void {
    const found = Items.notAList(list);
    if (found === undefined) return;
    throw new RingsideError(STEP, `${this.file} is not a list: it ${found}`, `${EXPECTED}.`);
  }

  private static notAList(list: unknown): string | undefined {
    if (typeof list !== "object" || list === null || Array.isArray(list)) return "is not an object";
    const { kind, items } = list as Record<string, unknown>;
    if (typeof kind !== "string") return 'has no "kind"';
    if (!kind.endsWith("List")) return `has the kind ${JSON.stringify(kind.slice(0, 80))}`;
    return Array.isArray(items) || items === null ? undefined : 'has no list of "items"';
  }
}

function jsonReader(file: string, items: Items): JsonLists {
  return new JsonLists(
    {
      item: (item, { apiVersion, kind }) => items.add(item, { apiVersion, kind }),
      end: (list) => items.checkList(list),
      tooLarge: (offset) => {
        const object = `${file}, the item at byte ${offset} is larger than ${PART_LIMIT >> 20} MiB`;
        throw new RingsideError(STEP, object, `${EXPECTED}.`);
      },
      refuse: (cause, offset) => {
        throw new RingsideError(STEP, `${file}, near byte ${offset}`, `${EXPECTED}.`, { cause });
      },
    },
    PART_LIMIT,
  );
}

/**
 * YAML as kubectl prints it is cut at the lines that start an item, so that items are parsed one by one; YAML of
 * another layout is parsed document by document.
 */
class YamlReader {
  private readonly decoder = new TextDecoder("utf-8", { fatal: true });
  private size = 0;
  /** The last line, as far as it has come. */
  private rest = "";
  private line = 1;
  /** The lines of the list itself, each at its place: those of its items are empty. */
  private list: string[] = [];
  private listLine = 1;
  private item: string[] | undefined;
  private itemLine = 1;
  /** The list's last key was "items". */
  private inItems = false;
  /** What the list has said of itself before its items. */
  private kind: { apiVersion?: string; kind?: string } = {};

  constructor(
    private readonly file: string,
    private readonly items: Items,
  ) {}

  write(chunk: Uint8Array): void {
    this.size += chunk.length;
    if (this.size > YAML_LIMIT) {
      const object = `${this.file} is YAML of more than ${YAML_LIMIT >> 20} MiB`;
      throw new RingsideError(STEP, object, JSON_REMEDY);
    }
    const lines = (this.rest + this.decode(chunk)).split(/\r?\n/);
    this.rest = lines.pop() ?? "";
    for (const line of lines) this.take(line);
  }

  end(): void {
    this.take(this.rest + this.decode());
    this.endDocument();
  }

  private decode(chunk?: Uint8Array): string {
    try {
      return this.decoder.decode(chunk, { stream: chunk !== undefined });
    } catch (cause) {
      this.refuse(cause, this.line);
    }
  }

  private take(line: string): void {
    if (/^(---|\.\.\.)(\s|$)/.test(line)) {
      this.endDocument();
      this.listLine = this.line;
      this.list.push(line.startsWith("---") ? line.slice(3) : "");
    } else if (this.inItems && /^-(\s|$)/.test(line)) {
      this.endItem();
      this.item = [line];
      this.itemLine = this.line;
      this.list.push("");
    } else if (this.item !== undefined && /^([\s#]|$)/.test(line)) {
      this.item.push(line);
      this.list.push("");
    } else {
      this.endItem();
      if (/^[^\s#]/.test(line)) this.inItems = /^items:\s*(#.*)?$/.test(line);
      const [, key, value] = /^(apiVersion|kind):\s*["']?([\w./]+)/.exec(line) ?? [];
      if (key !== undefined) this.kind = { ...this.kind, [key]: value };
      this.list.push(line);
    }
    this.line++;
  }

  private endItem(): void {
    if (this.item === undefined) return;
    const [item] = this.parse(this.item, this.itemLine) as [unknown];
    this.item = undefined;
    this.items.add(item, { apiVersion: this.kind.apiVersion, kind: this.kind.kind });
  }

  private endDocument(): void {
    this.endItem();
    const lines = this.list;
    this.list = [];
    this.inItems = false;
    this.kind = {};
    if (lines.every((line) => /^\s*(#.*)?$/.test(line))) return;
    const list = this.parse(lines, this.listLine);
    this.items.checkList(list);
    const { apiVersion, kind, items } = list as Record<string, unknown>;
    if (Array.isArray(items)) for (const item of items) this.items.add(item, { apiVersion, kind });
  }

  private parse(lines: string[], firstLine: number): unknown {
    const text = lines.join("\n");
    if (text.length > YAML_PART_LIMIT) {
      const object = `${this.file}, line ${firstLine} starts an item or list of more than ${YAML_PART_LIMIT >> 20} MiB`;
      throw new RingsideError(STEP, object, JSON_REMEDY);
    }
    const lineCounter = new LineCounter();
    const document = parseDocument(text, { lineCounter, prettyErrors: false, logLevel: "silent" });
    const [error] = document.errors;
    if (error !== undefined) this.refuse(error, firstLine + lineCounter.linePos(error.pos[0]).line - 1);
    try {
      return document.toJS({ maxAliasCount: 100 });
    } catch (cause) {
      this.refuse(cause, firstLine);
    }
  }

  private refuse(cause: unknown, line: number): never {
    throw new RingsideError(STEP, `${this.file}, line ${line}`, `${EXPECTED}.`, { cause });
  }
}
