/**
 * Linear memory as blocks, and hash tables made of them. Nothing is collected: a block lives until it is freed.
 *
 *   static data | blocks ... top | not yet grown
 *
 * Blocks are zeroed, multiples of 16 bytes up to 2 KiB and powers of two above; a freed one serves the next of its size.
 */

const GRAIN: usize = 16;
const LINE: usize = 64;
const SMALL: usize = 2048;
const PAGE: usize = 65536;
/** Memory grows by at least 1 MiB, and by an eighth: to JavaScript's collector each growth is new memory, all of it. */
const STEP: i32 = 16;

const freed = memory.data(4 * (2048 / 16 + 32 + 1));
let top: usize = (__heap_base + LINE - 1) & ~(LINE - 1);

function rounded(bytes: usize): usize {
  return bytes <= SMALL ? (bytes + GRAIN - 1) & ~(GRAIN - 1) : (<usize>1) << (32 - clz<u32>(<u32>(bytes - 1)));
}

function listOf(size: usize): usize {
  return freed + 4 * (size <= SMALL ? size / GRAIN : SMALL / GRAIN + ctz<u32>(<u32>size));
}

/** A zeroed block; one whose size is a multiple of 64 begins on a cache line. Traps when memory is at its end. */
export function allocate(bytes: usize): usize {
  const size = rounded(bytes);
  const list = listOf(size);
  const block = load<usize>(list);
  if (block) {
    store<usize>(list, load<usize>(block));
    memory.fill(block, 0, size);
    return block;
  }
  if (!(size & (LINE - 1))) top = (top + LINE - 1) & ~(LINE - 1);
  const fresh = top;
  top += size;
  const missing = <i32>((top + PAGE - 1) / PAGE) - memory.size();
  if (missing > 0 && memory.grow(max(missing, max(STEP, memory.size() / 8))) < 0) unreachable();
  return fresh;
}

/** Gives a block back; `bytes` is what it was allocated with. */
export function free(block: usize, bytes: usize): void {
  const list = listOf(rounded(bytes));
  store<usize>(block, load<usize>(list));
  store<usize>(list, block);
}

/** An area that only grows. What was in it is lost when it does, unless `kept` says how much to carry over. */
@unmanaged
export class Area {
  start: usize;
  size: usize;

  reserve(bytes: usize, kept: usize = 0): usize {
    if (bytes > this.size) {
      const start = allocate(bytes);
      memory.copy(start, this.start, kept);
      if (this.size) free(this.start, this.size);
      this.start = start;
      this.size = rounded(bytes);
    }
    return this.start;
  }
}

/** Numbers for blocks, dense: one that was taken back is given again. */
@unmanaged
export class Numbers extends Area {
  /** All numbers are below. */
  limit: u32;
  /** 1 and the number that was taken back last, whose place has the one before it, above a lowest bit that is set. */
  private last: u32;

  give(block: usize): u32 {
    const number = this.last ? this.last - 1 : this.limit++;
    if (this.last) this.last = load<u32>(this.start + number * 4) >> 1;
    if (<usize>this.limit * 4 > this.size) this.reserve(max<usize>(1024, this.size * 2), this.size);
    store<usize>(this.start + number * 4, block);
    return number;
  }

  take(number: u32): void {
    store<u32>(this.start + number * 4, (this.last << 1) | 1);
    this.last = number + 1;
  }

  /** The block of a number that was given. */
  @inline
  at(number: u32): usize {
    return load<usize>(this.start + number * 4);
  }

  has(number: u32): bool {
    return (this.at(number) & 1) == 0;
  }
}

/**
 * Open addressing over rows that live elsewhere and begin with their key (`bytes` long, a multiple of 8).
 * A slot is {u32 hash, u32 row}: a look-up touches the slot's cache line and the row's.
 */
@unmanaged
export class Table {
  slots: usize;
  mask: u32;
  count: u32;

  /** The row with that key, or 0. Inline, so that a constant `bytes` leaves no loop over the key. */
  @inline
  find(key: usize, bytes: usize): usize {
    const hash = Table.hash(key, bytes);
    const mask = this.mask;
    let i = hash & mask;
    let found: usize = 0;
    while (true) {
      const slot = load<u64>(this.slots + i * 8);
      const row = <usize>(slot >> 32);
      if (!row) break;
      if (<u32>slot == hash && Table.same(row, key, bytes)) {
        found = row;
        break;
      }
      i = (i + 1) & mask;
    }
    return found;
  }

  /** Adds a row that begins with its key, which must not be there yet. */
  add(row: usize, bytes: usize): void {
    if (++this.count * 3 > this.mask * 2) this.double();
    this.place(((<u64>row) << 32) | Table.hash(row, bytes));
  }

  /** Removes a row that is there; the ones behind it move up, so that no slot is ever dead. */
  remove(row: usize, bytes: usize): void {
    const slots = this.slots;
    const mask = this.mask;
    let hole = Table.hash(row, bytes) & mask;
    while (this.at(hole) != row) hole = (hole + 1) & mask;
    for (let i = (hole + 1) & mask; this.at(i); i = (i + 1) & mask) {
      const slot = load<u64>(slots + i * 8);
      if (((i - <u32>slot) & mask) < ((i - hole) & mask)) continue;
      store<u64>(slots + hole * 8, slot);
      hole = i;
    }
    store<u64>(slots + hole * 8, 0);
    this.count--;
  }

  /** The row in a slot (0 to mask), or 0. */
  @inline
  at(slot: u32): usize {
    return load<usize>(this.slots + slot * 8, 4);
  }

  private place(slot: u64): void {
    let i = <u32>slot & this.mask;
    while (this.at(i)) i = (i + 1) & this.mask;
    store<u64>(this.slots + i * 8, slot);
  }

  private double(): void {
    const slots = this.slots;
    const count: usize = <usize>this.mask + 1;
    this.slots = allocate(count * 16);
    this.mask = this.mask * 2 + 1;
    for (let i: usize = 0; i < count; i++) {
      const slot = load<u64>(slots + i * 8);
      if (slot) this.place(slot);
    }
    free(slots, count * 8);
  }

  @inline
  private static hash(key: usize, bytes: usize): u32 {
    let hash = load<u64>(key) * 0x9e3779b97f4a7c15;
    for (let i: usize = 8; i < bytes; i += 8) hash = (rotl<u64>(hash, 29) ^ load<u64>(key + i)) * 0x9e3779b97f4a7c15;
    // The highest bits of the key reached only the highest of the product.
    return <u32>(((hash ^ (hash >> 32)) * 0xd6e8feb86659fd93) >> 32);
  }

  @inline
  private static same(a: usize, b: usize, bytes: usize): bool {
    let equal = load<u64>(a) == load<u64>(b);
    for (let i: usize = 8; i < bytes; i += 8) equal = equal && load<u64>(a + i) == load<u64>(b + i);
    return equal;
  }
}

const FIRST_SLOTS: u32 = 1024;

export function table(): Table {
  const made = changetype<Table>(allocate(offsetof<Table>()));
  made.slots = allocate(FIRST_SLOTS * 8);
  made.mask = FIRST_SLOTS - 1;
  return made;
}
