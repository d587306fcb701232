/** Names while the API server is away, refuses, hangs or forgets: none is lost, and they come again by themselves. */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { WatchOptions } from "../../src/kube/watch.ts";
import { Cluster, READER } from "./cluster.ts";
import { until, Watched } from "./names.ts";
import { Way } from "./way.ts";

let cluster: Cluster;
let account: string;
let way: Way;
let watched: Watched;

/** What stays through all of it. */
const LASTING = ["10.0.0.1 node-a", "10.244.0.1 web-1", "10.244.1.1 api-1", "10.96.0.1 kubernetes"];

const STREAMS = ["own_pods", "pods", "services", "endpointslices", "nodes"];

beforeAll(async () => {
  cluster = await Cluster.start();
  account = await cluster.serviceAccount("ringside");
  await cluster.node("node-a", "10.0.0.1");
  await cluster.pod("web-1", "10.244.0.1");
  await cluster.pod("api-1", "10.244.1.1", { node: "node-b" });
  way = new Way(cluster.port);
}, 90_000);
afterAll(async () => {
  way.close();
  await cluster.stop();
});
afterEach(() => watched.close());

async function watch(folder = account, options: Partial<WatchOptions> = {}): Promise<void> {
  watched = new Watched(cluster.access(folder, way.port), options);
  await watched.synced();
}

/** Makes a pod, and says after how long from now on it has its name. */
async function recovery(name: string, address: string): Promise<void> {
  const start = performance.now();
  await cluster.pod(name, address);
  await until(() => watched.name(address) === name, "a name again", 60_000);
  const took = performance.now() - start;
  const fresh = watched.freshUntil;
  console.log(`names came again after ${(took / 1000).toFixed(1)} s`);
  await until(() => watched.freshUntil >= fresh, "proof", 60_000);
  await cluster.deletePod(name);
  await until(() => watched.name(address) === undefined, "its end");
}

test("killed in mid-watch and started again: no name is lost", async () => {
  await watch();
  for (const seconds of [0, 4]) {
    await cluster.killServer();
    await Bun.sleep(seconds * 1000);
    expect(watched.names()).toEqual(LASTING);
    await cluster.startServer();
    await recovery("after-kill", "10.244.9.1");
  }
  expect(watched.released).toEqual(["10.244.9.1", "10.244.9.1"]);
  expect(watched.stream("own_pods").restarts.error).toBeGreaterThanOrEqual(2);
  await until(() => watched.well.length >= 5, "all streams to be well");
}, 90_000);

test("all streams are heard again with the first one, whatever their pauses were", async () => {
  await watch();
  way.cut();
  const failures = () => STREAMS.map((stream) => watched.stream(stream).errors.get("network") ?? 0);
  await until(() => failures().every((count) => count >= 5), "pauses of some seconds", 60_000);
  way.restore();
  await until(() => watched.well.length > 0, "the first stream");
  await until(() => watched.well.length === STREAMS.length, "the others", 1500);
}, 60_000);

test("history compacted meanwhile (410): listed anew, without dropping a name", async () => {
  await cluster.pod("old", "10.244.9.1");
  await watch();
  way.cut();
  await cluster.deletePod("old");
  await cluster.pod("new", "10.244.9.2");
  await cluster.compact();
  // Its cache forgets, too.
  await cluster.killServer();
  await cluster.startServer();
  expect(watched.names()).toContain("10.244.9.1 old");
  way.restore();
  await until(() => watched.name("10.244.9.1") === undefined, "the end of the old one", 60_000);
  expect(watched.names()).toEqual([...LASTING, "10.244.9.2 new"].sort());
  expect(watched.released).toEqual(["10.244.9.1"]);
  expect(watched.stream("own_pods").restarts.expired).toBe(1);
  expect(watched.stream("own_pods").syncs).toBe(2);
  await cluster.deletePod("new");
}, 90_000);

test("a way that is half open is noticed, and left", async () => {
  await watch(account, { patience: 1500 });
  way.block();
  const took = await until(() => watched.stream("own_pods").restarts.hung >= 1, "the hung watch to be noticed");
  console.log(`silence of 1.5 s was noticed after ${(took / 1000).toFixed(1)} s`);
  expect(watched.names()).toEqual(LASTING);
  way.restore();
  await recovery("after-silence", "10.244.9.1");
  expect(watched.released).toEqual(["10.244.9.1"]);
}, 60_000);

test("an API server that is frozen, and goes on", async () => {
  await watch(account, { patience: 1500 });
  cluster.freezeServer();
  await until(() => watched.stream("own_pods").restarts.hung >= 2, "the hung watch to be noticed twice");
  expect(watched.names()).toEqual(LASTING);
  cluster.thawServer();
  await recovery("after-frost", "10.244.9.1");
}, 60_000);

