import { allocate, free, Numbers, table } from "./memory";

/**
 * The texts of labels, each once and by a number. A text is {u32 length, bytes} and zeros up to a multiple of 8, which
 * is its key; its number follows. They are escaped as a label's value stands between its quotes.
 */

const texts = table();
const numbers = changetype<Numbers>(memory.data(offsetof<Numbers>()));

/** These are of no owner, and stay. */
export const EMPTY: u32 = own("");
export const OTHER: u32 = own("other");
export const NAMESPACE: u32 = own("Namespace");

function own(value: string): u32 {
  const at = memory.data(32, 8);
  memory.fill(at, 0, 32);
  store<u32>(at, value.length);
  for (let i = 0; i < value.length; i++) store<u8>(at + 4 + i, value.charCodeAt(i));
  return numberOf(at);
}

function keyBytes(text: usize): usize {
  return (4 + load<u32>(text) + 7) & ~7;
}

/** The number of a text that has 8 zeros behind it. */
export function numberOf(text: usize): u32 {
  const bytes = keyBytes(text);
  const known = texts.find(text, bytes);
  if (known) return load<u32>(known + bytes);
  const kept = allocate(bytes + 4);
  memory.copy(kept, text, bytes);
  texts.add(kept, bytes);
  const number = numbers.give(kept);
  store<u32>(kept + bytes, number);
  return number;
}

export function textOf(number: u32): usize {
  return numbers.at(number);
}

/** All numbers of texts are below. */
export function textLimit(): u32 {
  return numbers.limit;
}

/** Frees the texts without a mark: `marks` has a byte for each number. */
export function freeTexts(marks: usize): void {
  for (let number = NAMESPACE + 1; number < numbers.limit; number++) {
    if (load<u8>(marks + number) || !numbers.has(number)) continue;
    const text = numbers.at(number);
    const bytes = keyBytes(text);
    texts.remove(text, bytes);
    numbers.take(number);
    free(text, bytes + 4);
  }
}
