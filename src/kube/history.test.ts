/** Histories as an API server tells them, in virtual time: the resolver and the core together. */
import { beforeEach, describe, expect, test } from "bun:test";
import type { Core } from "../core/core.ts";
import { feed, load, type Snapshot, samples, second } from "../core/fixture.ts";
import type { PodRow, Row, ServiceRow } from "./parse.ts";
import { Resolver } from "./resolve.ts";

let core: Core;
let resolver: Resolver;
let ids: number;
let sweeps: number;

/** The wall clock's second n is the boot time's. */
const at = (seconds: number) => BigInt(Math.round(seconds * 1000)) * 1_000_000n;
const wall = (seconds: number) => seconds * 1000;

beforeEach(async () => {
  core = await load({ onlyMine: true });
  resolver = new Resolver(core, (milliseconds) => BigInt(milliseconds) * 1_000_000n, "node-a");
  ids = 0;
  sweeps = 0;
  resolver.upsert(pod("client", "10.0.0.1"), at(0));
  resolver.fresh(1n);
});

const pod = (name: string, address: string, more: Partial<PodRow> = {}): PodRow => ({
  type: "pod",
  key: `uid-${name}`,
  namespace: "shop",
  name,
  workload: name,
  kind: "Pod",
  node: "node-a",
  hostNetwork: false,
  addresses: [address],
  labels: [`app=${name}`],
  ports: [],
  finished: false,
  ...more,
});

const service = (name: string, address: string): ServiceRow => ({
  type: "service",
  key: `shop/${name}`,
  namespace: "shop",
  name,
  addresses: [address],
  selector: [`app=${name}`],
  ports: [{ name: "", port: 80, target: 8080 }],
});

/** A connection of the client that is born then, with as many bytes as tell it from all others. */
function call(remote: string, born: number, more: Partial<Snapshot> = {}): void {
  const sent = 10 ** ids++;
  feed(core, {
    id: ids,
    kind: "final",
    role: "client",
    bornAt: at(born),
    netns: 1,
    sent,
    local: "10.0.0.1:40000",
    remote,
    ...more,
  });
}

function links(now: number): string[] {
  core.settle(at(now), ++sweeps);
  return core
    .links()
    .map(({ source, destination, port, service, sent }) => {
      return `${source.name} > ${destination.name}:${port} ${service || "-"} ${sent}`;
    })
    .sort();
}

test("a pod whose event is late", () => {
  call("10.0.0.7:80", 10);
  expect(links(12)).toEqual([]);
  resolver.upsert(pod("late", "10.0.0.7", { startedAt: wall(9) }), at(14));
  call("10.0.0.7:80", 11);
  expect(links(14)).toEqual(["client > late:80 - 11"]);
});

test("a Job's pod that has succeeded keeps its address in the API, and another pod has it", () => {
  resolver.upsert(pod("job", "10.0.0.7"), at(1));
  call("10.0.0.7:80", 5);
  resolver.upsert(pod("job", "10.0.0.7", { finished: true, endedAt: wall(20) }), at(21));
  resolver.upsert(pod("next", "10.0.0.7", { startedAt: wall(30), readyAt: wall(31) }), at(33));
  // Three more events of the old one, as when it is deleted.
  for (const now of [34, 35, 36])
    resolver.upsert(pod("job", "10.0.0.7", { finished: true, endedAt: wall(20) }), at(now));
  call("10.0.0.7:80", 19);
  call("10.0.0.7:80", 32);
  resolver.remove("pod", "uid-job", at(37));
  call("10.0.0.7:80", 38);
  expect(links(40)).toEqual(["client > job:80 - 11", "client > next:80 - 1100"]);
});

