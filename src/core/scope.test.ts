import { expect, test } from "bun:test";
import type { Core, CoreOptions } from "./core.ts";
import { address, feed, load, pod, type Snapshot, samples, second } from "./fixture.ts";
import { anyNode, type Owner } from "./names.ts";

const always = 2n ** 64n - 1n;
const nodeNamed = (name: string): Owner => ({
  ...({ type: "node", namespace: "", name, workload: name, kind: "Node", mine: true } as const),
});

/** Nodes by name, told by `tell`; pods by address, each with its node's name. */
async function setUp(nodes: Record<string, string>, pods: Record<string, string>, options: CoreOptions = {}) {
  const core = await load({ scope: true, ...options });
  const numbers = new Map(Object.keys(nodes).map((name) => [name, core.owner(nodeNamed(name))]));
  for (const number of numbers.values()) core.hold(number);
  const tell = () => {
    for (const [name, zone] of Object.entries(nodes)) core.zone(numbers.get(name)!, zone);
  };
  for (const [ip, node] of Object.entries(pods)) {
    core.assign(address(ip), core.owner(pod(`pod-${ip}`)), 0n, numbers.get(node));
  }
  return { core, numbers, tell };
}

let ids = 0;
const connect = (core: Core, local: string, remote: string, more: Partial<Snapshot> = {}) =>
  feed(core, { id: ++ids, role: "client", bornAt: second, netns: 1, sent: 1, local, remote, ...more });

const scopes = (core: Core) => core.links().map(({ reporter, scope, sent }) => `${reporter} ${scope} ${sent}`);

test("a link says how far it goes, at both its ends alike", async () => {
  const nodes = { a1: "a", a2: "a", b1: "b", "?1": "", "?2": "" };
  const pods = { "10.0.0.1": "a1", "10.0.0.2": "a1", "10.0.0.3": "a2", "10.0.0.4": "b1" };
  const { core, tell } = await setUp(nodes, { ...pods, "10.0.0.5": "?1", "10.0.0.6": "?1", "10.0.0.7": "?2" });
  tell();
  core.fresh(always);
  for (const [remote, sent, scope] of [
    ["10.0.0.2", 1, "same_zone"],
    ["10.0.0.3", 20, "same_zone"],
    ["10.0.0.4", 300, "other_zone"],
    ["10.0.0.5", 4000, "unknown"],
    ["192.168.0.1", 50_000, "outside"],
    ["[fd00::1]", 600_000, "outside"],
    ["1.1.1.1", 7_000_000, "internet"],
    ["[2606:4700::1111]", 80_000_000, "internet"],
  ] as const) {
    const before = core.links().length;
    const port = 8000 + before;
    connect(core, "10.0.0.1:40000", `${remote}:${port}`, { sent });
    connect(core, `${remote}:${port}`, "10.0.0.1:40000", { role: "server", netns: 2, received: sent, sent: 0 });
    core.settle(70n * second, 1);
    expect(scopes(core).slice(before)).toEqual([`client ${scope} ${sent}`, `server ${scope} ${sent}`]);
  }
  // One node is in one zone, whichever that is.
  const before = core.links().length;
  connect(core, "10.0.0.5:40000", "10.0.0.6:80");
  connect(core, "10.0.0.5:40000", "10.0.0.7:80");
  core.settle(70n * second, 1);
  expect(scopes(core).slice(before)).toEqual(["client same_zone 1", "client unknown 1"]);
});

test("of a Service's backends the client does not know which one it has", async () => {
  const { core, numbers, tell } = await setUp({ a1: "a", b1: "b" }, { "10.0.0.1": "a1", "10.0.0.2": "b1" });
  tell();
  const service: Owner = { ...pod("api"), type: "service", kind: "Service" };
  core.assign(address("10.96.0.1"), core.owner(service), 0n);
  const behind = core.owner({ ...service, kind: "Deployment" });
  core.port(core.owner(service), 80, behind, 8080, "api");
  core.port(core.owner(anyNode), 30080, behind, 8080, "api");
  core.assign(address("172.30.0.2"), numbers.get("a1")!, 0n, numbers.get("a1"));
  core.fresh(always);
  connect(core, "10.0.0.1:40000", "10.96.0.1:80");
  connect(core, "10.0.0.1:40001", "172.30.0.2:30080", { sent: 10 });
  connect(core, "10.0.0.2:8080", "10.0.0.1:40000", { role: "server", netns: 2, sent: 0, received: 1 });
  core.settle(4n * second, 1);
  expect(scopes(core)).toEqual(["client unknown 11", "server other_zone 1"]);
});

