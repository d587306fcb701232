/** From objects as an API server has them to the exposition: how far links go, at every node's agent. */
import { describe, expect, test } from "bun:test";
import type { Core } from "../core/core.ts";
import { feed, load, samples, second } from "../core/fixture.ts";
import { parse } from "./parse.ts";
import { Resolver } from "./resolve.ts";

const always = 2n ** 64n - 1n;
const zones = { a1: "a", a2: "a", b1: "b", c1: "" };
const nodes = Object.keys(zones) as (keyof typeof zones)[];

const nodeObject = (name: keyof typeof zones, i: number) => ({
  ...{ apiVersion: "v1", kind: "Node" },
  metadata: {
    name,
    labels: {
      "topology.kubernetes.io/region": "r",
      // An old cluster's nodes have the old label alone.
      ...(zones[name] && {
        [name === "b1" ? "failure-domain.beta.kubernetes.io/zone" : "topology.kubernetes.io/zone"]: zones[name],
      }),
    },
  },
  status: { addresses: [{ type: "InternalIP", address: `172.30.0.${i + 1}` }] },
});
/** A pod on each node. */
const podObject = (nodeName: string, i: number) => ({
  ...{
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: "shop", name: `web-${i}`, uid: `uid-${i}`, labels: { app: "web" } },
  },
  ...{ spec: { nodeName }, status: { phase: "Running", podIP: `10.0.0.${i + 1}` } },
});
const service = {
  ...{ apiVersion: "v1", kind: "Service", metadata: { namespace: "shop", name: "web" } },
  spec: { clusterIP: "10.96.0.1", selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }] },
};
const objects = [...nodes.map(podObject), service, ...nodes.map(nodeObject)];

type Scope = "same_zone" | "other_zone" | "unknown" | "outside" | "internet";

interface Flow {
  from: string;
  to: string;
  dialled?: string;
  bytes: number;
  scope: Scope;
}

const between = (a: keyof typeof zones, b: keyof typeof zones): Scope => {
  if (a === b) return "same_zone";
  if (zones[a] === "" || zones[b] === "") return "unknown";
  return zones[a] === zones[b] ? "same_zone" : "other_zone";
};
const flows: Flow[] = nodes.flatMap((from, i) => [
  ...nodes.flatMap((to, j) => {
    const ends = { from: `10.0.0.${i + 1}`, to: `10.0.0.${j + 1}`, scope: between(from, to) };
    return i === j
      ? []
      : [
          { ...ends, bytes: 1 + i * 4 + j },
          { ...ends, dialled: "10.96.0.1:80", bytes: 1000 + i * 4 + j },
        ];
  }),
  { from: `10.0.0.${i + 1}`, to: "1.1.1.1", bytes: 100_000 + i, scope: "internet" },
  { from: "9.9.9.9", to: `10.0.0.${i + 1}`, bytes: 200_000 + i, scope: "internet" },
  { from: `10.0.0.${i + 1}`, to: "192.168.7.7", bytes: 300_000 + i, scope: "outside" },
]);

/** The agent of one node, with names in that order; nodes share a kernel here. */
async function agentOf(node: string, listed: object[], options: { scope?: boolean; maxLinks?: number }): Promise<Core> {
  const core = await load({ onlyMine: true, ...options });
  const resolver = new Resolver(core, () => 0n, node);
  for (const object of listed) resolver.upsert(parse(object)!, second);
  core.fresh(always);
  let id = 0;
  for (const { from, to, dialled, bytes } of flows) {
    const port = 30_000 + id;
    const [client, server] = [`${from}:${port}`, `${to}:8080`];
    const moved = { bornAt: 2n * second, kind: "final" } as const;
    if (from !== "9.9.9.9")
      feed(core, { id: ++id, role: "client", local: client, remote: dialled ?? server, sent: bytes, ...moved });
    if (to.startsWith("10.0.0."))
      feed(core, { id: ++id, role: "server", local: server, remote: client, received: bytes, ...moved });
  }
  core.settle(70n * second, 1);
  return core;
}

async function rowsOf(listed: object[], options: { scope?: boolean; maxLinks?: number } = { scope: true }) {
  const cores = await Promise.all(nodes.map((node) => agentOf(node, listed, options)));
  return cores
    .flatMap((core) => samples(core, 71n * second, always))
    .filter((line) => line.startsWith("kube_ebpf_link_sent_bytes_total"));
}