test("a pod made again with its name has its own addresses, each in its time", () => {
  resolver.upsert(pod("db-0", "10.0.0.7", { key: "first" }), at(1));
  call("10.0.0.7:80", 5);
  resolver.remove("pod", "first", at(20));
  resolver.upsert(pod("db-0", "10.0.0.8", { key: "second", startedAt: wall(21) }), at(23));
  resolver.upsert(pod("other", "10.0.0.7", { startedAt: wall(24) }), at(26));
  call("10.0.0.8:80", 22);
  call("10.0.0.7:80", 25);
  expect(links(30)).toEqual(["client > db-0:80 - 11", "client > other:80 - 100"]);
});

test("an address that a pod takes over within the second, all of it told later", () => {
  const from = (born: number, netns: number) => call("10.0.0.1:80", born, { local: "10.0.0.7:40000", netns });
  resolver.upsert(pod("old", "10.0.0.7"), at(1));
  from(5, 2);
  expect(links(8)).toEqual(["old > client:80 - 1"]);
  from(20.1, 2);
  // The old one ended at 20.3, the new one has its network from 20.5 on; Kubernetes cuts both to seconds.
  from(20.6, 3);
  resolver.upsert(pod("old", "10.0.0.7", { finished: true, endedAt: wall(21) }), at(21.1));
  resolver.remove("pod", "uid-old", at(21.2));
  resolver.upsert(pod("new", "10.0.0.7", { startedAt: wall(20), readyAt: wall(20) }), at(21.4));
  from(21.5, 3);
  resolver.fresh(at(40));
  expect(links(40)).toEqual(["new > client:80 - 1100", "old > client:80 - 11"]);
});

test("an address that a pod takes over within the second, which is told before the old one's end", () => {
  const from = (born: number, netns: number) => call("10.0.0.1:80", born, { local: "10.0.0.7:40000", netns });
  resolver.upsert(pod("old", "10.0.0.7"), at(1));
  from(5, 2);
  expect(links(8)).toEqual(["old > client:80 - 1"]);
  from(20.1, 2);
  from(20.6, 3);
  resolver.upsert(pod("new", "10.0.0.7", { startedAt: wall(20), readyAt: wall(20) }), at(21.1));
  resolver.remove("pod", "uid-old", at(21.2));
  from(21.5, 3);
  resolver.fresh(at(40));
  expect(links(40)).toEqual(["new > client:80 - 1100", "old > client:80 - 11"]);
});

test("an address that a pod takes over while the API server is gone", () => {
  resolver.upsert(pod("old", "10.0.0.7"), at(1));
  call("10.0.0.1:80", 5, { local: "10.0.0.7:40000", netns: 2 });
  call("10.0.0.7:80", 6);
  expect(links(9)).toEqual(["client > old:80 - 10", "old > client:80 - 1"]);
  // Both ends of one connection.
  call("10.0.0.7:80", 20);
  call("10.0.0.1:40000", 20, { local: "10.0.0.7:80", netns: 3, role: "server" });
  expect(links(23)).toEqual(["client > old:80 - 10", "old > client:80 - 1"]);
  resolver.upsert(pod("old", "10.0.0.7", { finished: true, endedAt: wall(19) }), at(40));
  resolver.upsert(pod("new", "10.0.0.7", { startedAt: wall(19), readyAt: wall(19) }), at(40.1));
  expect(links(41)).toEqual(
    ["client > new:80 - 100", "client > new:80 - 0", "client > old:80 - 10", "old > client:80 - 1"].sort(),
  );
});

test("a Service that is deleted before its last connection has settled", () => {
  resolver.replace([pod("client", "10.0.0.1"), pod("api", "10.0.0.7"), service("api", "10.96.0.1")], at(1));
  call("10.96.0.1:80", 5);
  resolver.remove("service", "shop/api", at(6));
  expect(links(8)).toEqual(["client > api:8080 api 1"]);
});

