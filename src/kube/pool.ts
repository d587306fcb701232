import { grown } from "./table.ts";

/** Texts that many have, each once and by a number, for as long as somebody has it. */
export class Pool {
  private readonly texts: (string | undefined)[] = [];
  private users = new Uint32Array();
  private readonly numbers = new Map<string, number>();
  private readonly free: number[] = [];

  /** One more has it. @param isShared others may have it, too */
  add(text: string, isShared = true): number {
    const known = isShared ? this.numbers.get(text) : undefined;
    if (known !== undefined) {
      this.users[known]!++;
      return known;
    }
    const number = this.free.pop() ?? this.texts.length;
    this.users = grown(this.users, number);
    this.texts[number] = text;
    this.users[number] = 1;
    if (isShared) this.numbers.set(text, number);
    return number;
  }

  get(number: number): string {
    return this.texts[number]!;
  }

  /** One has it no more. */
  drop(number: number): void {
    if (--this.users[number]! > 0) return;
    const text = this.texts[number]!;
    if (this.numbers.get(text) === number) this.numbers.delete(text);
    this.texts[number] = undefined;
    this.free.push(number);
  }
}
