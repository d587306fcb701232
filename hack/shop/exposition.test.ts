import { expect, test } from "bun:test";
import { increases, parse, select, sum } from "./exposition.ts";

const scrape = (text: string) => ({ time: 0, samples: parse(text) });

test("comments are skipped, labels and their escapes are read", () => {
  expect(parse('# HELP a {x="1"} 2\n# TYPE a counter\na_total{x="1",y="q\\"},\\\\"} 2.5e3\nb 7\n')).toEqual([
    { name: "a_total", labels: { x: "1", y: 'q\\"},\\\\' }, value: 2500 },
    { name: "b", labels: {}, value: 7 },
  ]);
});

test("samples are selected by family and by every label that is given", () => {
  const one = scrape('a{x="1",y="1"} 1\na{x="1",y="2"} 10\na{x="2",y="1"} 100\nab{x="1"} 1000');
  expect(select(one, "a", { x: "1", y: "2" }).map(({ value }) => value)).toEqual([10]);
  expect(sum(one, "a", { x: "1" })).toBe(11);
  expect(sum(one, "a", { x: "3" })).toBe(0);
});

test("the first value of a series adds nothing to its increase", () => {
  const scrapes = ['a{x="1"} 5', 'a{x="1"} 7\na{x="2"} 100', 'a{x="1"} 9\na{x="2"} 103'].map(scrape);
  expect(increases(scrapes, "a").map(({ labels, value }) => [labels.x, value])).toEqual([
    ["1", 4],
    ["2", 3],
  ]);
});
