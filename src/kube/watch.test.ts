import { describe, expect, test } from "bun:test";
import type { Row } from "./parse.ts";
import { otherPods, resourcesFor } from "./watch.ts";

describe("what is watched", () => {
  test("on a node: its own pods with the finished ones, and the others' without", () => {
    const { own, others } = resourcesFor("n1");
    expect(own.fieldSelector).toBe("spec.nodeName=n1");
    expect(others.map(({ path, fieldSelector }) => [path, fieldSelector])).toEqual([
      ["/api/v1/pods", "spec.nodeName!=n1,status.phase!=Succeeded,status.phase!=Failed"],
      ["/api/v1/services", undefined],
      ["/apis/discovery.k8s.io/v1/endpointslices", undefined],
      ["/api/v1/nodes", undefined],
    ]);
  });

  test("without a node: all pods, for each may be on it", () => {
    const { own, others } = resourcesFor(undefined);
    expect(own.fieldSelector).toBeUndefined();
    expect(others.map(({ type }) => type)).toEqual(["service", "slice", "node"]);
  });
});

describe("a pod that both streams tell of", () => {
  const row = (key: string) => ({ type: "pod", key }) as Row;

  function streams() {
    const calls: string[] = [];
    const own = new Set<string>();
    const rows = {
      upsert: ({ key }: Row) => void calls.push(`+${key}`),
      remove: (key: string) => void calls.push(`-${key}`),
    };
    return { calls, own, other: otherPods(own, rows) };
  }

  test("is the other's while it has no node", () => {
    const { calls, other } = streams();
    other.upsert(row("a"));
    other.remove("a");
    expect(calls).toEqual(["+a", "-a"]);
  });

  test("is not deleted as it leaves the other for our node, nor set back to what it was before", () => {
    const { calls, own, other } = streams();
    other.upsert(row("a"));
    own.add("a");
    other.upsert(row("a"));
    other.remove("a");
    expect(calls).toEqual(["+a"]);
  });
});
