/** From one set of values to another and back, to the operator's monitors, away, and without Helm. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { $ } from "bun";
import { cache, type Manifest, top } from "../chart/helm.ts";
import { agents, get, helm, install, kubectl, list, namespace, nodes, ready, release } from "./cluster.ts";
import { comesTo } from "./comes.ts";
import { type Moment, now, settled } from "./links.ts";
import { growth, query, samples } from "./prometheus.ts";
import { seriesAt } from "./series.ts";
import { scraped } from "./targets.ts";
import { go, rest, trade } from "./truth.ts";

/** Other values, on all nodes at once. */
const upgrade = (...flags: string[]): Promise<string> =>
  install("--set", "updateStrategy.rollingUpdate.maxUnavailable=100%", ...flags);

/** The value of a metric that each agent has one of, by node. */
const each = async (promql: string) =>
  Object.fromEntries((await query(promql)).map(({ labels, value }) => [labels.instance!, value]));
const all = async (value: number) => Object.fromEntries((await nodes()).map((node) => [node, value]));

/** What the counters of a family, all of which began at 0 after that moment, have counted by node. */
async function grown(family: string, since: number): Promise<Record<string, number>> {
  const sums: Record<string, number> = {};
  for (const { labels, samples: all } of await samples(family, Date.now() / 1000 - since)) {
    sums[labels.instance!] = (sums[labels.instance!] ?? 0) + growth(all, 0);
  }
  return sums;
}

/** Links of the shop that name a pod at their reporter's end, and those that do not. */
async function named(): Promise<{ pods: boolean; workloads: boolean }> {
  const shop = 'kube_ebpf_link_connections_total{source_namespace="shop",destination_namespace="shop"';
  const [pods, workloads] = await Promise.all(['source_pod!=""', 'source_pod=""'].map((of) => query(`${shop},${of}}`)));
  return { pods: pods!.length > 0, workloads: workloads!.length > 0 };
}

/** What the agents have in the kernel that all nodes of this cluster share: "prog 17 ringside_state", "map 4". */
async function inKernel(): Promise<string[]> {
  const programs = (await $`bpftool -j prog list`.quiet().json()) as {
    id: number;
    name?: string;
    map_ids?: number[];
  }[];
  const ours = programs.filter(({ name }) => name?.startsWith("ringside_"));
  const maps = new Set(ours.flatMap(({ map_ids = [] }) => map_ids));
  return [...ours.map(({ id, name }) => `prog ${id} ${name}`), ...[...maps].map((id) => `map ${id}`)];
}

/** What there still is of it, and whatever is called after us. */
async function leftInKernel(before: string[]): Promise<string[]> {
  const maps = (await $`bpftool -j map list`.quiet().json()) as { id: number }[];
  const there = new Set(maps.map(({ id }) => `map ${id}`));
  return [...(await inKernel()), ...before.filter((object) => there.has(object))];
}

/** Names of all objects that a label finds, or that are in a namespace. */
async function objects(...which: string[]): Promise<string[]> {
  const scope = which.includes("-n") ? ["--namespaced"] : [];
  const types = (await kubectl("api-resources", "--verbs=list", "-o", "name", ...scope))
    .trim()
    .split("\n")
    // What the server makes and forgets by itself.
    .filter((type) => !/^(events|leases|componentstatuses)\b/.test(type));
  return (await kubectl("get", types.join(","), "-o", "name", ...which)).split("\n").filter(Boolean).sort();
}

/** All that is ours at the API server, wherever it is. */
const ours = async () => [
  ...(await objects("--all-namespaces", "-l", "app.kubernetes.io/name=ringside")),
  ...(await objects("--all-namespaces", "-l", `owner=helm,name=${release}`)),
];

/** Waits until nothing is left of the agents, at the API server and in the kernel. */
const nothingLeft = (before: string[]): Promise<void> =>
  comesTo([], async () => [...(await ours()), ...(await leftInKernel(before))]);

/** The shop's series before it all. */
let known: string[];

describe("helm", () => {
  let moment: Moment;
  let revision: string;
  beforeAll(async () => {
    await rest();
    await Bun.sleep(3000); // until all of it is scraped
    moment = await now();
    known = await seriesAt(moment.time);
    expect(known.length).toBeGreaterThan(10);
    const history = JSON.parse(await helm("history", release, "-n", namespace, "-o", "json"));
    revision = String(history.at(-1).revision);
  }, 120_000);
  afterAll(go);

  test("an upgrade to another aggregation and port: Prometheus follows, and nothing is lost", async () => {
    await upgrade("--set", "agent.aggregate=pod", "--set", "port=12345");
    await scraped(12345);
    await trade();
    moment = await settled(moment);
    expect(await named()).toEqual({ pods: true, workloads: false });
  }, 180_000);

  test("an upgrade to a cap: no more rows than that, and sums stay whole", async () => {
    const before = await each('ringside_link_rows{rows="links"}');
    await upgrade("--set", "agent.maxLinks=4");
    // The agents before these have counted what no scrape has seen any more: that of rows that were still at 0.
    const start = Date.now() / 1000;
    await scraped(12020);
    await trade();
    await rest();
    moment = await now();
    expect(await each("ringside_link_rows_limit")).toEqual(await all(4));
    // A node of a larger cluster may have fewer links than that.
    const rows = await each('ringside_link_rows{rows="links"}');
    expect(rows).toEqual(Object.fromEntries(Object.entries(before).map(([node, links]) => [node, Math.min(links, 4)])));
    const others = await query('count by (instance) (kube_ebpf_link_sent_bytes_total{source_workload="other"} > 0)');
    expect(others.map(({ labels }) => labels.instance!).sort()).toEqual(
      (await nodes()).filter((node) => before[node]! > 4),
    );
    expect(others.length).toBeGreaterThanOrEqual(2);
    // What was posted is in the rows, also in those that have gone, but for probes.
    const lacking = async () => {
      const [posted, probes, ...rows] = await Promise.all(
        [
          "ringside_posted_bytes_total",
          'ringside_left_out_bytes_total{reason="probe"}',
          "kube_ebpf_link_sent_bytes_total",
          "kube_ebpf_link_received_bytes_total",
        ].map((family) => grown(family, start)),
      );
      const shown = ([node, bytes]: [string, number]) => [
        node,
        bytes - [probes!, ...rows].reduce((sum, of) => sum + (of[node] ?? 0), 0),
      ];
      return Object.fromEntries(Object.entries(posted!).map(shown));
    };
    await comesTo(await all(0), lacking);
  }, 180_000);

  test("a rollback brings the first values back, and nothing is lost", async () => {
    await helm("rollback", release, revision, "-n", namespace);
    await ready();
    await scraped(12020);
    await trade();
    moment = await settled(moment);
    expect(await each("ringside_link_rows_limit")).toEqual(await all(2000));
    expect(await named()).toEqual({ pods: false, workloads: true });
  }, 180_000);
});

