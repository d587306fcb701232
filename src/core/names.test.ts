import { beforeEach, describe, expect, test } from "bun:test";
import { rangeOf } from "../kube/address.ts";
import type { Core } from "./core.ts";
import { address, feed, load, pod, type Snapshot, samples, second } from "./fixture.ts";
import { anyNode, type Owner } from "./names.ts";

const always = 2n ** 64n - 1n;
const node: Owner = { type: "node", namespace: "", name: "node-a", workload: "node-a", kind: "Node", mine: true };
const service: Owner = {
  type: "service",
  namespace: "shop",
  name: "api",
  workload: "api",
  kind: "Service",
  mine: false,
};

let core: Core;
let ids: number;

beforeEach(async () => {
  core = await load();
  ids = 0;
});

const own = (text: string, owner: Owner, since = 0n) => core.assign(address(text), core.owner(owner), since);

/** A connection that ended at once; from `local` as a client unless said otherwise. */
function connect(local: string, remote: string, more: Partial<Snapshot> = {}): void {
  feed(core, {
    id: ++ids,
    kind: "final",
    role: "client",
    bornAt: 100n * second,
    netns: 1,
    sent: 1,
    local,
    remote,
    ...more,
  });
}

/** "source > destination:port service (reporter) sent/received" of all links. */
const links = (): string[] =>
  core
    .links()
    .map(
      ({ source, destination, port, service, reporter, sent, received }) =>
        `${source.name} > ${destination.name}:${port} ${service} (${reporter}) ${sent}/${received}`,
    );

describe("a node's agent that nobody has told a name", () => {
  /** From node-a, whose pod and whose peer are named at `at`. */
  function tell(at: bigint): void {
    own("10.0.0.1", { ...pod("caller"), mine: true });
    own("10.0.0.2", pod("api"));
    core.settle(at, ++sweeps);
  }
  let sweeps: number;

  beforeEach(async () => {
    core = await load({ onlyMine: true, grace: 60n * second });
    sweeps = 0;
  });

  test("keeps what lives for as long as it takes, and counts it from its first byte on", () => {
    connect("10.0.0.1:40000", "10.0.0.2:80", { kind: "snapshot", sent: 5 });
    for (let at = 102n; at < 4000n; at += 20n) core.settle(at * second, sweeps);
    expect(core.counters()).toMatchObject({ waiting: 1, foreign: 0 });
    feed(core, { id: 1, kind: "snapshot", role: "client", sent: 7, local: "10.0.0.1:40000", remote: "10.0.0.2:80" });
    tell(4000n * second);
    expect(links()).toEqual([]); // there may be Services yet
    core.fresh(4000n * second);
    core.settle(4001n * second, ++sweeps);
    expect(links()).toEqual(["caller > api:80  (client) 7/0"]);
    expect(core.counters()).toMatchObject({ waiting: 0, foreign: 0 });
  });

  test("gives what has ended the grace", () => {
    connect("10.0.0.1:40000", "10.0.0.2:80", { sent: 5 });
    core.settle(159n * second, ++sweeps);
    expect(core.counters()).toMatchObject({ waiting: 1, foreign: 0 });
    connect("10.0.0.1:40001", "10.0.0.2:80", { bornAt: 150n * second, sent: 30 });
    core.settle(219n * second, ++sweeps);
    expect(core.counters()).toMatchObject({ waiting: 0, foreign: 2 });
    tell(220n * second);
    expect(links()).toEqual([]);
  });

  test("waits for the grace from the first name on, where the lists do not come to their end", () => {
    connect("10.0.0.1:40000", "10.0.0.9:80", { kind: "snapshot", sent: 5 });
    core.settle(1000n * second, sweeps);
    tell(1001n * second);
    core.settle(1059n * second, sweeps);
    expect(links()).toEqual([]);
    core.settle(1060n * second, sweeps);
    expect(links()).toEqual(["caller > external:80  (client) 5/0"]);
  });
});

