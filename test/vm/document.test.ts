import { expect, test } from "bun:test";
import { putRow } from "./document.ts";

const text = `\
Before.

| machine | fentry |
|---|---|
| 5.10 | exact |
| 6.1 | exact |

After.
`;

test("a row takes the place of the machine's last one", () => {
  expect(putRow(text, ["machine", "fentry"], ["5.10", "2 differ"])).toBe(
    text.replace("| 5.10 | exact |", "| 5.10 | 2 differ |"),
  );
});

test("a new machine's row stands at the end", () => {
  expect(putRow(text, ["machine", "fentry"], ["7.x", "exact"])).toBe(
    text.replace("| 6.1 | exact |\n", "| 6.1 | exact |\n| 7.x | exact |\n"),
  );
});

test("another table is not touched, and a missing one is an error", () => {
  expect(() => putRow(text, ["machine", "kprobe"], ["6.1", "exact"])).toThrow("has no table of machine, kprobe");
});