/** Bytes by the value of a label, of the rows that have all these. */
function sums(lines: string[], ...having: string[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const line of lines.filter((one) => having.every((label) => one.includes(label)))) {
    const scope = /,scope="(\w+)"/.exec(line)?.[1] ?? "";
    sums[scope] = (sums[scope] ?? 0) + Number(line.replace(/^.*} /, ""));
  }
  return sums;
}

function truth(of: (flow: Flow) => boolean, scopeOf = (flow: Flow): string => flow.scope): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const flow of flows.filter(of)) sums[scopeOf(flow)] = (sums[scopeOf(flow)] ?? 0) + flow.bytes;
  return sums;
}

describe("--scope", async () => {
  const lines = await rowsOf(objects);

  test("splits all bytes that count once by how far they went", () => {
    expect(sums(lines, 'counted="once"')).toEqual(truth(() => true));
  });

  test("is the same at both ends, but where the client dialled a Service", () => {
    const isInside = ({ to }: Flow) => to.startsWith("10.0.0.");
    expect(sums(lines, 'counted="again"')).toEqual(
      truth(
        (flow) => isInside(flow) && flow.from !== "9.9.9.9",
        ({ dialled, scope }) => (dialled ? "unknown" : scope),
      ),
    );
  });

  test("adds up to what there is without it, capped or not", async () => {
    const all = Object.values(truth(() => true)).reduce((sum, bytes) => sum + bytes, 0);
    expect(sums(await rowsOf(objects, {}), 'counted="once"')).toEqual({ "": all });
    expect(sums(await rowsOf(objects, { scope: true, maxLinks: 1 }), 'counted="once"')).toEqual(truth(() => true));
  });

  test("does not depend on the order in which objects come", async () => {
    const sorted = (rows: string[]) => rows.toSorted();
    expect(sorted(await rowsOf(objects.toReversed()))).toEqual(sorted(lines));
  });
});

test("a node whose object never comes is of no zone, and crosses none", async () => {
  const without = objects.filter(({ kind, metadata }) => kind !== "Node" || metadata.name !== "b1");
  const is = ({ from, to }: Flow, ip: string) => from === ip || to === ip;
  expect(sums(await rowsOf(without), 'counted="once"')).toEqual(
    truth(
      () => true,
      (flow) => (is(flow, "10.0.0.3") && flow.scope === "other_zone" ? "unknown" : flow.scope),
    ),
  );
});

test("a node that is labelled, or labelled otherwise, counts from then on", async () => {
  const core = await load({ scope: true });
  const resolver = new Resolver(core, () => 0n);
  const tell = (zone: string | undefined) => {
    const labels = zone === undefined ? {} : { "topology.kubernetes.io/zone": zone };
    resolver.upsert(parse({ ...nodeObject("a2", 1), metadata: { name: "a2", labels } })!, second);
  };
  for (const object of [podObject("a1", 0), podObject("a2", 1), nodeObject("a1", 0)])
    resolver.upsert(parse(object)!, second);
  core.fresh(always);
  const seen: string[] = [];
  [undefined, "a", "b", undefined].forEach((zone, i) => {
    tell(zone);
    feed(core, {
      id: i + 1,
      role: "client",
      local: "10.0.0.1:4",
      remote: "10.0.0.2:80",
      sent: 10 ** i,
      bornAt: second,
    });
    core.settle(3n * second, 1);
    seen.push(
      core
        .links()
        .map(({ scope, sent }) => `${scope} ${sent}`)
        .join(),
    );
  });
  expect(seen).toEqual([
    "unknown 1",
    "unknown 1,same_zone 10",
    "unknown 1,same_zone 10,other_zone 100",
    "unknown 1001,same_zone 10,other_zone 100",
  ]);
});

test("a pod of which two objects are known, made again elsewhere with its name and address, is where the later one is", async () => {
  const core = await load({ scope: true });
  const resolver = new Resolver(core, () => 0n);
  const again = { ...podObject("b1", 1), status: { podIP: "10.0.0.2", startTime: "2020-01-01T00:00:00Z" } };
  again.metadata = { ...again.metadata, uid: "uid-again" };
  for (const object of [podObject("a1", 0), podObject("a1", 1), again, ...nodes.map(nodeObject)]) {
    resolver.upsert(parse(object)!, second);
  }
  core.fresh(always);
  feed(core, { id: 1, role: "client", local: "10.0.0.1:4", remote: "10.0.0.2:80", sent: 1, bornAt: second });
  core.settle(3n * second, 1);
  expect(core.links().map(({ scope }) => scope)).toEqual(["other_zone"]);
});