test("restored from a backup, with older versions than we know: listed anew", async () => {
  await cluster.snapshot();
  await watch(account, { patience: 1500 });
  // Far enough that the restored server does not come by our version while we wait.
  for (let i = 0; i < 200; i++) await cluster.podStatus("web-1", { message: `change ${i}` });
  await cluster.pod("never-was", "10.244.9.1");
  await until(() => watched.name("10.244.9.1") === "never-was", "the name");
  way.cut();
  await cluster.restore();
  way.restore();
  await until(() => watched.name("10.244.9.1") === undefined, "the end of what never was", 60_000);
  expect(watched.names()).toEqual(LASTING);
  expect(watched.released).toEqual(["10.244.9.1"]);
  console.log(`own pods after a restore: ${JSON.stringify(watched.stream("own_pods").restarts)}`);
}, 90_000);

test("gone at the start: said at once, and named when it is there", async () => {
  way.cut();
  watched = new Watched(cluster.access(account, way.port));
  await watched.settled;
  expect(watched.names()).toEqual([]);
  expect(watched.errors[0]?.message).toStartWith(`cannot watch own_pods: https://127.0.0.1:${way.port}: `);
  expect(watched.errors[0]?.message).toEndWith(
    "look whether it runs, and whether a network policy forbids the way to it.",
  );
  way.restore();
  await watched.synced();
  expect(watched.names()).toEqual(LASTING);
  expect(watched.errors.length).toBeLessThanOrEqual(5); // one of each stream
});

test("a token that is out of date is read again (401)", async () => {
  const folder = await cluster.serviceAccount("rotating");
  const file = join(folder, "token");
  writeFileSync(file, await cluster.shortToken("rotating", 3));
  await watch(folder);
  await Bun.sleep(4000);
  await cluster.killServer();
  await cluster.startServer();
  await until(() => watched.stream("own_pods").errors.get("401"), "401");
  expect(watched.errors.find((error) => error.message.includes(" answers 401 "))?.message).toContain(
    "(Unauthorized). The token or client certificate must be one that the server knows, and not out of date.",
  );
  expect(watched.names()).toEqual(LASTING);
  writeFileSync(file, await cluster.token("rotating"));
  await recovery("after-rotation", "10.244.9.1");
}, 60_000);

test("a right that is missing (403) is told by its rule, and the others go on", async () => {
  const [core] = READER;
  const folder = await cluster.serviceAccount("poor", [core]);
  watched = new Watched(cluster.access(folder, way.port));
  await until(() => watched.name("10.244.0.1"), "a pod's name");
  await until(() => (watched.stream("endpointslices").errors.get("403") ?? 0) >= 3, "three refusals");
  expect(watched.errors.map(({ message }) => message)).toEqual([
    `cannot watch endpointslices: https://127.0.0.1:${way.port} answers 403 (endpointslices.discovery.k8s.io is forbidden: ` +
      'User "system:serviceaccount:default:poor" cannot watch resource "endpointslices" in API group "discovery.k8s.io" at ' +
      'the cluster scope). A ClusterRole must have the rule {apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], ' +
      'verbs: ["list", "watch"]}, and a ClusterRoleBinding must give it to this account.',
  ]);
  expect(watched.freshUntil).toBe(0n); // names are not complete
  const role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/poor";
  await cluster.ask("PATCH", role, { rules: READER }, "application/merge-patch+json");
  await watched.synced();
  expect(watched.well).toEqual(["endpointslices"]);
});

test("list and watch on four resources are all that is used", async () => {
  await watch();
  const token = readFileSync(join(account, "token"), "utf8");
  const status = async (path: string) => {
    const tls = { ca: readFileSync(join(account, "ca.crt"), "utf8") };
    return (await fetch(`${cluster.url}${path}`, { headers: { authorization: `Bearer ${token}` }, tls })).status;
  };
  expect(await status("/api/v1/pods")).toBe(200);
  expect(await status("/api/v1/namespaces/default/pods/web-1")).toBe(403);
  expect(await status("/api/v1/secrets")).toBe(403);
  expect(watched.errors).toEqual([]);
});

test("back with another certificate: refused until its CA is there, and no name is lost", async () => {
  await watch();
  cluster.certify("another");
  await cluster.killServer();
  await cluster.startServer();
  await until(() => watched.errors.some(({ message }) => message.includes("certificate")), "the refusal");
  await until(() => (watched.stream("own_pods").errors.get("network") ?? 0) >= 2, "another refusal");
  expect(watched.errors.map(({ remedy }) => remedy)).toContain(
    "Its certificate must be for this name or address, and by an authority of the CA file.",
  );
  expect(watched.names()).toEqual(LASTING);
  writeFileSync(join(account, "ca.crt"), readFileSync(cluster.file("ca-in-use.crt")));
  await recovery("after-certificate", "10.244.9.1");
  expect(watched.released).toEqual(["10.244.9.1"]);
}, 90_000);
