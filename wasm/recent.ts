import { allocate, free, Table, table } from "./memory";

/**
 * Rows of which only so many are kept: what the world outside can make any number of, and what may be learnt again. When
 * there is no room, one goes that nobody has asked for since its last turn. A row is its key, then its place, then what
 * it says.
 */

@unmanaged
class Place {
  next: usize;
  prev: usize;
  /** Somebody asked for it since its last turn. */
  asked: u32;
}

export const PLACE: usize = offsetof<Place>();
/** A few MB at most. The kernel side tells a cgroup again when it has told 4,096 others: it must not forget later. */
const MOST: u32 = 16_384;

@unmanaged
export class Recent {
  rows: Table;
  /** Bytes of a key, and of a row. */
  key: usize;
  bytes: usize;
  /** The row whose turn is next. */
  first: usize;
  last: usize;

  /** The row with that key, or 0. */
  find(key: usize): usize {
    const row = this.rows.find(key, this.key);
    if (row) this.place(row).asked = 1;
    return row;
  }

  /** The row with that key, made where there was none. */
  get(key: usize): usize {
    const known = this.find(key);
    if (known) return known;
    if (this.rows.count == MOST) this.forget();
    const row = allocate(this.bytes);
    memory.copy(row, key, this.key);
    this.rows.add(row, this.key);
    this.append(row);
    return row;
  }

  remove(row: usize): void {
    this.rows.remove(row, this.key);
    this.take(row);
    free(row, this.bytes);
  }

  next(row: usize): usize {
    return this.place(row).next;
  }

  private place(row: usize): Place {
    return changetype<Place>(row + this.key);
  }

  private forget(): void {
    let row = this.first;
    for (; this.place(row).asked; row = this.first) {
      this.place(row).asked = 0;
      this.take(row);
      this.append(row);
    }
    this.remove(row);
  }

  private append(row: usize): void {
    this.place(row).next = 0;
    this.place(row).prev = this.last;
    if (this.last) this.place(this.last).next = row;
    else this.first = row;
    this.last = row;
  }

  private take(row: usize): void {
    const next = this.place(row).next;
    const prev = this.place(row).prev;
    if (prev) this.place(prev).next = next;
    else this.first = next;
    if (next) this.place(next).prev = prev;
    else this.last = prev;
  }
}

/** `key` and `bytes`: of a key and of a row. */
export function recent(key: usize, bytes: usize): Recent {
  const made = changetype<Recent>(allocate(offsetof<Recent>()));
  made.rows = table();
  made.key = key;
  made.bytes = bytes;
  return made;
}
