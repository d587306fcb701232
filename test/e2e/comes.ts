import { expect } from "bun:test";

/** Asks until the answer is as expected; what it is after so many milliseconds has to be. */
export async function comesTo(expected: unknown, ask: () => Promise<unknown>, patience = 30_000): Promise<void> {
  const end = Date.now() + patience;
  let answer = await ask();
  while (!Bun.deepEquals(answer, expected) && Date.now() < end) {
    await Bun.sleep(250);
    answer = await ask();
  }
  expect(answer).toEqual(expected);
}
