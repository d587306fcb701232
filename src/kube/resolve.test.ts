import { describe, expect, test } from "bun:test";
import type { Names, Owner } from "../core/names.ts";
import type { EndpointSliceRow, NodeRow, PodRow, Row, ServiceRow } from "./parse.ts";
import { LINGER, Resolver } from "./resolve.ts";

/** Writes down what the core is told, owners by name. */
class Recorder implements Names {
  readonly owners: Owner[] = [];
  readonly calls: string[] = [];
  /** Owners that an object has. */
  readonly holds: string[] = [];
  /** Of each node. */
  readonly zones = new Map<string, string>();

  owner(o: Owner): number {
    const index = this.owners.findIndex((known) => Bun.deepEquals(known, o));
    return index < 0 ? this.owners.push({ ...o }) : index + 1;
  }
  hold(owner: number) {
    this.holds.push(this.name(owner));
  }
  drop(owner: number) {
    this.holds.splice(this.holds.indexOf(this.name(owner)), 1);
  }
  assign(address: Uint8Array, owner: number, since: bigint) {
    this.calls.push(`assign ${show(address)} ${this.name(owner)} ${since}`);
  }
  release(address: Uint8Array, at: bigint) {
    this.calls.push(`release ${show(address)} ${at}`);
  }
  port(owner: number, port: number, toOwner: number, toPort: number, service: string) {
    this.calls.push(`port ${this.name(owner)}:${port} ${this.name(toOwner)}:${toPort} "${service}"`);
  }
  probe(owner: number, port: number) {
    this.calls.push(`probe ${this.name(owner)}:${port}`);
  }
  range(address: Uint8Array, bits: number, owner: number, waits: boolean) {
    this.calls.push(`range ${show(address)}/${bits} ${this.name(owner)}${waits ? " waits" : ""}`);
  }
  dropRange(address: Uint8Array, bits: number) {
    this.calls.push(`dropRange ${show(address)}/${bits}`);
  }
  cgroup(id: bigint, owner: number | "none" | "later") {
    this.calls.push(`cgroup ${id} ${typeof owner === "number" ? this.name(owner) : owner}`);
  }
  dropPorts(owner: number) {
    this.calls.push(`dropPorts ${this.name(owner)}`);
  }
  zone(node: number, zone: string) {
    this.zones.set(this.name(node), zone);
  }
  fresh(at: bigint) {
    this.calls.push(`fresh ${at}`);
  }

  /** What was told since the last time. */
  take(): string[] {
    return this.calls.splice(0);
  }

  private name(owner: number): string {
    const { type, name, workload, kind } = this.owners[owner - 1]!;
    if (type === "pod" || type === "node") return name;
    return `${type === "external" ? "external " : ""}${name}(${kind} ${workload})`;
  }
}

/** The last two bytes, for the tests' addresses differ there: 10.0.0.7 is 0.7. */
function show(address: Uint8Array): string {
  expect(address.length).toBe(16);
  return address.slice(14).join(".");
}

const pod = (name: string, address: string, more: Partial<PodRow> = {}): PodRow => ({
  type: "pod",
  key: `uid-${name}`,
  namespace: "shop",
  name,
  workload: name.replace(/-\d+$/, ""),
  kind: "Deployment",
  node: "node-a",
  hostNetwork: false,
  addresses: [address],
  labels: [`app=${name.replace(/-\d+$/, "")}`],
  ports: [{ name: "http", port: 8080 }],
  finished: false,
  ...more,
});

const service = (name: string, address: string, more: Partial<ServiceRow> = {}): ServiceRow => ({
  type: "service",
  key: `shop/${name}`,
  namespace: "shop",
  name,
  addresses: address === "" ? [] : [address],
  selector: [`app=${name}`],
  ports: [{ name: "", port: 80, target: "http" }],
  ...more,
});

const node = (name: string, ...addresses: string[]): NodeRow => ({
  type: "node",
  key: name,
  name,
  addresses,
  ranges: [],
});

const slice = (of: string, addresses: string[], port = 8080, name = ""): EndpointSliceRow => ({
  type: "slice",
  key: `shop/${of}-x`,
  namespace: "shop",
  service: of,
  addresses,
  ports: [{ name, port }],
});

/** The wall clock's millisecond 1,000 is boot time 1,000: easy to read. */
function setUp(ownNode?: string) {
  const names = new Recorder();
  return { names, resolver: new Resolver(names, (wall) => BigInt(wall), ownNode) };
}

function told(rows: Row[], at = 5000n): string[] {
  const { names, resolver } = setUp();
  resolver.replace(rows, at);
  return names.take();
}