describe("an address", () => {
  test("was the old pod's for a connection born before it changed hands, however late it reports", () => {
    own("10.0.0.2", pod("api-1"));
    own("10.0.0.1", pod("old-1"), 0n);
    core.release(address("10.0.0.1"), 90n * second);
    own("10.0.0.1", pod("new-1"), 95n * second);
    connect("10.0.0.1:40000", "10.0.0.2:80", { bornAt: 89n * second });
    connect("10.0.0.1:40000", "10.0.0.2:80", { bornAt: 95n * second, netns: 2, sent: 20 });
    core.settle(200n * second, 1);
    expect(links()).toEqual(["old-1 > api-1:80  (client) 1/0", "new-1 > api-1:80  (client) 20/0"]);
  });

  test("is nobody's between two owners", () => {
    own("10.0.0.2", pod("api-1"));
    own("10.0.0.1", pod("old-1"));
    core.release(address("10.0.0.1"), 90n * second);
    own("10.0.0.1", pod("new-1"), 95n * second);
    connect("10.0.0.1:40000", "10.0.0.2:80", { bornAt: 90n * second });
    connect("10.0.0.1:40000", "10.0.0.2:80", { bornAt: 95n * second - 1n });
    core.settle(200n * second, 1);
    expect(links()).toEqual(["external > api-1:80  (client) 2/0"]);
  });

  test("goes to a new owner at the end of the old one's time, not before", () => {
    own("10.0.0.2", pod("api-1"));
    own("10.0.0.1", pod("old-1"));
    core.release(address("10.0.0.1"), 90n * second);
    own("10.0.0.1", pod("new-1"), 80n * second);
    connect("10.0.0.1:40000", "10.0.0.2:80", { bornAt: 85n * second });
    core.settle(200n * second, 1);
    expect(links()).toEqual(["old-1 > api-1:80  (client) 1/0"]);
  });

  test("that another namespace has is not the pod's until the names say so", () => {
    own("10.0.0.2", pod("api-1"));
    own("10.0.0.1", pod("old-1"));
    connect("10.0.0.1:40000", "10.0.0.2:80", { netns: 1 });
    core.settle(102n * second, 1);
    connect("10.0.0.1:40001", "10.0.0.2:80", { netns: 2, bornAt: 110n * second, sent: 20 });
    core.settle(112n * second, 2);
    expect(core.counters().waiting).toBe(1);
    core.release(address("10.0.0.1"), 105n * second);
    own("10.0.0.1", pod("new-1"), 108n * second);
    core.settle(113n * second, 3);
    expect(links()).toEqual(["old-1 > api-1:80  (client) 1/0", "new-1 > api-1:80  (client) 20/0"]);
    expect(core.counters().waiting).toBe(0);
  });

  test("that another namespace has is the pod's when fresh names insist", () => {
    own("10.0.0.2", pod("api-1"));
    own("10.0.0.1", pod("web-1"));
    connect("10.0.0.1:40000", "10.0.0.2:80", { netns: 1 });
    core.settle(102n * second, 1);
    connect("10.0.0.1:40001", "10.0.0.2:80", { netns: 2, bornAt: 110n * second });
    core.fresh(115n * second - 1n);
    core.settle(116n * second, 2);
    expect(core.counters().waiting).toBe(1);
    core.fresh(115n * second);
    core.settle(116n * second, 3);
    expect(links()).toEqual(["web-1 > api-1:80  (client) 2/0"]);
    connect("10.0.0.1:40002", "10.0.0.2:80", { netns: 2, bornAt: 117n * second });
    core.settle(119n * second, 4);
    expect(links()).toEqual(["web-1 > api-1:80  (client) 3/0"]);
  });

  test("that another namespace has is external after the grace without proof", () => {
    own("10.0.0.2", pod("api-1"));
    own("10.0.0.1", pod("web-1"));
    connect("10.0.0.1:40000", "10.0.0.2:80", { netns: 1 });
    connect("10.0.0.1:40001", "10.0.0.2:80", { netns: 2 });
    core.settle(160n * second - 1n, 1);
    expect(core.counters().waiting).toBe(1);
    core.settle(160n * second, 2);
    expect(links()).toEqual(["web-1 > api-1:80  (client) 1/0", "external > api-1:80  (client) 1/0"]);
  });
});