describe("a Service that is deleted is told at both ends", () => {
  const slice = (addresses: string[]): Row => ({
    ...{ type: "slice", key: "shop/api-x", namespace: "shop", service: "api", addresses },
    ports: [{ name: "", port: 8080 }],
  });
  const both = (born: number) => {
    call("10.96.0.1:80", born);
    call("10.0.0.1:40000", born, { local: "10.0.0.7:8080", netns: 2, role: "server" });
  };

  beforeEach(() => {
    resolver.upsert(pod("api", "10.0.0.7"), at(1));
    resolver.upsert(slice(["10.0.0.7"]), at(1));
    resolver.upsert(service("api", "10.96.0.1"), at(1));
  });

  test("of connections that have not settled, whatever else goes with it", () => {
    both(5);
    resolver.remove("service", "shop/api", at(6));
    resolver.remove("slice", "shop/api-x", at(6.5));
    resolver.remove("pod", "uid-api", at(6.8));
    resolver.fresh(at(7));
    expect(links(8)).toEqual(["client > api:8080 api 0", "client > api:8080 api 1"]);
  });

  test("until they have", () => {
    resolver.remove("service", "shop/api", at(6));
    resolver.fresh(at(17));
    call("10.0.0.1:40000", 18, { local: "10.0.0.7:8080", netns: 2, role: "server", received: 5 });
    expect(links(21)).toEqual(["client > api:8080 - 5"]);
  });

  test("but where another one leads there", () => {
    resolver.upsert({ ...service("other", "10.96.0.2"), selector: ["app=api"] }, at(1));
    call("10.0.0.1:40000", 5, { local: "10.0.0.7:8080", netns: 2, role: "server" });
    expect(links(8)).toEqual(["client > api:8080 - 0"]);
    resolver.remove("service", "shop/api", at(9));
    call("10.96.0.2:80", 10);
    call("10.0.0.1:40000", 10, { local: "10.0.0.7:8080", netns: 2, role: "server" });
    expect(links(13)).toEqual(["client > api:8080 - 0", "client > api:8080 other 0", "client > other:8080 other 10"]);
  });

  test("and has its pods as its own when it is made again", () => {
    resolver.remove("service", "shop/api", at(6));
    resolver.upsert(service("api", "10.96.0.1"), at(7));
    resolver.remove("service", "shop/api", at(8));
    resolver.upsert(service("api", "10.96.0.3"), at(9));
    resolver.fresh(at(60));
    call("10.96.0.3:80", 61);
    call("10.0.0.1:40000", 61, { local: "10.0.0.7:8080", netns: 2, role: "server" });
    expect(links(64)).toEqual(["client > api:8080 api 0", "client > api:8080 api 1"]);
    // Nobody has the pod any more once it is gone.
    resolver.remove("service", "shop/api", at(65));
    resolver.remove("pod", "uid-api", at(66));
    const series = () => samples(core, at(200), 2n ** 64n - 1n).filter((line) => line.includes('name="api"')).length;
    core.settle(at(70), ++sweeps);
    core.settle(at(71), ++sweeps);
    for (let n = 0; n < 3; n++) expect(series()).toBeGreaterThan(0);
    resolver.fresh(at(80));
    for (let n = 0; n < 3; n++) series();
    expect(series()).toBe(0);
  });
});

test("an address that moves to another node is no longer ours", () => {
  const from = (born: number, netns: number) => call("10.0.0.1:80", born, { local: "10.0.0.7:40000", netns });
  resolver.upsert(pod("here", "10.0.0.7"), at(1));
  from(5, 2);
  resolver.remove("pod", "uid-here", at(20));
  resolver.upsert(pod("there", "10.0.0.7", { node: "node-b", startedAt: wall(21) }), at(23));
  call("10.0.0.7:80", 25);
  from(25, 3); // another node's, that shares our kernel
  expect(links(30)).toEqual(["client > there:80 - 10", "here > client:80 - 1"]);
  expect(core.counters()).toMatchObject({ foreign: 1, foreignBytes: 100 });
});

