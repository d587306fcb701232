/** The histories of src/kube/history.test.ts as a real API server tells them: watch, resolver and core together. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import type { Core } from "../../src/core/core.ts";
import { feed, load, type Snapshot } from "../../src/core/fixture.ts";
import { Resolver } from "../../src/kube/resolve.ts";
import { Watch } from "../../src/kube/watch.ts";
import { Cluster, stamp } from "./cluster.ts";
import { until } from "./names.ts";

let cluster: Cluster;
let core: Core;
let watch: Watch;
let ids = 0;
let sweeps = 0;
/** Rows of links that an earlier history has. */
let before = new Set<string>();

/** The wall clock serves as boot time: both are the test's own. */
const now = () => BigInt(Date.now()) * 1_000_000n;

beforeAll(async () => {
  cluster = await Cluster.start();
  const account = await cluster.serviceAccount("ringside");
  await cluster.node("node-a", "172.30.0.2");
  await cluster.node("node-b", "172.30.0.3");
  await cluster.pod("client", "10.244.1.1");
  core = await load({ onlyMine: true });
  watch = Watch.start({
    access: cluster.access(account),
    node: "node-a",
    now,
    resolver: new Resolver(core, (wall) => BigInt(wall) * 1_000_000n, "node-a"),
    onError: (error) => expect(error.message).toBe("no error"),
    onWell: () => {},
    jitter: 0,
  });
  await watch.settled;
}, 90_000);
afterAll(async () => {
  watch.close();
  await cluster.stop();
});
beforeEach(() => {
  ids = Math.ceil(ids / 8) * 8;
  before = new Set([...before, ...links()]);
});

/** A connection of the client that is born now, with as many bytes as tell it from all others of its history. */
function call(remote: string, more: Partial<Snapshot> = {}): void {
  const sent = 10 ** (ids++ % 8);
  feed(core, {
    ...{ id: ids, kind: "final", role: "client", bornAt: now(), netns: 1, sent },
    ...{ local: "10.244.1.1:40000", remote },
    ...more,
  });
}

/** One that this pod makes to the client. */
const callFrom = (address: string, netns: number) => call("10.244.1.1:80", { local: `${address}:40000`, netns });

function links(): string[] {
  core.settle(now(), ++sweeps);
  return core
    .links()
    .map(({ source, destination, port, service, sent }) => {
      return `${source.workload} > ${destination.workload}:${port} ${service || "-"} ${sent}`;
    })
    .filter((row) => !before.has(row))
    .sort();
}

/** Once all is settled the links of this history are these. */
async function become(...rows: string[]): Promise<void> {
  const settled = () => {
    core.settle(now(), ++sweeps);
    const { settling, waiting } = core.counters();
    return settling + waiting === 0;
  };
  await until(settled, "all connections to settle", 70_000);
  expect(links()).toEqual(rows.sort());
}

/** Waits until the watch has told of that many more objects, or fewer. */
async function told(type: "pod" | "service" | "slice", change: number, step: () => Promise<unknown>): Promise<void> {
  const was = watch.counters().objects[type];
  await step();
  await until(() => watch.counters().objects[type] === was + change, `${change} of ${type}`);
}

/** Into the next second of those that Kubernetes tells. */
const nextSecond = () => Bun.sleep(1000 - (Date.now() % 1000) + 20);

/** A pod that its kubelet runs from now on. */
async function run(name: string, ip: string, node = "node-a"): Promise<void> {
  await told("pod", 1, () => cluster.bind(name, { node }));
  await tellRunning(name, ip, stamp());
}

async function tellRunning(name: string, ip: string, startTime: string): Promise<void> {
  const events = modified();
  await cluster.podStatus(name, {
    ...{ phase: "Running", startTime, podIP: ip, podIPs: [{ ip }] },
    conditions: [{ type: "PodReadyToStartContainers", status: "True", lastTransitionTime: startTime }],
  });
  await until(() => modified() > events, "the pod's event");
}