describe("an address that nobody has", () => {
  beforeEach(() => own("10.0.0.1", pod("web-1")));

  test("waits for an owner", () => {
    connect("10.0.0.1:40000", "10.0.0.9:80");
    core.settle(102n * second, 1);
    expect(links()).toEqual([]);
    expect(core.counters()).toMatchObject({ settling: 0, waiting: 1 });
    own("10.0.0.9", pod("late-1"), 99n * second);
    core.settle(103n * second, 2);
    expect(links()).toEqual(["web-1 > late-1:80  (client) 1/0"]);
    expect(core.counters().waiting).toBe(0);
  });

  test("is external when the names are proven five seconds newer than the connection", () => {
    connect("10.0.0.1:40000", "10.0.0.9:80");
    core.fresh(105n * second - 1n);
    core.settle(106n * second, 1);
    expect(links()).toEqual([]);
    core.fresh(105n * second);
    core.settle(106n * second, 2);
    expect(links()).toEqual(["web-1 > external:80  (client) 1/0"]);
  });

  test("is external for that connection only", () => {
    connect("10.0.0.1:40000", "10.0.0.9:80");
    core.settle(160n * second - 1n, 1);
    expect(links()).toEqual([]);
    core.settle(160n * second, 2);
    own("10.0.0.9", pod("late-1"), 99n * second);
    connect("10.0.0.1:40001", "10.0.0.9:80");
    core.settle(161n * second, 3);
    expect(links()).toEqual(["web-1 > external:80  (client) 1/0", "web-1 > late-1:80  (client) 1/0"]);
  });

  test("does not wait where there will never be names", () => {
    core.fresh(always);
    connect("10.0.0.1:40000", "10.0.0.9:80");
    core.settle(102n * second, 1);
    expect(links()).toEqual(["web-1 > external:80  (client) 1/0"]);
  });

  for (const [text, waits] of [
    ["1.1.1.1", false],
    ["172.32.0.1", false],
    ["100.128.0.1", false],
    ["192.169.0.1", false],
    ["[2001:db8::1]", false],
    ["[fec0::1]", false],
    ["10.1.1.1", true],
    ["172.16.0.1", true],
    ["172.31.255.1", true],
    ["192.168.0.1", true],
    ["100.64.0.1", true],
    ["100.127.0.1", true],
    ["169.254.1.1", true],
    ["[fd00::1]", true],
    ["[fc00::1]", true],
    ["[fe80::1]", true],
    ["[febf::1]", true],
  ] as const) {
    test(`and is ${text} ${waits ? "waits" : "does not wait"}`, () => {
      connect("10.0.0.1:40000", `${text}:443`);
      core.settle(102n * second, 1);
      expect(core.counters().waiting).toBe(waits ? 1 : 0);
    });
  }

  test("waits where an address of its /16 or /48 was ever a pod's", () => {
    own("203.0.113.7", pod("pub-1"));
    own("2001:db8:1::7", pod("pub-2"));
    core.release(address("203.0.113.7"), second);
    connect("10.0.0.1:40000", "203.0.1.1:443");
    connect("10.0.0.1:40000", "203.1.1.1:443");
    connect("10.0.0.1:40000", "[2001:db8:1:ffff::1]:443");
    connect("10.0.0.1:40000", "[2001:db8:2::1]:443");
    core.settle(102n * second, 1);
    expect(core.counters().waiting).toBe(2);
  });
});

describe("the host", () => {
  beforeEach(() => {
    own("10.0.0.1", pod("web-1"));
    core.host(77, core.owner(node));
  });

  test("has every address seen in its network namespace, from then on as remote too", () => {
    connect("10.0.0.1:40000", "10.0.0.254:80");
    core.settle(102n * second, 1);
    expect(core.counters().waiting).toBe(1);
    connect("10.0.0.254:50000", "10.0.0.1:80", { netns: 77, sent: 2 });
    core.settle(103n * second, 2);
    core.settle(104n * second, 3);
    expect(links().sort()).toEqual(["node-a > web-1:80  (client) 2/0", "web-1 > node-a:80  (client) 1/0"]);
  });

  test("does not have what the names say is another's", () => {
    connect("10.0.0.254:50000", "10.0.0.1:80", { netns: 77 });
    core.settle(102n * second, 1);
    own("10.0.0.254", pod("late-1"), 110n * second);
    connect("10.0.0.1:40000", "10.0.0.254:80", { bornAt: 111n * second });
    core.settle(113n * second, 2);
    expect(links()).toEqual(["node-a > web-1:80  (client) 1/0", "web-1 > late-1:80  (client) 1/0"]);
  });
});

