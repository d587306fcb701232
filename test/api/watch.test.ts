/** What a cluster's objects become, as they come and go. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Cluster } from "./cluster.ts";
import { until, Watched } from "./names.ts";

let cluster: Cluster;
let watched: Watched;

beforeAll(async () => {
  cluster = await Cluster.start();
  const account = await cluster.serviceAccount("ringside");
  await cluster.node("node-a", "10.0.0.1");
  await cluster.node("node-b", "10.0.0.2");
  await cluster.pod("web-1", "10.244.0.1");
  await cluster.pod("api-1", "10.244.1.1", { node: "node-b" });
  const began = performance.now();
  watched = new Watched(cluster.access(account));
  await watched.synced();
  console.log(`first complete names after ${Math.round(performance.now() - began)} ms`);
}, 90_000);
afterAll(async () => {
  watched.close();
  await cluster.stop();
});

test("the first lists name what is there, by streaming lists", () => {
  expect(watched.names()).toEqual([
    "10.0.0.1 node-a",
    "10.0.0.2 node-b",
    "10.244.0.1 web-1",
    "10.244.1.1 api-1",
    "10.96.0.1 kubernetes",
  ]);
  expect(watched.errors).toEqual([]);
  for (const stream of Object.values(watched.counters().streams)) {
    expect(stream).toMatchObject({ syncs: 1, malformed: 0, faults: 0 });
    expect(stream.events.bookmark).toBeGreaterThanOrEqual(1); // the list's end; the server sends others when it likes
  }
});

test("a pod is named as it gets its address, and no more as it is gone", async () => {
  for (const node of ["node-a", "node-b"]) {
    await cluster.pod("short", "10.244.9.1", { node });
    const named = await until(() => watched.name("10.244.9.1") === "short", "the name");
    await cluster.deletePod("short");
    const gone = await until(() => watched.name("10.244.9.1") === undefined, "its end");
    console.log(`on ${node}: named after ${Math.round(named)} ms, gone after ${Math.round(gone)} ms`);
  }
  expect(watched.released).toEqual(["10.244.9.1", "10.244.9.1"]);
});

test("a pod made anew with the same name and address is another", async () => {
  const uids: string[] = [];
  for (const node of ["node-a", "node-b", "node-a"]) {
    uids.push(await cluster.pod("again", "10.244.9.2", { node }));
    await until(() => watched.name("10.244.9.2") === "again", "the name");
    await cluster.deletePod("again");
    await until(() => watched.name("10.244.9.2") === undefined, "its end");
  }
  expect(new Set(uids).size).toBe(3);
});

test("the own node's finished pods are kept, those of others are not", async () => {
  const { pod } = watched.counters().objects;
  for (const node of ["node-a", "node-b"]) {
    await cluster.pod(`job-${node}`, "10.244.9.3", { node });
    await until(() => watched.name("10.244.9.3") === `job-${node}`, "the name");
    await cluster.podStatus(`job-${node}`, { phase: "Succeeded" });
    await until(() => watched.name("10.244.9.3") === undefined, "its end");
  }
  await until(() => watched.stream("pods").events.deleted >= 2, "the other node's to leave");
  expect(watched.counters().objects.pod).toBe(pod + 1);
});

test("a pod that comes to our node keeps its name, though one stream calls it deleted then", async () => {
  const before = { deleted: watched.stream("pods").events.deleted, own: watched.stream("own_pods").events.added };
  const names = Array.from({ length: 50 }, (_, i) => `late-${i}`);
  await Promise.all(
    names.map(async (name, i) => {
      const spec = { containers: [{ name: "main", image: "none" }] };
      await cluster.ask("POST", "/api/v1/namespaces/default/pods", { metadata: { name }, spec });
      // Earlier than any kubelet would say it, so that the streams' order matters.
      await cluster.podStatus(name, { phase: "Running", podIP: `10.244.8.${i}`, podIPs: [{ ip: `10.244.8.${i}` }] });
      const target = { kind: "Node", name: "node-a" };
      await cluster.ask("POST", `/api/v1/namespaces/default/pods/${name}/binding`, { metadata: { name }, target });
    }),
  );
  await until(() => watched.stream("pods").events.deleted === before.deleted + names.length, "the one stream");
  await until(() => watched.stream("own_pods").events.added === before.own + names.length, "the other stream");
  expect(names.map((_, i) => watched.name(`10.244.8.${i}`))).toEqual(names);
});

test("a Service leads to what its slices say, as they say it", async () => {
  const services = "/api/v1/namespaces/default/services";
  const slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
  await cluster.ask("POST", services, {
    metadata: { name: "web" },
    spec: { clusterIP: "10.96.0.80", ports: [{ port: 80, targetPort: 8080 }] },
  });
  await cluster.ask("POST", slices, {
    metadata: { name: "web-1", labels: { "kubernetes.io/service-name": "web" } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.244.0.1"] }],
    ports: [{ name: "", port: 8080, protocol: "TCP" }],
  });
  await until(() => watched.leadsTo("web:80") === "web-1:8080 web", "the target");
  expect(watched.name("10.96.0.80")).toBe("web");
  await cluster.ask("DELETE", `${slices}/web-1`);
  await cluster.ask("DELETE", `${services}/web`);
  await until(() => watched.name("10.96.0.80") === undefined, "the Service's end");
});

test("bookmarks prove names fresh while nothing happens", async () => {
  const streams = () => Object.values(watched.counters().streams);
  await until(() => streams().every(({ events }) => events.bookmark >= 2), "a bookmark of each", 100_000);
  console.log(`names are proven until ${streams().map(({ age }) => age.toFixed(1))} s ago`);
  expect(streams().every(({ age }) => age < 75)).toBe(true);
  expect(watched.errors).toEqual([]);
}, 120_000);
