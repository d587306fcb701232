import { Table } from "./table.ts";

/**
 * Dense numbers for objects' keys, of which 16 bytes each are kept: all of a UUID, as a pod's key is, and of any other
 * text a digest, which is the key's UUID from then on.
 */
export class Keys {
  private readonly table = new Table();

  get size(): number {
    return this.table.size;
  }

  /** @param space keys of one are no keys of another */
  find(key: string, space = 0): number | undefined {
    read(key, space);
    return this.table.find(words);
  }

  /** The number of a key, which it is given where it has none. */
  add(key: string, space = 0): number {
    return this.find(key, space) ?? this.table.add(words);
  }

  remove(number: number): void {
    this.table.remove(number);
  }

  has(number: number): boolean {
    return this.table.has(number);
  }

  /** As a UUID, by which it is found as well. */
  key(number: number, space = 0): string {
    this.table.key(number, words);
    words[0]! ^= space;
    return uuidOf(words);
  }

  /** Some may go meanwhile. */
  numbers(): Iterable<number> {
    return this.table.numbers();
  }
}

const digest = new Uint32Array(8);
/** The key that was read last. */
const words = digest.subarray(0, 4);

function read(key: string, space: number): void {
  if (!isUuid(key)) Bun.SHA256.hash(key, digest);
  words[0]! ^= space;
}

/** Whether it is a UUID in lower case, which is written to `words` then. */
function isUuid(text: string): boolean {
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