describe("a range of addresses", () => {
  const office: Owner = {
    type: "external",
    namespace: "",
    name: "office",
    workload: "office",
    kind: "External",
    mine: false,
  };
  const range = (text: string, owner: Owner, waits = false) => {
    const { address, bits } = rangeOf(text)!;
    core.range(address, bits, core.owner(owner), waits);
  };

  beforeEach(() => own("10.0.0.1", pod("web-1")));

  test("names its addresses at once, the longest first, in IPv4 and IPv6", () => {
    range("192.168.0.0/16", office);
    range("192.168.7.0/24", { ...office, name: "db" });
    range("192.168.7.8/32", { ...office, name: "one" });
    range("fd77::/16", { ...office, name: "six" });
    range("::/0", { ...office, name: "all" });
    for (const to of [
      "192.168.1.1",
      "192.168.7.7",
      "192.168.7.8",
      "192.168.7.9",
      "[fd77:1::1]",
      "10.9.9.9",
      "[fd78::1]",
    ])
      connect("10.0.0.1:40000", `${to}:5432`);
    core.settle(102n * second, 1);
    expect(links()).toEqual([
      "web-1 > office:5432  (client) 1/0",
      "web-1 > db:5432  (client) 2/0",
      "web-1 > one:5432  (client) 1/0",
      "web-1 > six:5432  (client) 1/0",
      "web-1 > all:5432  (client) 1/0",
    ]);
    expect(core.counters().waiting).toBe(1);
  });

  test("is behind whoever has one of them for himself, and ends", () => {
    range("192.168.0.0/16", office);
    own("192.168.1.1", pod("api-1"));
    connect("10.0.0.1:40000", "192.168.1.1:80");
    core.settle(102n * second, 1);
    core.dropRange(address("192.168.0.0"), 112);
    connect("10.0.0.1:40000", "192.168.1.2:80");
    core.settle(103n * second, 2);
    expect(links()).toEqual(["web-1 > api-1:80  (client) 1/0"]);
    expect(core.counters().waiting).toBe(1);
  });

  test("of a node's pods is the node's once nobody else can have the address", () => {
    range("10.244.1.0/24", node, true);
    range("203.0.113.0/24", node, true);
    range("10.0.0.0/8", office);
    connect("10.0.0.1:40000", "10.244.1.1:80");
    connect("10.0.0.1:40000", "203.0.113.1:80");
    connect("10.0.0.1:40000", "10.244.1.9:80", { sent: 20 });
    core.fresh(105n * second - 1n);
    core.settle(106n * second, 1);
    expect(core.counters().waiting).toBe(3);
    own("10.244.1.9", pod("late-1"));
    core.fresh(105n * second);
    core.settle(107n * second, 2);
    expect(links().sort()).toEqual(["web-1 > late-1:80  (client) 20/0", "web-1 > node-a:80  (client) 2/0"]);
  });
});

describe("on the host's network", () => {
  beforeEach(() => {
    own("172.18.0.2", node);
    own("10.0.0.1", pod("web-1"));
  });
  const client = (cgroup: bigint, more: Partial<Snapshot> = {}) =>
    connect("172.18.0.2:40000", "10.0.0.1:80", { netns: 77, cgroup, ...more });

  test("a pod is who its cgroup says, and the rest is the node", () => {
    core.cgroup(5n, core.owner(pod("proxy-1")));
    core.cgroup(6n, "none");
    client(5n, { sent: 1 });
    client(6n, { sent: 2 });
    client(7n, { sent: 4 });
    client(1n, { sent: 8 });
    client(0n, { sent: 16 });
    core.settle(102n * second, 1);
    expect(links()).toEqual(["proxy-1 > web-1:80  (client) 1/0", "node-a > web-1:80  (client) 30/0"]);
  });

  test("a pod that has no name yet is waited for, as long as for any", () => {
    core.cgroup(5n, "later");
    client(5n);
    core.settle(102n * second, 1);
    expect(core.counters().waiting).toBe(1);
    core.cgroup(5n, core.owner(pod("proxy-1")));
    core.settle(103n * second, 2);
    core.cgroup(6n, "later");
    client(6n, { bornAt: 104n * second });
    core.fresh(109n * second);
    core.settle(110n * second, 3);
    expect(links()).toEqual(["proxy-1 > web-1:80  (client) 1/0", "node-a > web-1:80  (client) 1/0"]);
  });

  test("does not matter to who has an address of his own", () => {
    core.cgroup(5n, core.owner(pod("other-1")));
    connect("10.0.0.1:40000", "172.18.0.2:80", { cgroup: 5n });
    core.settle(102n * second, 1);
    expect(links()).toEqual(["web-1 > node-a:80  (client) 1/0"]);
  });

  test("a client is named at its server's end, too, where both are of this kernel", () => {
    core.cgroup(5n, core.owner(pod("proxy-1")));
    // The bridge's address, from the namespace where the node's own address was seen.
    connect("172.18.0.2:40001", "10.9.9.9:443", { netns: 77, cgroup: 6n });
    connect("10.0.0.254:40000", "10.0.0.1:80", { netns: 77, cgroup: 5n, sent: 3, received: 5 });
    connect("10.0.0.1:80", "10.0.0.254:40000", { role: "server", netns: 1, sent: 5, received: 3 });
    core.settle(102n * second, 1);
    expect(links()).toEqual(["proxy-1 > web-1:80  (client) 3/5", "proxy-1 > web-1:80  (server) 3/5"]);
  });

  test("ports lead to their pods: a node's own before every node's", () => {
    const any = core.owner(anyNode);
    expect(any).toBe(1);
    core.port(any, 30080, core.owner(pod("api-1")), 8080, "api");
    core.port(core.owner(node), 80, core.owner(pod("edge-1")), 8080, "edge");
    connect("10.0.0.1:40000", "172.18.0.2:30080", { sent: 1 });
    connect("10.0.0.1:40000", "172.18.0.2:80", { sent: 2 });
    connect("10.0.0.1:40000", "172.18.0.2:22", { sent: 4 });
    core.settle(102n * second, 1);
    expect(links()).toEqual([
      "web-1 > api-1:8080 api (client) 1/0",
      "web-1 > edge-1:8080 edge (client) 2/0",
      "web-1 > node-a:22  (client) 4/0",
    ]);
  });

  test("a Service's address that is local there is the node's", () => {
    own("10.96.0.1", service);
    connect("172.18.0.2:40001", "10.0.0.1:81", { netns: 77 });
    core.settle(102n * second, 1);
    connect("10.96.0.1:40000", "10.0.0.1:80", { netns: 77 });
    core.settle(103n * second, 2);
    expect(links()).toEqual(["node-a > web-1:81  (client) 1/0", "node-a > web-1:80  (client) 1/0"]);
  });

  test("a pod's address does not make the namespace a pod's", () => {
    connect("172.18.0.2:40001", "10.0.0.1:81", { netns: 77 });
    core.settle(102n * second, 1);
    own("10.0.0.3", pod("api-1"));
    connect("10.0.0.3:40001", "10.0.0.1:82", { netns: 77 });
    connect("169.254.20.10:40001", "10.0.0.1:83", { netns: 77 });
    core.settle(103n * second, 2);
    expect(links().at(-1)).toBe("node-a > web-1:83  (client) 1/0");
  });
});