describe("an address", () => {
  test("has been its first owner's since ever, whenever the pod started", () => {
    expect(told([pod("web-1", "10.0.0.7", { startedAt: 3000, readyAt: 4000 })])).toEqual(["assign 0.7 web-1 0"]);
  });

  test("goes to IPv4 as v4-mapped and to IPv6 as it is", () => {
    const { names, resolver } = setUp();
    const seen: string[] = [];
    names.assign = (address) => seen.push(Buffer.from(address).toString("hex"));
    resolver.upsert(pod("web-1", "", { addresses: ["10.0.0.7", "fd00::1:7"] }), 1n);
    expect(seen).toEqual(["00000000000000000000ffff0a000007", "fd000000000000000000000000010007"]);
  });

  test("is not told again while nothing changes", () => {
    const { names, resolver } = setUp();
    const rows = () => [pod("web-1", "10.0.0.7"), service("web", "10.96.0.1"), node("node-a", "172.18.0.2")];
    resolver.replace(rows(), 1n);
    names.take();
    resolver.replace(rows(), 2n);
    resolver.upsert(pod("web-1", "10.0.0.7"), 3n);
    expect(names.take()).toEqual([]);
    resolver.fresh(4n);
    expect(names.take()).toEqual(["fresh 4"]);
  });

  test("that vanished ends when we learned of it", () => {
    const { names, resolver } = setUp();
    resolver.replace([pod("web-1", "10.0.0.7")], 1n);
    resolver.replace([], 9n);
    expect(names.take()).toEqual(["assign 0.7 web-1 0", "release 0.7 9"]);
  });

  test("of a finished pod is free, from its containers' end on", () => {
    const { names, resolver } = setUp();
    resolver.upsert(pod("job-1", "10.0.0.7"), 1000n);
    resolver.upsert(pod("job-1", "10.0.0.7", { finished: true, endedAt: 4000 }), 5000n);
    expect(names.take()).toEqual(["assign 0.7 job-1 0", "release 0.7 4000"]);
    resolver.upsert(pod("web-1", "10.0.0.7", { startedAt: 4500 }), 6000n);
    expect(names.take()).toEqual(["assign 0.7 web-1 4500"]);
  });

  test("of a finished pod is its successor's, whichever is read first", () => {
    const ended = pod("job-1", "10.0.0.7", { finished: true });
    const successor = pod("web-1", "10.0.0.7", { startedAt: 4000 });
    expect(told([ended, successor])).toEqual(["assign 0.7 web-1 0"]);
    expect(told([successor, ended])).toEqual(["assign 0.7 web-1 0"]);
  });

  test("of a pod that is first heard of after its end was its own until then", () => {
    const { names, resolver } = setUp();
    const ended = pod("job-1", "10.0.0.7", { finished: true, startedAt: 2000, endedAt: 4000 });
    resolver.upsert(ended, 9000n);
    expect(names.take()).toEqual(["assign 0.7 job-1 0", "release 0.7 4000"]);
    resolver.upsert(ended, 10_000n);
    expect(names.take()).toEqual([]);
    resolver.upsert(pod("web-1", "10.0.0.7", { startedAt: 5000 }), 11_000n);
    expect(names.take()).toEqual(["assign 0.7 web-1 5000"]);
  });

  test("of such a pod stays its successor's, which is heard of before", () => {
    const { names, resolver } = setUp();
    resolver.upsert(pod("web-1", "10.0.0.7", { startedAt: 5000 }), 9000n);
    resolver.upsert(pod("job-1", "10.0.0.7", { finished: true, startedAt: 2000, endedAt: 4000 }), 9000n);
    expect(names.take()).toEqual(["assign 0.7 web-1 0"]);
  });

  test("of such a pod is not told where no connection can wait for it any more", () => {
    const { names, resolver } = setUp();
    resolver.upsert(pod("job-1", "10.0.0.7", { finished: true, endedAt: 4000 }), 600_000_004_000n);
    expect(names.take()).toEqual([]);
  });

  test("does not end in the future", () => {
    const { names, resolver } = setUp();
    resolver.upsert(pod("web-1", "10.0.0.7", { endedAt: 30_000 }), 1000n);
    resolver.remove("pod", "uid-web-1", 2000n);
    expect(names.take()).toEqual(["assign 0.7 web-1 0", "release 0.7 2000"]);
  });
});

