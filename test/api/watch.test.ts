/** What a cluster's objects become, as they come and go. */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { Cluster } from "./cluster.ts";
import { Watched } from "./names.ts";

let cluster: Cluster;
let account: string;
let watched: Watched;

beforeAll(async () => {
  cluster = await Cluster.start();
  account = await cluster.serviceAccount("ringside");
  await cluster.node("node-a", "10.0.0.1");
  await cluster.node("node-b", "10.0.0.2");
}, 90_000);
afterAll(() => cluster.stop());
afterEach(() => watched.close());

const watch = () => {
  watched = new Watched(cluster.access(account));
  return watched.synced();
};

test("the first lists name what is there, by streaming lists", async () => {
  await cluster.pod("web-1", "10.244.0.1");
  await cluster.pod("api-1", "10.244.1.1", { node: "node-b" });
  const began = performance.now();
  await watch();
  console.log(`first complete names after ${Math.round(performance.now() - began)} ms`);
  expect(watched.names()).toEqual([
    "10.0.0.1 node-a",
    "10.0.0.2 node-b",
    "10.244.0.1 web-1",
    "10.244.1.1 api-1",
    "10.96.0.1 kubernetes",
  ]);
  expect(watched.errors).toEqual([]);
  for (const stream of Object.values(watched.counters().streams)) {
    expect(stream).toMatchObject({ syncs: 1, malformed: 0, bugs: 0 });
    expect(stream.events.bookmark).toBe(1); // the list's end
  }
});