describe("a probe", () => {
  const probe = (more: Partial<Snapshot> = {}, port = 80) => {
    connect(`172.18.0.2:40000`, `10.0.0.1:${port}`, { netns: 77, cgroup: 6n, sent: 3, received: 5, ...more });
    connect(`10.0.0.1:${port}`, `172.18.0.2:40000`, { netns: 1, role: "server", sent: 5, received: 3 });
  };
  const prepare = () => {
    own("172.18.0.2", node);
    own("10.0.0.1", pod("web-1"));
    core.probe(core.owner(pod("web-1")), 80);
    core.cgroup(5n, core.owner(pod("proxy-1")));
    core.cgroup(6n, "none");
    core.cgroup(1n, "none"); // the root, which every socket has where cgroups are of version 1
  };
  beforeEach(prepare);

  test("counts for its pod and is no link", () => {
    probe();
    core.settle(102n * second, 1);
    expect(links()).toEqual([]);
    expect(core.counters()).toMatchObject({ probes: 2, probeBytes: 16, postedBytes: 16, links: 0 });
    expect(samples(core, 110n * second, 0n).filter((line) => line.includes("_link_"))).toEqual([]);
    expect(samples(core, 120n * second, 119n * second)).toEqual(
      expect.arrayContaining([
        'kube_ebpf_transmitted_bytes_total{namespace="shop",name="web-1"} 5',
        'kube_ebpf_acknowledged_bytes_total{namespace="shop",name="web-1",port="80"} 3',
      ]),
    );
  });

  test("is a link on demand", async () => {
    core = await load({ probes: true });
    prepare();
    probe();
    core.settle(102n * second, 1);
    expect(links()).toEqual(["node-a > web-1:80  (client) 3/5", "node-a > web-1:80  (server) 3/5"]);
    expect(core.counters().probes).toBe(0);
  });

  for (const [what, more, port] of [
    ["to another port", {}, 81],
    ["from a pod on the host's network", { cgroup: 5n }, 80],
    ["from a cgroup that tells nothing", { cgroup: 1n }, 80],
  ] as const) {
    test(`is nothing ${what}`, () => {
      probe(more, port);
      core.settle(102n * second, 1);
      expect(core.counters()).toMatchObject({ probes: 0, links: 2 });
    });
  }

  test("is nothing that the node only translates for", () => {
    connect("10.0.0.1:80", "172.18.0.2:40000", { netns: 1, role: "server", sent: 5, received: 3 });
    core.settle(102n * second, 1);
    expect(links()).toEqual(["node-a > web-1:80  (server) 3/5"]);
  });
});

