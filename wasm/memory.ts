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
/** Memory grows by at least 1 MiB. */
const STEP: i32 = 16;

const freed = memory.data(4 * (2048 / 16 + 32 + 1));
let top: usize = (__heap_base + LINE - 1) & ~(LINE - 1);

// @ts-ignore: decorator
@inline
function rounded(bytes: usize): usize {
  return bytes <= SMALL ? (bytes + GRAIN - 1) & ~(GRAIN - 1) : (<usize>1) << (32 - clz<u32>(<u32>(bytes - 1)));
}

// @ts-ignore: decorator
@inline
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
  if (missing > 0 && memory.grow(max(missing, STEP)) < 0) unreachable();
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

/**
 * Open addressing over rows that live elsewhere and begin with their key (`bytes` long, a multiple of 8).
 * A slot is {u32 hash, u32 row}: a look-up touches the slot's cache line and the row's.
 */
@unmanaged
export class Table {
  slots: usize;
  mask: u32;
  count: u32;
}

const FIRST_SLOTS: u32 = 1024;

// @ts-ignore: decorator
@inline
function hashOf(key: usize, bytes: usize): u32 {
  let hash = load<u64>(key) * 0x9e3779b97f4a7c15;
  for (let i: usize = 8; i < bytes; i += 8) hash = (rotl<u64>(hash, 29) ^ load<u64>(key + i)) * 0x9e3779b97f4a7c15;
  // The highest bits of the key reached only the highest of the product.
  return <u32>(((hash ^ (hash >> 32)) * 0xd6e8feb86659fd93) >> 32);
}

// @ts-ignore: decorator
@inline
function same(a: usize, b: usize, bytes: usize): bool {
  if (load<u64>(a) != load<u64>(b)) return false;
  for (let i: usize = 8; i < bytes; i += 8) if (load<u64>(a + i) != load<u64>(b + i)) return false;
  return true;
}

export function table(): Table {
  const made = changetype<Table>(allocate(offsetof<Table>()));
  made.slots = allocate(FIRST_SLOTS * 8);
  made.mask = FIRST_SLOTS - 1;
  return made;
}

/** The row with that key, or 0. */
// @ts-ignore: decorator
@inline
export function find(t: Table, key: usize, bytes: usize): usize {
  const hash = hashOf(key, bytes);
  const mask = t.mask;
  let i = hash & mask;
  let found: usize = 0;
  while (true) {
    const slot = load<u64>(t.slots + i * 8);
    const row = <usize>(slot >> 32);
    if (!row) break;
    if (<u32>slot == hash && same(row, key, bytes)) {
      found = row;
      break;
    }
    i = (i + 1) & mask;
  }
  return found;
}

function place(slots: usize, mask: u32, slot: u64): void {
  let i = <u32>slot & mask;
  while (load<u64>(slots + i * 8)) i = (i + 1) & mask;
  store<u64>(slots + i * 8, slot);
}

/** Adds a row that begins with its key, which must not be there yet. */
export function add(t: Table, row: usize, bytes: usize): void {
  if (++t.count * 3 > t.mask * 2) {
    const slots = allocate((<usize>t.mask + 1) * 16);
    for (let i: u32 = 0; i <= t.mask; i++) {
      const slot = load<u64>(t.slots + i * 8);
      if (slot) place(slots, t.mask * 2 + 1, slot);
    }
    free(t.slots, (<usize>t.mask + 1) * 8);
    t.slots = slots;
    t.mask = t.mask * 2 + 1;
  }
  place(t.slots, t.mask, ((<u64>row) << 32) | hashOf(row, bytes));
}

/** Removes a row that is there; the ones behind it move up, so that no slot is ever dead. */
export function remove(t: Table, row: usize, bytes: usize): void {
  const mask = t.mask;
  let hole = hashOf(row, bytes) & mask;
  while (<usize>(load<u64>(t.slots + hole * 8) >> 32) != row) hole = (hole + 1) & mask;
  for (let i = (hole + 1) & mask; load<u64>(t.slots + i * 8); i = (i + 1) & mask) {
    const slot = load<u64>(t.slots + i * 8);
    if (((i - <u32>slot) & mask) < ((i - hole) & mask)) continue;
    store<u64>(t.slots + hole * 8, slot);
    hole = i;
  }
  store<u64>(t.slots + hole * 8, 0);
  t.count--;
}

/** The row in a slot (0 to mask), or 0. */
// @ts-ignore: decorator
@inline
export function rowAt(t: Table, slot: u32): usize {
  return <usize>(load<u64>(t.slots + slot * 8) >> 32);
}