describe("an address that changes hands in one read", () => {
  const reuse = (old: Partial<PodRow>, successor: Partial<PodRow>): string[] => {
    const { names, resolver } = setUp();
    resolver.replace([pod("old-1", "10.0.0.7", { startedAt: 100 })], 1000n);
    names.take();
    const rows = [pod("new-1", "10.0.0.7", successor)];
    resolver.replace(Object.keys(old).length > 0 ? [...rows, pod("old-1", "10.0.0.7", old)] : rows, 5000n);
    return names.take();
  };
  test("is the new pod's from the end of the second in which its network was ready", () => {
    expect(reuse({}, { startedAt: 2000, readyAt: 3000 })).toEqual(["release 0.7 4000", "assign 0.7 new-1 4000"]);
  });
  test("is the old one's until we learned of it, where nothing else tells", () => {
    expect(reuse({}, { startedAt: 2000 })).toEqual(["release 0.7 5000", "assign 0.7 new-1 5000"]);
    expect(reuse({}, {})).toEqual(["release 0.7 5000", "assign 0.7 new-1 5000"]);
  });
  test("is nobody's between the old one's end and the new one's start", () => {
    expect(reuse({ finished: true, endedAt: 2500 }, { startedAt: 2600, readyAt: 3000 })).toEqual([
      "release 0.7 2500",
      "assign 0.7 new-1 3000",
    ]);
  });
  test("is the new one's from the old one's end, where it started before", () => {
    expect(reuse({ finished: true, endedAt: 2500 }, { startedAt: 2000 })).toEqual([
      "release 0.7 2500",
      "assign 0.7 new-1 2500",
    ]);
  });
  test("is the new one's now, where its kubelet's clock is ahead", () => {
    expect(reuse({}, { startedAt: 9000, readyAt: 9000 })).toEqual(["release 0.7 5000", "assign 0.7 new-1 5000"]);
  });
  test("goes to the later start, though the old pod still says that it runs", () => {
    expect(reuse({ startedAt: 100 }, { startedAt: 2000, readyAt: 3000 })).toEqual([
      "release 0.7 4000",
      "assign 0.7 new-1 4000",
    ]);
  });
});

test("a claim that lost comes back when the winner is gone", () => {
  const { names, resolver } = setUp();
  resolver.upsert(pod("a-1", "10.0.0.7", { startedAt: 200 }), 1000n);
  resolver.upsert(pod("b-1", "10.0.0.7", { startedAt: 100 }), 2000n);
  resolver.remove("pod", "uid-a-1", 3000n);
  expect(names.take()).toEqual(["assign 0.7 a-1 0", "release 0.7 3000", "assign 0.7 b-1 3000"]);
});

test("a pod made again with its name and another address", () => {
  const { names, resolver } = setUp();
  resolver.replace([pod("db-0", "10.0.0.7", { key: "u1", kind: "StatefulSet" })], 1000n);
  resolver.replace([pod("db-0", "10.0.0.8", { key: "u2", kind: "StatefulSet" })], 2000n);
  expect(names.take()).toEqual(["assign 0.7 db-0 0", "assign 0.8 db-0 0", "release 0.7 2000"]);
  expect(resolver.counts()).toEqual({ pod: 1, service: 0, node: 0, slice: 0 });
});

test("a pod made again with its name and its address is the same owner", () => {
  const { names, resolver } = setUp();
  resolver.replace([pod("db-0", "10.0.0.7", { key: "u1" })], 1000n);
  resolver.replace([pod("db-0", "10.0.0.7", { key: "u2" })], 2000n);
  expect(names.take()).toEqual(["assign 0.7 db-0 0"]);
});

test("a node's address stays its own", () => {
  const rows = [
    node("node-a", "172.18.0.2"),
    pod("proxy-1", "172.18.0.2", { hostNetwork: true }),
    pod("odd-1", "172.18.0.2"),
    service("lb", "172.18.0.2", { ports: [] }),
  ];
  expect(told(rows)).toEqual(["assign 0.2 node-a 0"]);
  expect(told(rows.toReversed())).toContain("assign 0.2 node-a 5000");
});

test("a pod on the host's network owns no address, though its node is not known", () => {
  expect(told([pod("proxy-1", "172.18.0.2", { hostNetwork: true })])).toEqual([]);
});

test("what is mine", () => {
  const rows = [
    pod("web-1", "10.0.0.7"),
    pod("web-2", "10.0.0.8", { node: "node-b" }),
    node("node-a", "172.18.0.2"),
    node("node-b", "172.18.0.3"),
    service("web", "10.96.0.1", { ports: [] }),
  ];
  const mine = (ownNode?: string) => {
    const { names, resolver } = setUp(ownNode);
    resolver.replace(rows, 1n);
    return names.owners.filter((o) => o.mine).map((o) => o.name);
  };
  expect(mine("node-a")).toEqual(["web-1", "node-a"]);
  expect(mine()).toEqual(["web-1", "node-a", "web-2", "node-b", "web"]);
});

