import { Table } from "./table.ts";

/** Dense numbers for objects' keys. Those that are UUIDs, as pods' are, take 16 bytes each. */
export class Keys {
  private readonly table = new Table();
  private readonly texts = new Map<string, number>();
  private readonly textOf = new Map<number, string>();

  get size(): number {
    return this.table.size;
  }

  find(key: string): number | undefined {
    return isUuid(key) ? this.table.find(words) : this.texts.get(key);
  }

  /** The number of a key, which it is given where it has none. */
  add(key: string): number {
    const known = this.find(key);
    if (known !== undefined) return known;
    if (isUuid(key)) return this.table.add(words);
    const number = this.table.take();
    this.texts.set(key, number);
    this.textOf.set(number, key);
    return number;
  }

  remove(number: number): void {
    const text = this.textOf.get(number);
    this.table.remove(number, text === undefined);
    if (text === undefined) return;
    this.texts.delete(text);
    this.textOf.delete(number);
  }

  key(number: number): string {
    const text = this.textOf.get(number);
    if (text !== undefined) return text;
    this.table.key(number, words);
    return uuidOf(words);
  }

  /** Some may go meanwhile. */
  numbers(): Iterable<number> {
    return this.table.numbers();
  }
}

const words = new Uint32Array(4);

/** Whether it is a UUID in lower case, which is written to `words` then. */
export function isUuid(text: string): boolean {
  if (text.length !== 36) return false;
  let digits = 0;
  let word = 0;
  for (let i = 0; i < 36; i++) {
    const code = text.charCodeAt(i);
    if (i === 8 || i === 13 || i === 18 || i === 23) {
      if (code !== 45) return false;
      continue;
    }
    const isDigit = code >= 48 && code <= 57;
    if (!isDigit && (code < 97 || code > 102)) return false;
    word = (word << 4) | (code - (isDigit ? 48 : 87));
    digits++;
    if (digits % 8 === 0) words[digits / 8 - 1] = word;
  }
  return true;
}

function uuidOf(key: Uint32Array): string {
  const hex = Array.from(key, (word) => word.toString(16).padStart(8, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
