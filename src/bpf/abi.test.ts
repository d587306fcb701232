import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { generated, objects, readAbi, top } from "../../hack/lib/generate.ts";

const built = objects();

describe("the ABI", () => {
  test("is in all three backends' objects", () => {
    expect(built.map((path) => basename(path))).toEqual(
      expect.arrayContaining(["fentry.bpf.o", "kprobe.bpf.o", "tracepoint.bpf.o"]),
    );
  });

  for (const object of built) {
    for (const [path, text] of generated(readAbi(object))) {
      test(`in ${path} is that of ${basename(object)}`, () => {
        expect(readFileSync(join(top, path), "utf8")).toBe(text);
      });
    }
  }

  test("has a record of 208 bytes with its buckets at the end", () => {
    const record = readAbi(built[0]!).structs.find(({ name }) => name === "record")!;
    expect(record.size).toBe(208);
    expect(record.fields.at(-1)).toEqual({ name: "buckets", offset: 136, count: 18 });
  });
});