describe("a sidecar's redirect", () => {
  beforeEach(() => {
    own("10.0.0.1", pod("web-1"));
    own("10.0.0.2", pod("api-1"));
    own("10.96.0.1", service);
    core.port(core.owner(service), 80, core.owner(pod("api-1")), 8080, "api");
    core.port(core.owner(pod("api-1")), 8080, core.owner(pod("api-1")), 8080, "api");
  });
  const outward = () => {
    connect("10.0.0.1:40000", "10.96.0.1:80", { sent: 3, received: 5 });
    connect("127.0.0.1:15001", "10.0.0.1:40000", { role: "server", sent: 5, received: 3 });
    connect("10.0.0.1:40001", "10.0.0.2:8080", { sent: 30, received: 50 });
  };
  const inward = (port = 8080) => {
    connect("10.0.0.2:15006", "10.0.0.1:40001", { role: "server", netns: 2, sent: 50, received: 30 });
    connect("127.0.0.6:40002", `10.0.0.2:${port}`, { netns: 2, sent: 3, received: 5 });
    connect(`10.0.0.2:${port}`, "127.0.0.6:40002", { role: "server", netns: 2, sent: 5, received: 3 });
  };

  test("on both ends is one link, with the port that was dialled", () => {
    outward();
    inward();
    core.settle(102n * second, 1);
    expect(links()).toEqual(["web-1 > api-1:8080 api (client) 30/50", "web-1 > api-1:8080 api (server) 30/50"]);
    expect(core.counters()).toMatchObject({ loopback: 4, loopbackBytes: 32, waiting: 0 });
  });

  test("is that of its own namespace and port only", () => {
    connect("127.0.0.1:15001", "10.0.0.1:40000", { role: "server", netns: 9 });
    connect("127.0.0.1:15001", "10.0.0.1:40009", { role: "server" });
    connect("10.0.0.1:40000", "10.96.0.1:80", { sent: 3 });
    core.settle(102n * second, 1);
    expect(links()).toEqual(["web-1 > api-1:8080 api (client) 3/0"]);
  });

  test("is forgotten: a port is used again", () => {
    outward();
    core.settle(102n * second, 1);
    core.settle(120n * second, 2);
    connect("10.0.0.1:40000", "10.96.0.1:80", { bornAt: 130n * second, sent: 7 });
    core.settle(132n * second, 3);
    expect(links()).toEqual(["web-1 > api-1:8080 api (client) 37/50"]);
  });

  test("has the proxy's port where a pod has several behind it", () => {
    inward();
    inward(9090);
    core.settle(102n * second, 1);
    expect(links()).toEqual(["web-1 > api-1:15006  (server) 60/100"]);
  });

  test("waits for the port behind it, as long as for a name", () => {
    connect("10.0.0.2:15006", "10.0.0.1:40001", { role: "server", netns: 2, sent: 50, received: 30 });
    core.settle(102n * second, 1);
    expect(core.counters().waiting).toBe(1);
    core.settle(160n * second, 2);
    expect(links()).toEqual(["web-1 > api-1:15006  (server) 30/50"]);
  });
});

test("an end that asks not to be counted is in no link, as either end", () => {
  own("10.0.0.1", pod("web-1"));
  own("10.0.0.2", pod("quiet-1", { ignored: true }));
  connect("10.0.0.1:40000", "10.0.0.2:80", { sent: 3, received: 5 });
  connect("10.0.0.2:80", "10.0.0.1:40000", { role: "server", netns: 2, sent: 5, received: 3 });
  core.settle(102n * second, 1);
  expect(links()).toEqual([]);
  expect(core.counters()).toMatchObject({ ignored: 2, ignoredBytes: 16, postedBytes: 0, waiting: 0 });
});