describe("the Prometheus operator's objects, by its real definitions", () => {
  const definitions = readdirSync(join(cache, "definitions")).filter((file) => /^monitoring\.coreos\.com_/.test(file));
  const files = definitions.flatMap((file) => ["-f", join(cache, "definitions", file)]);
  const kindsOfMonitors = "podmonitors,servicemonitors,prometheusrules";
  const made = async () =>
    (await list(kindsOfMonitors, "-n", namespace)).map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort();

  beforeAll(async () => {
    await kubectl("apply", "--server-side", ...files);
    await kubectl("wait", "--for=condition=Established", ...files);
  }, 60_000);

  test("a PodMonitor selects the agents' pods and their port, and stands in the annotations' place", async () => {
    await upgrade("--set", "podMonitor.enabled=true", "--set", "prometheusRule.enabled=true");
    expect(await made()).toEqual(["PodMonitor ringside", "PrometheusRule ringside"]);
    const { spec } = await get("podmonitor", "ringside", "-n", namespace);
    const selector = Object.entries(spec.selector.matchLabels).map((pair) => pair.join("="));
    const pods = await list("pods", "-n", spec.namespaceSelector.matchNames[0], "-l", selector.join(","));
    expect(pods.map(({ metadata }) => metadata.name).sort()).toEqual(
      [...(await agents()).values()].map(({ metadata }) => metadata.name).sort(),
    );
    const [{ port }] = spec.podMetricsEndpoints;
    for (const { spec } of pods) expect(spec.containers[0].ports.map(({ name }: Manifest) => name)).toContain(port);
    await scraped();
  }, 120_000);

  test("a ServiceMonitor selects the Service behind which they are", async () => {
    await upgrade("--set", "serviceMonitor.enabled=true", "--set", "prometheusRule.enabled=true");
    expect(await made()).toEqual(["PrometheusRule ringside", "ServiceMonitor ringside"]);
    const { spec } = await get("servicemonitor", "ringside", "-n", namespace);
    const selector = Object.entries(spec.selector.matchLabels).map((pair) => pair.join("="));
    const services = await list("services", "-n", spec.namespaceSelector.matchNames[0], "-l", selector.join(","));
    expect(services.map(({ spec }) => spec.ports.map(({ name }: Manifest) => name))).toEqual([
      [spec.endpoints[0].port],
    ]);
    const slices = await list(
      "endpointslices",
      "-n",
      namespace,
      "-l",
      `kubernetes.io/service-name=${services[0]!.metadata.name}`,
    );
    const behind = slices.flatMap(({ endpoints }) => endpoints.map(({ nodeName }: Manifest) => nodeName));
    expect(behind.sort()).toEqual(await nodes());
  }, 60_000);

  test("helm uninstall leaves nothing, at the API server and in the kernel", async () => {
    const kernel = await inKernel();
    expect(kernel.length).toBeGreaterThan(12);
    expect((await ours()).length).toBeGreaterThan(8);
    await helm("uninstall", release, "-n", namespace);
    await nothingLeft(kernel);
    await comesTo(["configmap/kube-root-ca.crt", "serviceaccount/default"], () => objects("-n", namespace));
  }, 90_000);

  afterAll(async () => {
    await kubectl("delete", ...files);
  }, 60_000);
});

describe("kubectl apply -f deploy/ringside.yaml", () => {
  const file = join(top, "deploy/ringside.yaml");
  let before: Moment;
  beforeAll(async () => {
    await rest();
    await kubectl("delete", "namespace", namespace);
    before = await now();
  }, 60_000);

  test("is all that a cluster needs: agents on each node, found by Prometheus, with all names and every byte", async () => {
    await kubectl("apply", "-f", file);
    await ready();
    await scraped(12020);
    await go();
    await comesTo(known, () => seriesAt(Date.now() / 1000));
    // For a minute a new agent shows 0.
    await settled(before, 90_000);
  }, 240_000);

  test("kubectl delete -f leaves nothing", async () => {
    const kernel = await inKernel();
    expect(kernel.length).toBeGreaterThan(12);
    await kubectl("delete", "-f", file);
    await nothingLeft(kernel);
  }, 90_000);
});
