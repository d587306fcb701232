/** Values that many have, each once and by a number, for as long as somebody has it. */
export class Pool<T> {
  private readonly values: (T | undefined)[] = [];
  private readonly texts: (string | undefined)[] = [];
  private readonly users: number[] = [];
  private readonly numbers = new Map<string, number>();
  private readonly free: number[] = [];

  /** One more has it. @param text equal for equal values; undefined: nobody else will have it */
  add(value: T, text: string | undefined): number {
    const known = text === undefined ? undefined : this.numbers.get(text);
    if (known !== undefined) {
      this.users[known]!++;
      return known;
    }
    const number = this.free.pop() ?? this.values.length;
    this.values[number] = value;
    this.texts[number] = text;
    this.users[number] = 1;
    if (text !== undefined) this.numbers.set(text, number);
    return number;
  }

  get(number: number): T {
    return this.values[number] as T;
  }

  /** One has it no more. */
  drop(number: number): void {
    if (--this.users[number]! > 0) return;
    const text = this.texts[number];
    if (text !== undefined) this.numbers.delete(text);
    this.values[number] = undefined;
    this.texts[number] = undefined;
    this.free.push(number);
  }
}