test("a private database is external a minute after its first connection, and later ones at once", () => {
  own("10.0.0.1", pod("web-1"));
  connect("10.0.0.1:40000", "192.168.7.7:5432", { sent: 1 });
  // Counted at once, named later.
  expect(core.counters()).toMatchObject({ connections: 0, settling: 1 });
  core.settle(160n * second - 1n, 1);
  expect(links()).toEqual([]);
  core.settle(160n * second, 2);
  expect(links()).toEqual(["web-1 > external:5432  (client) 1/0"]);
  connect("10.0.0.1:40001", "192.168.7.7:5432", { bornAt: 170n * second, sent: 20 });
  core.settle(172n * second, 3);
  expect(links()).toEqual(["web-1 > external:5432  (client) 21/0"]);
  // Until an event gives it an owner; and the next waits again.
  own("192.168.7.7", pod("db-1"));
  core.release(address("192.168.7.7"), 180n * second);
  connect("10.0.0.1:40002", "192.168.7.7:5432", { bornAt: 175n * second });
  connect("10.0.0.1:40003", "192.168.7.7:5432", { bornAt: 181n * second });
  core.settle(183n * second, 4);
  expect(links()).toEqual(["web-1 > external:5432  (client) 21/0", "web-1 > db-1:5432  (client) 1/0"]);
  expect(core.counters().waiting).toBe(1);
});

describe("source and destination", () => {
  beforeEach(() => {
    own("10.0.0.1", pod("web-1"));
    own("10.0.0.2", pod("api-1"));
    own("fd00::1", pod("web-6"));
    own("fd00::2", pod("api-6"));
  });

  test("are client and server, whoever reports, and sent goes from one to the other", () => {
    connect("10.0.0.1:40000", "10.0.0.2:8080", { role: "client", sent: 3, received: 5 });
    connect("10.0.0.2:8080", "10.0.0.1:40000", { role: "server", sent: 5, received: 3, netns: 2 });
    connect("[fd00::1]:40000", "[fd00::2]:8080", { role: "client", sent: 30, received: 50, netns: 3 });
    connect("[fd00::2]:8080", "[fd00::1]:40000", { role: "server", sent: 50, received: 30, netns: 4 });
    core.settle(102n * second, 1);
    expect(links()).toEqual([
      "web-1 > api-1:8080  (client) 3/5",
      "web-1 > api-1:8080  (server) 3/5",
      "web-6 > api-6:8080  (client) 30/50",
      "web-6 > api-6:8080  (server) 30/50",
    ]);
  });

  test("of unknown role: the lower port is the server's", () => {
    connect("10.0.0.1:8080", "10.0.0.2:40000", { role: "unknown", sent: 5 });
    connect("10.0.0.1:40000", "10.0.0.2:8080", { role: "unknown", sent: 3 });
    core.settle(102n * second, 1);
    expect(links()).toEqual(["api-1 > web-1:8080  (server) 0/5", "web-1 > api-1:8080  (client) 3/0"]);
  });

  test("follow a role that only a later record knows", () => {
    feed(core, { id: 1, local: "10.0.0.1:8080", remote: "10.0.0.2:30000", bornAt: 100n * second, role: "unknown" });
    feed(core, {
      id: 1,
      local: "10.0.0.1:8080",
      remote: "10.0.0.2:30000",
      bornAt: 100n * second,
      role: "client",
      sent: 4,
    });
    core.settle(102n * second, 1);
    expect(links()).toEqual(["web-1 > api-1:30000  (client) 4/0"]);
  });

  test("through a Service are the pods behind it, with the same labels from both ends", () => {
    own("10.96.0.1", service);
    const vip = core.owner(service);
    const workload = core.owner(pod("api-1", { name: "" }));
    const api = core.owner(pod("api-1"));
    core.port(vip, 80, workload, 8080, "api");
    core.port(api, 8080, api, 8080, "api");
    connect("10.0.0.1:40000", "10.96.0.1:80", { role: "client", sent: 3 });
    connect("10.0.0.2:8080", "10.0.0.1:40000", { role: "server", received: 3, sent: 0, netns: 2 });
    connect("10.0.0.1:40000", "10.96.0.1:81", { role: "client", sent: 7 });
    core.settle(102n * second, 1);
    expect(links()).toHaveLength(2); // its ports may be told after the Service
    core.fresh(105n * second);
    core.settle(105n * second, 2);
    expect(links()).toEqual([
      "web-1 > :8080 api (client) 3/0",
      "web-1 > api-1:8080 api (server) 3/0",
      "web-1 > api:81  (client) 7/0",
    ]);
    const labels = core.links().map(({ destination: { namespace, workload, kind } }) => [namespace, workload, kind]);
    expect(labels[0]).toEqual(labels[1]!);

    core.dropPorts(vip);
    core.dropPorts(api);
    connect("10.0.0.1:40000", "10.96.0.1:80", { role: "client", sent: 11 });
    core.settle(103n * second, 2);
    expect(links()[3]).toBe("web-1 > api:80  (client) 11/0");
  });

  test("take the last word about a port", () => {
    const api = core.owner(pod("api-1"));
    core.port(api, 8080, api, 8080, "one");
    core.port(api, 9090, api, 9090, "other");
    core.port(api, 8080, api, 8080, "two");
    connect("10.0.0.1:40000", "10.0.0.2:8080");
    connect("10.0.0.1:40000", "10.0.0.2:9090");
    core.settle(102n * second, 1);
    expect(links()).toEqual(["web-1 > api-1:8080 two (client) 1/0", "web-1 > api-1:9090 other (client) 1/0"]);
  });
});