describe("a Service", () => {
  test("by selector, with a named target port", () => {
    expect(told([pod("web-1", "10.0.0.7"), pod("web-2", "10.0.0.8"), service("web", "10.96.0.1")])).toEqual([
      "assign 0.7 web-1 0",
      "assign 0.8 web-2 0",
      "assign 0.1 web(Service web) 0",
      "dropPorts web-1",
      'port web-1:8080 web-1:8080 "web"',
      "dropPorts web-2",
      'port web-2:8080 web-2:8080 "web"',
      'port web(Service web):80 web(Deployment web):8080 "web"',
    ]);
  });

  test("has all of its labels", () => {
    const web = service("web", "10.96.0.1", { selector: ["app=web", "track=stable"] });
    const stable = pod("web-1", "10.0.0.7", { labels: ["app=web", "track=stable"] });
    const canary = pod("web-2", "10.0.0.8", { labels: ["app=web", "track=canary"] });
    const api = pod("api-1", "10.0.0.10", { labels: ["app=api", "track=stable"] });
    const elsewhere = pod("web-3", "10.0.0.9", { labels: stable.labels, namespace: "other" });
    expect(told([canary, api, stable, elsewhere, web]).filter((call) => call.startsWith("port"))).toEqual([
      'port web-1:8080 web-1:8080 "web"',
      'port web(Service web):80 web(Deployment web):8080 "web"',
    ]);
  });

  test("without an address names its backends only", () => {
    expect(told([pod("web-1", "10.0.0.7"), service("web", "")]).filter((call) => call.startsWith("port"))).toEqual([
      'port web-1:8080 web-1:8080 "web"',
    ]);
  });

  test("of two workloads leads to itself", () => {
    const rows = [pod("a-1", "10.0.0.7"), pod("b-1", "10.0.0.8"), service("web", "10.96.0.1")];
    rows[0] = { ...pod("a-1", "10.0.0.7"), labels: ["app=web"] };
    rows[1] = { ...pod("b-1", "10.0.0.8"), labels: ["app=web"] };
    expect(told(rows).at(-1)).toBe('port web(Service web):80 web(Service web):8080 "web"');
  });

  test("of two kinds of one name leads to itself", () => {
    const other = pod("web-2", "10.0.0.8", { kind: "StatefulSet" });
    expect(told([pod("web-1", "10.0.0.7"), other, service("web", "10.96.0.1")]).at(-1)).toBe(
      'port web(Service web):80 web(Service web):8080 "web"',
    );
  });

  test("of two target ports keeps its own", () => {
    const other = pod("web-2", "10.0.0.8", { ports: [{ name: "http", port: 9090 }] });
    expect(told([pod("web-1", "10.0.0.7"), other, service("web", "10.96.0.1")]).at(-1)).toBe(
      'port web(Service web):80 web(Deployment web):80 "web"',
    );
  });

  test("that never had backends leads to itself", () => {
    const ports = [
      { name: "a", port: 80, target: 8080 },
      { name: "b", port: 81, target: "http" },
    ];
    expect(told([service("web", "10.96.0.1", { ports })])).toEqual([
      "assign 0.1 web(Service web) 0",
      'port web(Service web):80 web(Service web):8080 "web"',
      'port web(Service web):81 web(Service web):81 "web"',
    ]);
  });

  test("that shares its backends with another gives no name, on either side", () => {
    const rows = [
      pod("web-1", "10.0.0.7"),
      service("web", "10.96.0.1"),
      service("also", "", { selector: ["app=web"] }),
    ];
    expect(told(rows).filter((call) => call.startsWith("port"))).toEqual([
      'port web(Service web):80 web(Deployment web):8080 ""',
    ]);
  });

  test("by its EndpointSlices, whatever its selector says", () => {
    const ports = [{ name: "main", port: 80, target: 1 }];
    const rows = [
      pod("web-1", "10.0.0.7"),
      pod("api-1", "10.0.0.8"),
      service("web", "10.96.0.1", { ports }),
      slice("web", ["10.0.0.8", "192.0.2.9"], 7070, "main"),
    ];
    expect(told(rows).filter((call) => call.startsWith("port"))).toEqual([
      'port api-1:7070 api-1:7070 "web"',
      'port web(Service web):80 web(Deployment api):7070 "web"',
    ]);
  });

  test("on nodes leads to the node", () => {
    const rows = [
      node("node-a", "172.18.0.2"),
      service("kubernetes", "10.96.0.1"),
      slice("kubernetes", ["172.18.0.2"], 6443),
    ];
    expect(told(rows).filter((call) => call.startsWith("port"))).toEqual([
      'port node-a:6443 node-a:6443 "kubernetes"',
      'port kubernetes(Service kubernetes):80 kubernetes(Node node-a):6443 "kubernetes"',
    ]);
  });

  test("out of the cluster is counted by its clients alone, for as long as nobody in it has an address of its", () => {
    const { names, resolver } = setUp();
    const leads = () => names.take().filter((call) => call.startsWith("port kubernetes"));
    resolver.upsert(service("kubernetes", "10.96.0.1", { selector: [] }), 1n);
    resolver.upsert(slice("kubernetes", ["172.18.0.2", "172.18.0.3"], 6443), 1n);
    const port = (to: string) => `port kubernetes(Service kubernetes):80 ${to} "kubernetes"`;
    // The target port has a name, so nobody says which number it has there.
    expect(leads().at(-1)).toBe(port("external kubernetes(Service kubernetes):80"));
    resolver.upsert(node("node-a", "172.18.0.3"), 2n);
    expect(leads()).toEqual([port("kubernetes(Node node-a):6443")]);
    resolver.remove("node", "node-a", 3n);
    expect(leads()).toEqual([port("external kubernetes(Service kubernetes):80")]);
    // By a selector only pods are behind it: theirs may be late.
    resolver.upsert(service("kubernetes", "10.96.0.1"), 4n);
    expect(leads()).toEqual([port("kubernetes(Service kubernetes):80")]);
  });

  test("follows its pods", () => {
    const { names, resolver } = setUp();
    resolver.upsert(service("web", "10.96.0.1"), 1n);
    names.take();
    resolver.upsert(pod("web-1", "10.0.0.7"), 2n);
    expect(names.take()).toEqual([
      "assign 0.7 web-1 0",
      "dropPorts web-1",
      'port web-1:8080 web-1:8080 "web"',
      "dropPorts web(Service web)",
      'port web(Service web):80 web(Deployment web):8080 "web"',
    ]);
    resolver.upsert(pod("web-2", "10.0.0.8"), 3n);
    expect(names.take()).toEqual(["assign 0.8 web-2 0", "dropPorts web-2", 'port web-2:8080 web-2:8080 "web"']);
    resolver.remove("pod", "uid-web-1", 4n);
    // What came to it just before is still to be settled.
    expect(names.take()).toEqual(["release 0.7 4", "dropPorts web-1", 'port web-1:8080 web-1:8080 "web"']);
    resolver.fresh(4n + LINGER - 1n);
    expect(names.take()).toEqual([`fresh ${4n + LINGER - 1n}`]);
    resolver.fresh(4n + LINGER);
    expect(names.take()).toEqual(["dropPorts web-1", `fresh ${4n + LINGER}`]);
    resolver.remove("service", "shop/web", 5n);
    // And what dialled a Service, at both ends.
    expect(names.take()).toEqual(["release 0.1 5", "dropPorts web-2", 'port web-2:8080 web-2:8080 "web"']);
    resolver.fresh(5n + 9_999_999_999n);
    resolver.fresh(5n + 10_000_000_000n);
    expect(names.take()).toEqual([
      `fresh ${5n + 9_999_999_999n}`,
      "dropPorts web-2",
      "dropPorts web(Service web)",
      `fresh ${5n + 10_000_000_000n}`,
    ]);
  });

  test("is still that of a pod that has just gone, and so it is where both go or come again", () => {
    const { names, resolver } = setUp();
    const last = (owner: string) => {
      const calls = names.take();
      return calls.slice(calls.lastIndexOf(`dropPorts ${owner}`)).filter((call) => call.includes(` ${owner}:`));
    };
    const told = 'port web-1:8080 web-1:8080 "web"';
    resolver.replace([service("web", "10.96.0.1"), pod("web-1", "10.0.0.7")], 1n);
    const holds = names.holds.toSorted();
    names.take();
    resolver.remove("pod", "uid-web-1", 2n);
    resolver.upsert(pod("web-1", "10.0.0.9", { key: "uid-again" }), 3n);
    expect(last("web-1")).toEqual([told]);
    resolver.fresh(2n + LINGER);
    expect(names.holds.toSorted()).toEqual(holds);
    expect(last("web-1")).toEqual([]); // as it was
    resolver.remove("pod", "uid-again", 4n);
    resolver.remove("service", "shop/web", 5n);
    expect(last("web-1")).toEqual([told]);
    resolver.fresh(4n + LINGER);
    expect(last("web-1")).toEqual([]);
    resolver.fresh(5n + LINGER);
    expect(names.take()).toContain("dropPorts web-1");
    expect(names.holds).toEqual([]);
  });

  test("leads on to the workload that it led to, until others are behind it", () => {
    const { names, resolver } = setUp();
    const leads = () => names.take().filter((call) => /^(port|dropPorts) web\(/.test(call));
    const lead = (to: string) => `port web(Service web):80 ${to} "web"`;
    resolver.replace([pod("web-1", "10.0.0.7"), service("web", "10.96.0.1"), slice("web", ["10.0.0.7"], 8080)], 1n);
    expect(leads()).toEqual([lead("web(Deployment web):8080")]);
    // A roll-out whose slice is heard of before its pods; a drain, whose pods go before others come.
    resolver.upsert(slice("web", ["10.0.0.8"], 8080), 2n);
    resolver.remove("pod", "uid-web-1", 2n);
    resolver.upsert(slice("web", [], 8080), 3n);
    expect(leads()).toEqual([]);
    resolver.upsert(pod("api-1", "10.0.0.9"), 4n);
    resolver.upsert(slice("web", ["10.0.0.9"], 9090), 4n);
    expect(leads()).toEqual(["dropPorts web(Service web)", lead("web(Deployment api):9090")]);
  });

  test("that is another by now leads to itself while nothing is behind it", () => {
    const { names, resolver } = setUp();
    resolver.replace([pod("web-1", "10.0.0.7"), service("web", "10.96.0.1")], 1n);
    resolver.remove("pod", "uid-web-1", 2n);
    names.take();
    resolver.upsert(service("web", "10.96.0.1", { selector: ["app=api"] }), 3n);
    expect(names.take()).toEqual(["dropPorts web(Service web)", 'port web(Service web):80 web(Service web):80 "web"']);
  });

  test("whose rival goes gets its name back", () => {
    const { names, resolver } = setUp();
    resolver.replace(
      [pod("web-1", "10.0.0.7"), service("web", "10.96.0.1"), service("also", "", { selector: ["app=web"] })],
      1n,
    );
    names.take();
    resolver.remove("service", "shop/also", 2n);
    expect(names.take()).toEqual([
      "dropPorts web-1",
      'port web-1:8080 web-1:8080 "web"',
      "dropPorts web(Service web)",
      'port web(Service web):80 web(Deployment web):8080 "web"',
    ]);
  });
});

test("ten times as many pods and Services are replaced in some ten times the time, and no more", () => {
  const ip = (net: number, i: number) => `10.${net}.${i >> 8}.${i & 255}`;
  const rows = (generation: string, pods: number): Row[] => {
    const services = pods / 10;
    return [
      ...Array.from({ length: pods }, (_, i) => {
        const workload = `w${i % services}`;
        return pod(`${workload}-${i}`, ip(1, i), { key: `${generation}${i}`, workload: `${workload}-${generation}` });
      }),
      ...Array.from({ length: services }, (_, i) => service(`w${i}`, ip(96, i))),
    ];
  };
  /** Microseconds of CPU. */
  const replaced = (pods: number): number => {
    const counted = { assigned: 0, ports: 0 };
    const owners = new Map<string, number>();
    const names: Names = {
      owner: ({ type, name, workload }) => {
        const key = `${type} ${name} ${workload}`;
        owners.set(key, owners.get(key) ?? owners.size + 1);
        return owners.get(key)!;
      },
      hold: () => {},
      drop: () => {},
      assign: () => void counted.assigned++,
      release: () => {},
      port: () => void counted.ports++,
      probe: () => {},
      range: () => {},
      dropRange: () => {},
      cgroup: () => {},
      dropPorts: () => {},
      zone: () => {},
      fresh: () => {},
    };
    const resolver = new Resolver(names, (wall) => BigInt(wall));
    resolver.replace(rows("a", pods), 1n);
    expect(counted).toEqual({ assigned: 1.1 * pods, ports: 1.1 * pods });
    const next = rows("b", pods);
    const start = process.cpuUsage();
    resolver.replace(next, 2n);
    const { user } = process.cpuUsage(start);
    expect(counted.assigned).toBe(2.1 * pods);
    return user;
  };
  replaced(1000); // what is compiled now is not measured
  const few = Math.min(...Array.from({ length: 5 }, () => replaced(1000)));
  const many = Math.min(...Array.from({ length: 3 }, () => replaced(10_000)));
  console.log(`1,000 pods: ${few} us, 10,000: ${many} us`);
  // Where each Service looked at all pods it was 30.
  expect(many / few).toBeLessThan(20);
});

describe("a node's port", () => {
  const edge = (name: string, more: Partial<PodRow> = {}) =>
    pod(name, "172.18.0.2", { hostNetwork: true, hostPorts: [{ port: 9100, target: 9100 }], ...more });
  const ports = (calls: string[]) => calls.filter((call) => /^(port|dropPorts|probe)/.test(call));

  test("that every node has leads where its Service does, until it is gone", () => {
    const { names, resolver } = setUp();
    const web = service("web", "", { ports: [{ name: "", port: 80, target: "http", nodePort: 30080 }] });
    resolver.replace([pod("web-1", "10.0.0.7"), web], 1n);
    expect(ports(names.take())).toContain('port :30080 web(Deployment web):8080 "web"');
    resolver.upsert({ ...web, ports: [{ name: "", port: 80, target: "http", nodePort: 30081 }] }, 2n);
    expect(ports(names.take())).toEqual([
      "dropPorts web(Service web)",
      "dropPorts ",
      'port :30081 web(Deployment web):8080 "web"',
    ]);
    resolver.remove("service", "shop/web", 3n);
    expect(names.take()).not.toContain("dropPorts "); // those that dialled it before may still settle
    resolver.fresh(3n + LINGER);
    expect(ports(names.take())).toContain("dropPorts ");
  });

  test("stays told where its Service is made again alike", () => {
    const { names, resolver } = setUp();
    const web = service("web", "10.96.0.1", { ports: [{ name: "", port: 80, target: 8080, nodePort: 30080 }] });
    resolver.upsert(web, 1n);
    names.take();
    resolver.remove("service", "shop/web", 2n);
    resolver.upsert(web, 3n);
    resolver.fresh(3n + LINGER);
    expect(ports(names.take())).not.toContain("dropPorts ");
  });

  test("stay where a pod with host ports waits for a node", () => {
    const { names, resolver } = setUp("node-a");
    const web = service("web", "10.96.0.1", { ports: [{ name: "", port: 80, target: 8080, nodePort: 30080 }] });
    const waiting = pod("edge-1", "", {
      node: "",
      addresses: [],
      hostNetwork: true,
      hostPorts: [{ port: 9100, target: 9100 }],
    });
    resolver.upsert(web, 1n);
    expect(names.take()).toContainEqual(expect.stringMatching(/^port :30080 /));
    resolver.upsert(waiting, 2n);
    resolver.remove("pod", "uid-edge-1", 3n);
    expect(names.take()).toEqual([]);
  });

  test("that another Service has taken over stays that one's", () => {
    const { names, resolver } = setUp();
    const on = (name: string, nodePort: number) =>
      service(name, "", { ports: [{ name: "", port: 80, target: 8080, nodePort }] });
    resolver.replace([on("b", 30081), on("a", 30080)], 1n);
    names.take();
    resolver.replace([on("b", 30080), on("a", 30081)], 2n);
    expect(ports(names.take()).slice(-2).sort()).toEqual([
      'port :30080 b(Service b):8080 "b"',
      'port :30081 a(Service a):8080 "a"',
    ]);
  });

  test("that a pod has on its node leads to the pod, with the Service that leads there", () => {
    const web = pod("web-1", "10.0.0.7", { hostPorts: [{ port: 80, target: 8080 }] });
    expect(ports(told([web, service("web", "10.96.0.1")]))).toContain('port node-a:80 web-1:8080 "web"');
  });

  test("is the node's while two pods have it", () => {
    const { names, resolver } = setUp();
    resolver.replace([edge("old-1"), edge("new-1")], 1n);
    expect(ports(names.take())).toEqual(["dropPorts node-a"]);
    resolver.upsert(edge("old-1", { finished: true }), 2n);
    expect(ports(names.take())).toEqual(["dropPorts node-a", 'port node-a:9100 new-1:9100 ""']);
    resolver.remove("pod", "uid-new-1", 3n);
    expect(ports(names.take())).toEqual(["dropPorts node-a"]);
  });

  test("is a Service's backend", () => {
    const rows = [
      node("node-a", "172.18.0.2"),
      edge("edge-1"),
      service("edge", "10.96.0.1", { ports: [{ name: "", port: 80, target: 9100 }] }),
      slice("edge", ["172.18.0.2"], 9100),
    ];
    expect(ports(told(rows))).toEqual([
      "dropPorts node-a",
      'port node-a:9100 edge-1:9100 "edge"',
      "dropPorts edge-1",
      'port edge-1:9100 edge-1:9100 "edge"',
      'port edge(Service edge):80 edge(Deployment edge):9100 "edge"',
    ]);
  });
});

test("an ephemeral port is told where a container declares it, or Services that do not agree", () => {
  const { names, resolver } = setUp();
  const web = pod("web-1", "10.0.0.7", {
    ports: [
      { name: "http", port: 8080 },
      { name: "", port: 50_051 },
    ],
  });
  resolver.upsert(web, 1n);
  expect(names.take()).toEqual(["assign 0.7 web-1 0", "dropPorts web-1", 'port web-1:50051 web-1:50051 ""']);
  for (const name of ["a", "b"]) {
    const ports = [{ name: "", port: 80, target: 40_000 }];
    resolver.upsert(service(name, "", { selector: ["app=web"], ports }), 2n);
  }
  const last = names.take();
  expect(new Set(last.slice(last.lastIndexOf("dropPorts web-1")))).toEqual(
    new Set(["dropPorts web-1", 'port web-1:50051 web-1:50051 ""', 'port web-1:40000 web-1:40000 ""']),
  );
  resolver.remove("pod", "uid-web-1", 3n);
  expect(names.take()).toContain("dropPorts web-1");
});

test("an owner is held for as long as an object has it", () => {
  const { names, resolver } = setUp();
  const rows = () => [
    pod("web-1", "10.0.0.7"),
    pod("proxy-1", "172.18.0.2", { hostNetwork: true, hostPorts: [{ port: 80, target: 80 }] }),
    service("web", "10.96.0.1"),
    node("node-a", "172.18.0.2"),
  ];
  resolver.replace(rows(), 1n);
  // The node by itself, and for the port that a pod has of it.
  const all = ["node-a", "node-a", "proxy-1", "web(Service web)", "web-1"];
  expect(names.holds.toSorted()).toEqual(all);
  resolver.replace(rows(), 2n);
  resolver.upsert(pod("web-1", "10.0.0.7", { labels: ["app=other"] }), 3n);
  expect(names.holds.toSorted()).toEqual([...all, "web-1"]); // a backend until just now
  resolver.fresh(3n + LINGER);
  expect(names.holds.toSorted()).toEqual(all);
  resolver.upsert(pod("web-1", "10.0.0.7", { finished: true }), 4n);
  expect(names.holds.toSorted()).toEqual(all.slice(0, -1));
  resolver.replace([node("node-a", "172.18.0.2")], 5n);
  expect(names.holds).toEqual(["node-a"]);
});

test("a pod's probes are told, and forgotten with it", () => {
  const { names, resolver } = setUp();
  resolver.upsert(pod("web-1", "10.0.0.7", { probes: [8080, 9090] }), 1n);
  expect(names.take()).toEqual(["assign 0.7 web-1 0", "dropPorts web-1", "probe web-1:8080", "probe web-1:9090"]);
  resolver.remove("pod", "uid-web-1", 2n);
  expect(names.take()).toEqual(["release 0.7 2", "dropPorts web-1"]);
});

test("an own pod's probes are told with its address, where ports are told later", () => {
  const { names, resolver } = setUp("node-a");
  resolver.take(pod("web-1", "10.0.0.7", { probes: [8080] }), 1n);
  expect(names.take()).toEqual(["assign 0.7 web-1 0", "dropPorts web-1", "probe web-1:8080"]);
  resolver.tellPorts();
  expect(names.take()).toEqual([]);
});

test("a node's pod ranges are its own, as long as it is there", () => {
  const { names, resolver } = setUp();
  const row = { ...node("node-a", "172.18.0.2"), ranges: ["10.244.1.0/24", "fd00::/64"] };
  resolver.upsert(row, 1n);
  expect(names.take()).toEqual(["assign 0.2 node-a 0", "range 1.0/120 node-a waits", "range 0.0/64 node-a waits"]);
  resolver.upsert({ ...row, ranges: ["10.244.1.0/24"] }, 2n);
  expect(names.take()).toEqual(["dropRange 1.0/120", "dropRange 0.0/64", "range 1.0/120 node-a waits"]);
  resolver.remove("node", "node-a", 3n);
  expect(names.take()).toEqual(["release 0.2 3", "dropRange 1.0/120"]);
});

describe("a cgroup", () => {
  const uid = "0a1b2c3d-1111-4222-8333-444455556666";
  const path = (of: string) => ["cri-containerd-x.scope", `kubepods-pod${of.replaceAll("-", "_")}.slice`];
  const edge = pod("edge-1", "172.18.0.2", { key: uid, hostNetwork: true });

  test("is its pod's, whichever is known first", () => {
    const { names, resolver } = setUp();
    resolver.cgroup(5n, path(uid));
    resolver.upsert(edge, 1n);
    resolver.cgroup(6n, path(uid));
    resolver.cgroup(7n, ["kubelet.service", "system.slice"]);
    expect(names.take()).toEqual(["cgroup 5 later", "cgroup 5 edge-1", "cgroup 6 edge-1", "cgroup 7 none"]);
  });

  test("that is told again is its pod's once", () => {
    const { names, resolver } = setUp();
    for (const id of [5n, 6n, 5n]) resolver.cgroup(id, path(uid));
    names.take();
    resolver.upsert(edge, 1n);
    expect(names.take()).toEqual(["cgroup 5 edge-1", "cgroup 6 edge-1"]);
  });

  test("of a static pod is its mirror's", () => {
    const { names, resolver } = setUp();
    const hash = "9f".repeat(16);
    resolver.cgroup(5n, path(hash));
    resolver.upsert({ ...edge, key: "another", cgroup: hash }, 1n);
    resolver.cgroup(6n, path(hash));
    expect(names.take()).toEqual(["cgroup 5 later", "cgroup 5 edge-1", "cgroup 6 edge-1"]);
  });
});
