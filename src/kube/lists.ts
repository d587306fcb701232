import { grown } from "./table.ts";

/** Lists by number, packed, of other numbers, of which each is in one list at most. -1 is the end of each. */
export class Lists {
  /** By list, and by number: 1 and the first, or the next. */
  private heads = new Uint32Array();
  private nexts = new Uint32Array();

  /** The one that was added last. */
  first(list: number): number {
    return (this.heads[list] ?? 0) - 1;
  }

  next(number: number): number {
    return this.nexts[number]! - 1;
  }

  *of(list: number): Generator<number> {
    for (let at = this.first(list); at >= 0; at = this.next(at)) yield at;
  }

  add(list: number, number: number): void {
    this.heads = grown(this.heads, list);
    this.nexts = grown(this.nexts, number);
    this.nexts[number] = this.heads[list]!;
    this.heads[list] = number + 1;
  }

  /** @param number is in that list */
  remove(list: number, number: number): void {
    const after = this.nexts[number]!;
    if (this.first(list) === number) {
      this.heads[list] = after;
      return;
    }
    let before = this.first(list);
    while (this.next(before) !== number) before = this.next(before);
    this.nexts[before] = after;
  }
}