describe("loopback", () => {
  const pairs = [
    ["127.0.0.1:40000", "127.0.0.1:80"],
    ["127.0.0.53:40000", "127.0.0.1:80"],
    ["[::1]:40000", "[::1]:80"],
    ["10.0.0.1:40000", "10.0.0.1:80"],
    ["[fd00::1]:40000", "[fd00::1]:80"],
  ] as const;

  for (const [local, remote] of pairs) {
    test(`${local} to ${remote} is counted and not posted`, () => {
      own("10.0.0.1", pod("web-1"));
      feed(core, { id: 1, local, remote, bornAt: 0n, role: "client", sent: 3, received: 4 });
      core.settle(102n * second, 1);
      feed(core, { id: 1, kind: "final", local, remote, bornAt: 0n, role: "client", sent: 5, received: 4 });
      core.settle(103n * second, 1);
      expect(links()).toEqual([]);
      expect(core.counters()).toMatchObject({
        loopback: 1,
        loopbackBytes: 9,
        connections: 0,
        postedBytes: 0,
        waiting: 0,
      });
    });
  }

  test("is posted on demand, both ends the owner of its network namespace", async () => {
    core = await load({ loopback: true });
    core.fresh(always);
    core.host(77, core.owner(node));
    own("10.0.0.1", pod("web-1"));
    connect("10.0.0.1:40000", "10.0.0.1:80", { sent: 1 });
    core.settle(102n * second, 1);
    connect("127.0.0.1:40000", "127.0.0.1:81", { sent: 2 });
    connect("[::1]:40000", "[::1]:82", { netns: 77, sent: 4 });
    connect("127.0.0.1:40000", "127.0.0.1:83", { netns: 5, sent: 8 });
    core.settle(103n * second, 2);
    expect(links()).toEqual([
      "web-1 > web-1:80  (client) 1/0",
      "web-1 > web-1:81  (client) 2/0",
      "node-a > node-a:82  (client) 4/0",
      "external > external:83  (client) 8/0",
    ]);
  });
});

test("only what is of the own node is posted, when asked for", async () => {
  core = await load({ onlyMine: true });
  core.fresh(always);
  own("10.0.0.1", pod("web-1"));
  own("10.0.1.2", pod("api-1", { mine: false }));
  connect("10.0.0.1:40000", "10.0.1.2:8080", { sent: 3, received: 5 });
  connect("10.0.1.2:8080", "10.0.0.1:40000", { role: "server", sent: 5, received: 3, netns: 2 });
  connect("192.168.7.7:8080", "10.0.0.1:40000", { role: "server", sent: 20, netns: 3 });
  core.settle(102n * second, 1);
  expect(links()).toEqual(["web-1 > api-1:8080  (client) 3/5"]);
  expect(core.counters()).toMatchObject({ foreign: 2, foreignBytes: 28, postedBytes: 8 });
});

test("equal owners have one number, and external is 0", () => {
  expect(
    core.owner({ ...node, type: "external", name: "external", workload: "external", kind: "External", mine: false }),
  ).toBe(0);
  expect(core.owner(pod("web-1"))).toBe(core.owner(pod("web-1")));
  expect(core.owner(pod("web-1"))).not.toBe(core.owner(pod("web-1", { mine: false })));
});

test("owners and texts are found again, and links tell them as they were told", () => {
  const odd: Owner = { ...service, name: 'a"b\\c\nd', workload: "web", kind: "" };
  const number = core.owner(odd);
  expect(core.owner({ ...odd })).toBe(number);
  for (const other of [{ name: 'a"b' }, { mine: true }, { ignored: true }, { type: "node" }] as Partial<Owner>[]) {
    expect(core.owner({ ...odd, ...other })).not.toBe(number);
  }
  own("10.0.0.1", pod("web-1"));
  core.assign(address("10.0.0.2"), number, 0n);
  connect("10.0.0.1:40000", "10.0.0.2:80");
  core.settle(200n * second, 1);
  expect(core.links().map(({ source, destination }) => [source, destination])).toEqual([[pod("web-1"), odd]]);
});
