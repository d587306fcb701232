import { expect, test } from "bun:test";
import { pictureOf } from "./picture.ts";

const rows = (screen: string) => [...pictureOf(screen).matchAll(/<text.*?>(.*)<\/text>/g)].map(([, row]) => row);

test("each line that is not empty is a row, with what XML reserves escaped", () => {
  expect(rows('a -> b\n\n"<&>"')).toEqual(["a -&gt; b", "&quot;&lt;&amp;&gt;&quot;"]);
});

test("colours become styles, and their end ends them", () => {
  expect(rows("a \x1b[1;32mgood\x1b[0m day\x1b[90m.\x1b[39m")).toEqual([
    'a <tspan style="font-weight:bold;fill:#7ee787">good</tspan> day<tspan style="fill:#8b949e">.</tspan>',
  ]);
});

test("the card is as wide as the longest line and as high as there are lines, colours not counted", () => {
  const size = /width="(\d+)" height="(\d+)" viewBox="0 0 \1 \2"/;
  expect(pictureOf(`${"x".repeat(100)}\n\x1b[32my\x1b[0m`)).toMatch(size);
  expect(size.exec(pictureOf(`${"x".repeat(100)}\n\x1b[32my\x1b[0m`))?.slice(1)).toEqual(["819", "73"]);
});
