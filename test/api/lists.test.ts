/** A server without streaming lists: pages, and the same names. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Cluster } from "./cluster.ts";
import { until, Watched } from "./names.ts";

/** Two pages of 500, and a third. */
const NODES = 1010;

let cluster: Cluster;
let account: string;
let watched: Watched;

beforeAll(async () => {
  cluster = await Cluster.start(["--feature-gates=WatchList=false"]);
  account = await cluster.serviceAccount("ringside");
  await cluster.node("node-a", "10.0.0.1");
  for (let from = 1; from < NODES; from += 50) {
    const names = Array.from({ length: Math.min(50, NODES - from) }, (_, i) => `node-${from + i}`);
    await Promise.all(names.map((name) => cluster.ask("POST", "/api/v1/nodes", { metadata: { name } })));
  }
  await cluster.pod("web-1", "10.244.0.1");
}, 120_000);
afterAll(async () => {
  watched.close();
  await cluster.stop();
});

test("is asked for pages, and remembered as one that has no streams", async () => {
  watched = new Watched(cluster.access(account));
  await watched.synced();
  expect(watched.names()).toEqual(["10.0.0.1 node-a", "10.244.0.1 web-1", "10.96.0.1 kubernetes"]);
  expect(watched.counters().objects).toEqual({ pod: 1, service: 1, node: NODES, slice: 0 });
  for (const stream of Object.values(watched.counters().streams)) {
    expect(stream).toMatchObject({ syncs: 1, malformed: 0, faults: 0, events: { added: 0 }, errors: new Map() });
  }
  expect(watched.errors).toEqual([]);
});

test("the watch goes on from the list", async () => {
  await cluster.pod("web-2", "10.244.0.2");
  await until(() => watched.name("10.244.0.2") === "web-2", "the name");
  await cluster.deletePod("web-2");
  await until(() => watched.name("10.244.0.2") === undefined, "its end");
  await cluster.ask("DELETE", "/api/v1/nodes/node-7");
  await until(() => watched.counters().objects.node === NODES - 1, "a node less");
  expect(watched.released).toEqual(["10.244.0.2"]);
});