test("a Service that is deleted is nobody's from then on; what was dialled before stays its own", () => {
  resolver.replace([pod("client", "10.0.0.1"), pod("api", "10.0.0.7"), service("api", "10.96.0.1")], at(1));
  call("10.96.0.1:80", 5);
  expect(links(8)).toEqual(["client > api:8080 api 1"]);
  call("10.0.0.7:8080", 9);
  resolver.remove("service", "shop/api", at(20));
  call("10.96.0.1:80", 21);
  call("10.0.0.7:8080", 22);
  resolver.fresh(at(30));
  expect(links(30)).toEqual(["client > api:8080 - 1010", "client > api:8080 api 1", "client > external:80 - 100"]);
});

test("a pod of 3 s that calls a Service once is named, though its event comes after its end", () => {
  resolver.replace([pod("client", "10.0.0.1"), pod("api", "10.0.0.7"), service("api", "10.96.0.1")], at(1));
  call("10.96.0.1:80", 11, { local: "10.0.0.9:40000", netns: 9 });
  expect(links(13)).toEqual([]);
  resolver.upsert(pod("brief", "10.0.0.9", { startedAt: wall(10) }), at(13.5));
  expect(links(14)).toEqual(["brief > api:8080 api 1"]);
  resolver.upsert(pod("brief", "10.0.0.9", { finished: true, endedAt: wall(14) }), at(15));
  expect(links(20)).toEqual(["brief > api:8080 api 1"]);
});

test("connections and failures are counted at once, whoever they are with", () => {
  feed(core, { id: 1, local: "10.0.0.1:40000", remote: "192.168.7.7:80", bornAt: second, role: "client", netns: 1 });
  feed(core, {
    id: 2,
    kind: "failed",
    local: "10.0.0.1:40001",
    remote: "192.168.7.7:81",
    bornAt: second,
    role: "client",
    netns: 1,
  });
  expect(core.counters()).toMatchObject({ connections: 1, failed: 1, settling: 2, links: 0 });
});

test.each(["annotation", "namespace"])(
  "a pod that is left out by its %s, at either end and behind its Service",
  (by) => {
    const quiet: Partial<PodRow> = by === "annotation" ? { ignored: true } : {};
    const namespace = "quiet";
    const named = new Resolver(core, () => 0n, "node-a", by === "namespace" ? [namespace] : []);
    named.upsert(pod("client", "10.0.0.1"), at(0));
    named.upsert(pod("seen", "10.0.0.6"), at(0));
    named.upsert(pod("left", "10.0.0.7", { namespace, ...quiet }), at(0));
    named.upsert({ ...service("left", "10.96.0.7"), key: "quiet/left", namespace }, at(0));
    named.upsert({ ...service("seen", "10.96.0.6"), key: "shop/seen" }, at(0));
    for (const remote of ["10.0.0.7:80", "10.96.0.7:80"]) call(remote, 5);
    call("10.0.0.1:40000", 5, { role: "server", local: "10.0.0.7:80", netns: 2 });
    call("10.0.0.6:80", 5, { local: "10.0.0.7:40000", netns: 2 });
    for (const remote of ["10.0.0.6:80", "10.96.0.6:80"]) call(remote, 5);
    expect(links(10)).toEqual(["client > seen:80 - 10000", "client > seen:8080 seen 100000"]);
    expect(core.counters()).toMatchObject({ ignored: 4, ignoredBytes: 1111, waiting: 0 });
  },
);

test("a Service of which one pod asks to be left out is counted at the client's end", () => {
  resolver.upsert(pod("api-1", "10.0.0.7", { workload: "api", labels: ["app=api"], ignored: true }), at(0));
  resolver.upsert(pod("api-2", "10.0.0.8", { workload: "api", labels: ["app=api"] }), at(0));
  resolver.upsert(service("api", "10.96.0.7"), at(0));
  call("10.96.0.7:80", 5);
  expect(links(10)).toEqual(["client > api:8080 api 1"]);
});