test("a node, its bridges and the pods on its network are where it is; loopback goes nowhere", async () => {
  const { core, numbers, tell } = await setUp({ a1: "a", b1: "b" }, { "10.0.0.2": "b1" }, { loopback: true });
  tell();
  const a1 = numbers.get("a1")!;
  core.assign(address("172.30.0.2"), a1, 0n, a1);
  core.host(9, a1);
  core.cgroup(77n, core.owner(pod("exporter-1")));
  core.range(address("10.244.1.0"), 96 + 24, a1, false);
  core.fresh(always);
  connect(core, "172.30.0.2:40000", "10.0.0.2:80", { netns: 9 });
  connect(core, "10.244.1.1:40000", "10.0.0.2:81", { netns: 9, cgroup: 77 });
  connect(core, "10.0.0.2:82", "10.244.1.9:40000", { netns: 2, role: "server" });
  connect(core, "127.0.0.1:40000", "127.0.0.1:83", { netns: 2 });
  core.settle(4n * second, 1);
  expect(core.links().map(({ port, scope }) => [port, scope])).toEqual([
    [80, "other_zone"],
    [81, "other_zone"],
    [82, "other_zone"],
    [83, "same_zone"],
  ]);
});

test("a zone that comes after its pods is waited for at the start only, and never taken for another", async () => {
  const { core, tell } = await setUp({ a1: "a", b1: "b" }, { "10.0.0.1": "a1", "10.0.0.2": "b1" });
  connect(core, "10.0.0.1:40000", "10.0.0.2:80");
  core.settle(3n * second, 1);
  expect([scopes(core), core.counters().waiting]).toEqual([[], 1]);
  tell();
  core.settle(4n * second, 1);
  expect(scopes(core)).toEqual(["client other_zone 1"]);

  const late = await setUp({ a1: "a", b1: "b" }, { "10.0.0.1": "a1", "10.0.0.2": "b1" });
  late.core.fresh(2n * second);
  connect(late.core, "10.0.0.1:40000", "10.0.0.2:80");
  late.core.settle(3n * second, 1);
  late.tell();
  connect(late.core, "10.0.0.1:40001", "10.0.0.2:80");
  late.core.settle(4n * second, 1);
  expect(scopes(late.core)).toEqual(["client unknown 1", "client other_zone 1"]);
});

test("a pod made again in another zone with its old name and address is there from then on", async () => {
  const { core, numbers, tell } = await setUp({ a1: "a", b1: "b" }, { "10.0.0.1": "a1", "10.0.0.2": "a1" });
  tell();
  core.fresh(always);
  connect(core, "10.0.0.1:40000", "10.0.0.2:80");
  core.settle(3n * second, 1);
  core.release(address("10.0.0.2"), 5n * second);
  core.assign(address("10.0.0.2"), core.owner(pod("pod-10.0.0.2")), 6n * second, numbers.get("b1"));
  connect(core, "10.0.0.1:40000", "10.0.0.2:80", { bornAt: 4n * second, sent: 10 });
  connect(core, "10.0.0.1:40000", "10.0.0.2:80", { bornAt: 7n * second, sent: 100 });
  core.settle(9n * second, 1);
  expect(scopes(core)).toEqual(["client same_zone 11", "client other_zone 100"]);
  // Back, and the end of the one before was never told.
  core.assign(address("10.0.0.2"), core.owner(pod("pod-10.0.0.2")), 10n * second, numbers.get("a1"));
  connect(core, "10.0.0.1:40000", "10.0.0.2:80", { bornAt: 11n * second, sent: 1000 });
  core.settle(13n * second, 1);
  expect(scopes(core)).toEqual(["client same_zone 1011", "client other_zone 100"]);
});

test("nothing is said of it without --scope", async () => {
  const { core, tell } = await setUp({ a1: "a", b1: "b" }, { "10.0.0.1": "a1" }, { scope: false });
  tell();
  connect(core, "10.0.0.1:40000", "1.1.1.1:443");
  core.settle(3n * second, 1);
  expect(scopes(core)).toEqual(["client  1"]);
  expect(samples(core, 4n * second, always).filter((line) => line.includes("scope"))).toEqual([]);
});

test("a node's number and its zone's are kept for as long as an address is on it", async () => {
  const { core } = await setUp({}, {});
  core.fresh(always);
  const node = core.owner(nodeNamed("b1"));
  core.hold(node);
  core.zone(node, "zone-b");
  core.assign(address("10.0.0.2"), core.owner(pod("api-1")), 0n, node);
  const [a1, web] = [core.owner(nodeNamed("a1")), core.owner(pod("web-1"))];
  core.hold(a1);
  core.zone(a1, "zone-a");
  core.assign(address("10.0.0.1"), web, 0n, a1);
  core.drop(node);
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < 2000; i++) core.owner(pod(`p${round}-${i}`));
    core.settle(BigInt(100 + round * 100) * second, 1);
  }
  const next = core.owner(nodeNamed("a2"));
  core.zone(next, "zone-a");
  core.assign(address("10.0.0.3"), core.owner(pod("db-1")), 0n, next);
  for (const server of ["10.0.0.2", "10.0.0.3"])
    connect(core, "10.0.0.1:40000", `${server}:80`, { bornAt: 500n * second });
  core.settle(600n * second, 1);
  expect(scopes(core)).toEqual(["client other_zone 1", "client same_zone 1"]);
});
