import { describe, expect, test } from "bun:test";
import { Keys } from "./keys.ts";
import { Table } from "./table.ts";

describe("keys", () => {
  test("of both forms are found, by themselves and as UUIDs, and others are not", () => {
    const keys = new Keys();
    const texts = [
      "0b5c2ad0-5a3e-4c4e-9a54-1df5f0b0f0a1",
      "00000000-0000-0000-0000-000000000000",
      "ffffffff-ffff-ffff-ffff-ffffffffffff",
      "0B5C2AD0-5A3E-4C4E-9A54-1DF5F0B0F0A1",
      "0b5c2ad05-a3e-4c4e-9a54-1df5f0b0f0a1",
      "0b5c2ad0-5a3e-4c4e-9a54-1df5f0b0f0ag",
      "shop/web",
      "",
    ];
    const numbers = texts.map((text) => keys.add(text));
    expect(new Set(numbers).size).toBe(texts.length);
    expect(texts.map((text) => keys.add(text))).toEqual(numbers);
    const uuids = numbers.map((number) => keys.key(number));
    expect(uuids.slice(0, 3)).toEqual(texts.slice(0, 3));
    for (const uuid of uuids) expect(uuid).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(uuids.map((uuid) => keys.find(uuid))).toEqual(numbers);
    expect(keys.find("shop/api")).toBeUndefined();
    expect(keys.find("0b5c2ad0-5a3e-4c4e-9a54-1df5f0b0f0a2")).toBeUndefined();
    expect(keys.size).toBe(texts.length);
  });

  test("of one space are none of another", () => {
    const keys = new Keys();
    const texts = ["shop/web", "0b5c2ad0-5a3e-4c4e-9a54-1df5f0b0f0a1"];
    const numbers = [1, 2].flatMap((space) => texts.map((text) => keys.add(text, space)));
    expect(numbers).toEqual([0, 1, 2, 3]);
    expect(keys.key(3, 2)).toBe(texts[1]!);
    expect(keys.find(keys.key(2, 2), 2)).toBe(2);
    expect(keys.find(texts[0]!, 3)).toBeUndefined();
  });

  test("that come and go keep their numbers, and those of others are used again", () => {
    const keys = new Keys();
    const known = new Map<string, number>();
    let state = 1;
    const random = (below: number): number => {
      state = Math.imul(state, 48271) % 0x7fffffff;
      return Math.abs(state) % below;
    };
    for (let step = 0; step < 100_000; step++) {
      const i = random(5000);
      const key = i % 3 === 0 ? `shop/web-${i}` : `0b5c2ad0-5a3e-4c4e-9a54-${i.toString(16).padStart(12, "0")}`;
      const number = known.get(key);
      expect(keys.find(key)).toBe(number);
      if (number === undefined) {
        known.set(key, keys.add(key));
      } else if (random(2) === 0) {
        keys.remove(number);
        known.delete(key);
      }
    }
    expect(keys.size).toBe(known.size);
    expect([...keys.numbers()]).toEqual([...known.values()].sort((a, b) => a - b));
    for (const [key, number] of known) if (key.startsWith("0b")) expect(keys.key(number)).toBe(key);
    expect(Math.max(...known.values())).toBeLessThan(5000);
  });
});

test("a table of 100,000 keys finds each, and none of the removed half", () => {
  const table = new Table();
  const key = (i: number): Uint32Array => Uint32Array.of(0, 0, 0xffff, i);
  for (let i = 0; i < 100_000; i++) expect(table.add(key(i))).toBe(i);
  for (let i = 0; i < 100_000; i += 2) table.remove(i);
  for (let i = 0; i < 100_000; i++) expect(table.find(key(i))).toBe(i % 2 === 0 ? undefined : i);
  expect(table.size).toBe(50_000);
});
