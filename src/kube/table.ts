/** As many numbers as there is room for at first. */
const FIRST = 1024;
/** So that nobody who chooses keys knows where they go. */
const SEED = Math.floor(Math.random() * 2 ** 32);

/** What is kept by number: places that were never written are 0. */
type Column =
  | Uint8Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>
  | BigUint64Array<ArrayBuffer>;

/** The column, or where it does not reach to that number, a larger one with all that it has: itself is empty then. */
export function grown<T extends Column>(column: T, number: number): T {
  const { length, BYTES_PER_ELEMENT: bytes } = column;
  if (number < length) return column;
  const larger = Math.max(FIRST, length + (length >> 2), number + 1);
  return new (column.constructor as new (buffer: ArrayBuffer) => T)(column.buffer.transfer(larger * bytes));
}

/**
 * Dense numbers for keys of 16 bytes, packed, outside of what the garbage collector walks: some 24 bytes a key. Numbers of
 * keys that are gone are given again.
 */
export class Table {
  /** All numbers are below. */
  limit = 0;
  size = 0;
  /** By number, the key's four words; in the first of a free number, 1 and the number that became free before it. */
  private words = new Uint32Array(4 * FIRST);
  private used = new Uint8Array(FIRST);
  private free = 0;
  /** Open addressing: 1 and a number, 0 where there is none. */
  private slots = new Uint32Array(2 * FIRST);

  /** @param key four words */
  find(key: Uint32Array): number | undefined {
    const { words, slots } = this;
    const mask = slots.length - 1;
    for (let slot = hash(key, 0) & mask; ; slot = (slot + 1) & mask) {
      const found = slots[slot]!;
      if (found === 0) return undefined;
      const at = 4 * (found - 1);
      if (words[at] === key[0] && words[at + 1] === key[1] && words[at + 2] === key[2] && words[at + 3] === key[3]) {
        return found - 1;
      }
    }
  }

  /** A number for a key that has none yet. */
  add(key: Uint32Array): number {
    const number = this.take();
    this.words.set(key, 4 * number);
    if (3 * this.size > 2 * this.slots.length) this.double();
    this.place(number);
    return number;
  }

  /** A number without a key. */
  take(): number {
    const number = this.free > 0 ? this.free - 1 : this.limit++;
    this.words = grown(this.words, 4 * number + 3);
    this.used = grown(this.used, number);
    if (this.free > 0) this.free = this.words[4 * number]!;
    this.used[number] = 1;
    this.size++;
    return number;
  }

  /** @param keyed it has a key */
  remove(number: number, keyed = true): void {
    if (keyed) this.displace(number);
    this.words[4 * number] = this.free;
    this.free = number + 1;
    this.used[number] = 0;
    this.size--;
  }

  has(number: number): boolean {
    return this.used[number] === 1;
  }

  /** Writes the key to four words. */
  key(number: number, words: Uint32Array): void {
    for (let i = 0; i < 4; i++) words[i] = this.words[4 * number + i]!;
  }

  *numbers(): Generator<number> {
    for (let number = 0; number < this.limit; number++) if (this.has(number)) yield number;
  }

  private place(number: number): void {
    const mask = this.slots.length - 1;
    let slot = hash(this.words, 4 * number) & mask;
    while (this.slots[slot] !== 0) slot = (slot + 1) & mask;
    this.slots[slot] = number + 1;
  }

  /** Empties its slot; the ones behind move up, so that no slot is ever dead. */
  private displace(number: number): void {
    const { words, slots } = this;
    const mask = slots.length - 1;
    let hole = hash(words, 4 * number) & mask;
    while (slots[hole] !== number + 1) hole = (hole + 1) & mask;
    for (let slot = (hole + 1) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const home = hash(words, 4 * (slots[slot]! - 1)) & mask;
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      slots[hole] = slots[slot]!;
      hole = slot;
    }
    slots[hole] = 0;
  }

  private double(): void {
    const before = this.slots;
    this.slots = new Uint32Array(2 * before.length);
    for (const found of before) if (found !== 0) this.place(found - 1);
  }
}

function hash(words: Uint32Array, at: number): number {
  let all = SEED;
  for (let i = at; i < at + 4; i++) {
    all = Math.imul(all ^ words[i]!, 0x9e3779b1);
    all ^= all >>> 15;
  }
  return Math.imul(all, 0x85ebca6b) >>> 7;
}
