import { expect, test } from "bun:test";
import { Lines } from "./lines.ts";

/** The lines of a text that comes in parts of so many bytes; "!" for one of more than 10. */
function cut(text: string, size: number): { lines: string[]; ended: boolean } {
  const bytes = new TextEncoder().encode(text);
  const lines: string[] = [];
  const reader = new Lines(
    10,
    (line) => lines.push(line),
    () => lines.push("!"),
  );
  for (let at = 0; at < bytes.length; at += size) reader.write(bytes.subarray(at, at + size));
  return { lines, ended: reader.end() };
}

for (const size of [1, 2, 3, 7, 100]) {
  test(`lines in parts of ${size}`, () => {
    expect(cut("one\n\ntwo é\nthree", size)).toEqual({ lines: ["one", "two é"], ended: false });
    expect(cut("0123456789\n0123456789a\n0123456789abcdef\nnext\n", size)).toEqual({
      lines: ["0123456789", "!", "!", "next"],
      ended: true,
    });
    expect(cut("0123456789abc", size)).toEqual({ lines: ["!"], ended: false });
  });
}