/** A pod of our node has ended. */
async function finish(name: string): Promise<void> {
  const events = modified();
  const terminated = { exitCode: 0, startedAt: stamp(), finishedAt: stamp() };
  const container = { name: "main", image: "none", imageID: "", ready: false, restartCount: 0, state: { terminated } };
  await cluster.podStatus(name, { phase: "Succeeded", containerStatuses: [container] });
  await until(() => modified() > events, "the pod's end");
}

const modified = () =>
  ["own_pods", "pods"].reduce((sum, stream) => sum + (watch.counters().streams[stream]?.events.modified ?? 0), 0);
const remove = (name: string) => told("pod", -1, () => cluster.deletePod(name));

test("a pod whose event is late", async () => {
  await told("pod", 1, () => cluster.bind("late"));
  const startTime = stamp();
  call("10.244.1.20:80");
  await Bun.sleep(1500);
  call("10.244.1.20:80");
  await tellRunning("late", "10.244.1.20", startTime);
  await become("client > late:80 - 11");
});

test("a Job's pod that has succeeded keeps its address in the API, and another pod has it", async () => {
  await run("job", "10.244.1.21");
  call("10.244.1.21:80");
  await finish("job");
  await nextSecond();
  await run("next", "10.244.1.21");
  for (const phase of ["one", "two"]) {
    await cluster.ask(
      ...(["PATCH", "/api/v1/namespaces/default/pods/job", { metadata: { labels: { phase } } }] as const),
      "application/merge-patch+json",
    );
    call("10.244.1.21:80");
  }
  await remove("job");
  call("10.244.1.21:80");
  await become("client > job:80 - 1", "client > next:80 - 1110");
});

test("a pod made again with its name has its own addresses, each in its time", async () => {
  await run("db-0", "10.244.1.22");
  call("10.244.1.22:80");
  await remove("db-0");
  await nextSecond();
  await run("db-0", "10.244.1.23");
  await run("other", "10.244.1.22");
  call("10.244.1.23:80");
  call("10.244.1.22:80");
  await become("client > db-0:80 - 11", "client > other:80 - 100");
});

test("an address that moves to another node is no longer ours", async () => {
  await run("here", "10.244.1.24");
  callFrom("10.244.1.24", 2);
  await remove("here");
  await nextSecond();
  await run("there", "10.244.1.24", "node-b");
  call("10.244.1.24:80");
  const { foreignBytes } = core.counters();
  callFrom("10.244.1.24", 3); // another node's, that shares our kernel
  await become("client > there:80 - 10", "here > client:80 - 1");
  expect(core.counters().foreignBytes - foreignBytes).toBe(100);
});

test("a Service that is deleted keeps its name for 10 s, and is nobody's from then on", async () => {
  await run("api", "10.244.1.25");
  await told("slice", 1, () => cluster.service("front", "10.96.0.9", { ip: "10.244.1.25", port: 8080 }));
  call("10.96.0.9:80");
  await become("client > api:8080 front 1");
  call("10.96.0.9:80"); // it has not settled as its Service goes
  await told("service", -1, () => told("slice", -1, () => cluster.deleteService("front")));
  call("10.244.1.25:8080"); // the server's end cannot tell it from one that came by the Service
  await Bun.sleep(10_100);
  call("10.96.0.9:80"); // external once bookmarks have proven the names of that moment
  // Two links: who dials the Service does not know which pod answers.
  const named = ["client > api:8080 front 100", "client > api:8080 front 11", "client > external:80 - 1000"];
  await become(...named);
  call("10.244.1.25:8080");
  await become("client > api:8080 - 10000", ...named);
}, 120_000);

test("a pod of 3 s that calls a Service once is named, though its event comes late", async () => {
  await run("far", "10.244.2.26", "node-b");
  await told("slice", 1, () => cluster.service("far", "10.96.0.10", { ip: "10.244.2.26", port: 8080 }));
  await told("pod", 1, () => cluster.bind("brief"));
  const startTime = stamp();
  call("10.96.0.10:80", { local: "10.244.1.26:40000", netns: 9 });
  await Bun.sleep(1000);
  await tellRunning("brief", "10.244.1.26", startTime);
  await Bun.sleep(2000);
  await finish("brief");
  await remove("brief");
  await become("brief > far:8080 far 1");
});
