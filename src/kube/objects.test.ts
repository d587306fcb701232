import { expect, test } from "bun:test";
import { type Entry, Objects, type PodShape } from "./objects.ts";

const none = {
  node: "",
  owner: undefined,
  addresses: [],
  startedAt: undefined,
  readyAt: undefined,
  endedAt: undefined,
};
const service = (name: string): Entry => {
  const row = { type: "service", key: `shop/${name}`, namespace: "shop", name } as const;
  return { ...none, shape: { ...row, addresses: [], selector: [], ports: [] }, owner: 7 };
};
const pod = (workload: string, more: Partial<Entry> = {}): Entry => {
  const shape = { type: "pod", namespace: "shop", workload, kind: "Deployment", hostNetwork: false, finished: false };
  return { ...none, shape: { ...shape, labels: [], ports: [], name: undefined } as PodShape, owner: 0, ...more };
};
const uid = "0b5c2ad0-5a3e-4c4e-9a54-1df5f0b0f0a1";

test("objects are kept as they were, and told apart by type and key", () => {
  const objects = new Objects();
  const entries: [key: string, entry: Entry][] = [
    ["shop/web", service("web")],
    // What a pod's uid may be where it is read from a file.
    ["service shop/web", pod("web")],
    ["shop/web", pod("api", { node: "node-1", addresses: [0, 1, 2, 3], startedAt: 0, readyAt: -1, endedAt: 2.5 })],
    [uid, pod("web", { node: "node-1", addresses: [4] })],
  ];
  const numbers = entries.map(([key, entry]) => objects.put(key, entry));
  expect(new Set(numbers).size).toBe(entries.length);
  entries.forEach(([key, entry], i) => {
    expect(objects.find(entry.shape.type, key)).toBe(numbers[i]!);
    expect(objects.find(entry.shape.type, objects.key(numbers[i]!))).toBe(numbers[i]!);
    expect(objects.get(numbers[i]!)).toEqual(entry);
    expect(objects.has(numbers[i]!, entry)).toBe(true);
  });
  expect(objects.shapeNumber(numbers[1]!)).toBe(objects.shapeNumber(numbers[3]!));
  expect(objects.shapeNumber(numbers[1]!)).not.toBe(objects.shapeNumber(numbers[2]!));
  expect(objects.key(numbers[3]!)).toBe(uid);
  expect(objects.find("node", "shop/web")).toBeUndefined();
  expect(objects.counts).toEqual({ pod: 3, service: 1, node: 0 });
  expect([...objects.all("pod")]).toEqual(numbers.slice(1));
});

test("an object that changes is another in any of its fields, and one that goes leaves nothing", () => {
  const objects = new Objects();
  const before = pod("web", { node: "node-1", addresses: [4, 5, 6], startedAt: 1 });
  const others: Entry[] = [
    pod("api", { node: "node-1", addresses: [4, 5, 6], startedAt: 1 }),
    { ...before, node: "node-2" },
    { ...before, node: "" },
    { ...before, owner: 1 },
    { ...before, owner: undefined },
    { ...before, addresses: [4, 5] },
    { ...before, addresses: [4, 5, 7] },
    { ...before, startedAt: undefined },
    { ...before, readyAt: 1 },
    { ...before, endedAt: 0 },
  ];
  const number = objects.put(uid, before);
  for (const other of others) {
    expect(objects.has(number, other)).toBe(false);
    expect(objects.put(uid, other)).toBe(number);
    expect(objects.get(number)).toEqual(other);
  }
  objects.remove(number);
  expect(objects.find("pod", uid)).toBeUndefined();
  expect(objects.counts).toEqual({ pod: 0, service: 0, node: 0 });
  const next = pod("web");
  expect(objects.put("another", next)).toBe(number);
  expect(objects.get(number)).toEqual(next);
});
