/** Links and totals of the shop are what its programs say, byte for byte, at both ends, and once. */
import { beforeAll, expect, test } from "bun:test";
import { kubectl, list, nodes, until } from "./cluster.ts";
import { cgroupsTell, expected, type Moment, settled } from "./links.ts";
import { counted, get, query, type Row, value } from "./prometheus.ts";
import { go, sum, type Tally, truth } from "./truth.ts";

let all: string[];
let moment: Moment;

beforeAll(async () => {
  all = await nodes();
  await go();
  await kubectl("create", "job", "report-10000001", "--from=cronjob/report", "-n", "shop");
  await until("the job has asked", async () => (await truth()).some(({ workload }) => workload === "report"));
  await Bun.sleep(20_000);
  moment = await settled(undefined, 90_000);
}, 240_000);

test("the agents of all nodes are found by their annotations, and nothing else is", async () => {
  const { activeTargets } = await get<{ activeTargets: { labels: Record<string, string>; health: string }[] }>(
    "targets",
  );
  const found = activeTargets.map(({ labels, health }) => [labels.job, labels.instance, health]).sort();
  expect(found).toEqual(all.map((node) => ["pods", node, "up"]).sort());
  expect(await value('sum(up{job="pods"})')).toBe(all.length);
});

test("every link of the shop has moved, as each of its two ends says", async () => {
  const [cgroups, dialled] = [await cgroupsTell(), all.at(-1)!];
  const rows = [...expected(moment.truth, cgroups, dialled)].filter(([, { requests }]) => requests > 0);
  const both = [
    "shop/load (Deployment) > shop/web (Deployment):8080 web",
    "shop/load (Deployment) > shop/edge (Deployment):9100 -",
    "shop/web (Deployment) > shop/api (Deployment):9000 api",
    "shop/api (Deployment) > shop/db (StatefulSet):6379 db",
    "shop/report (CronJob) > shop/db (StatefulSet):6379 db",
    "shop/logs (DaemonSet) > shop/db (StatefulSet):6379 db",
    "shop/sender (Deployment) > shop/receiver (Deployment):8080 receiver",
    "tenant/app (Deployment) > tenant/db (StatefulSet):6379 db",
  ];
  const mirror = moment.truth.find(({ workload }) => workload === "mirror")!.node;
  expect(rows.map(([row]) => row).sort()).toEqual(
    [
      ...both.flatMap((link) => [`${link}, by the client`, `${link}, by the server`]),
      // Where an address is rewritten the server sees the node that does so; a node's network is that of many.
      `${cgroups ? "shop/edge (Deployment)" : `/${dialled} (Node)`} > shop/ported (Deployment):8083 ported, by the client`,
      `/${dialled} (Node) > shop/ported (Deployment):8083 ported, by the server`,
      "shop/caller (Deployment) > shop/ported (Deployment):8081 ported, by the client",
      `/${dialled} (Node) > shop/ported (Deployment):8081 ported, by the server`,
      `/${dialled} (Node) > shop/ported (Deployment):8082 ported, by the server`,
      "shop/mirror (Deployment) > shop/mirror (Deployment):8080 mirror, by the client",
      `/${mirror} (Node) > shop/mirror (Deployment):8080 mirror, by the server`,
      "shop/web (Deployment) > /external (External):5432 -, by the client",
    ].sort(),
  );
  // That Prometheus says the same of each is what `settled` has waited for.
  const unserved = await query(
    'kube_ebpf_link_requests_total{destination_namespace=~"shop|tenant",destination_service=""} > 0',
  );
  expect(unserved.map(({ labels }) => labels.destination_workload)).toEqual(["edge", "edge"]);
});

test("a link from one node to another is told by each node's own agent", async () => {
  const last = all.at(-1)!;
  const rows = await query('kube_ebpf_link_requests_total{source_workload="load",destination_workload="web"} > 0');
  const of = (which: string) =>
    rows.filter(({ labels }) => labels.reporter === which).map(({ labels }) => labels.instance!);
  expect(of("client")).toEqual([last]);
  const web = moment.truth.filter(({ workload, role }) => workload === "web" && role === "server");
  expect(of("server").sort()).toEqual([...new Set(web.map(({ node }) => node))].sort());
  expect(of("server").some((node) => node !== last)).toBe(true);
});

/** Of both ends in the cluster, where no address is rewritten. */
const pairs =
  'source_kind!="Node",destination_kind!="External",source_workload!~"caller|mirror|edge|report",source_namespace=~"shop|tenant"';

test.each(["sent_bytes", "received_bytes", "requests"])(
  "both reporters' rows can be joined, and say the same %s",
  async (family) => {
    const by = (reporter: string) =>
      `sum without (instance, reporter, counted) (kube_ebpf_link_${family}_total{${pairs},reporter="${reporter}"})`;
    const links = (await query(by("server"))).length;
    expect(links).toBe(7);
    const joined = await query(`${by("server")} / ${by("client")}`);
    expect(joined.map(({ value }) => value)).toEqual(Array(links).fill(1));
  },
);

test("every byte and every request counts once, though the nodes share a kernel", async () => {
  const clients = sum(moment.truth.filter(({ role }) => role === "client"));
  const ours = '{counted="once",source_namespace=~"shop|tenant"}';
  const nodes = '{counted="once",source_kind="Node",destination_workload=~"ported|mirror"}';
  // Of all time: the jobs' rows may be gone.
  const once = async (family: string) => {
    const rows = await Promise.all([ours, nodes].map((which) => counted(`kube_ebpf_link_${family}_total${which}`)));
    return rows.flat().reduce((all, { value }) => all + value, 0);
  };
  expect({
    sent: await once("sent_bytes"),
    received: await once("received_bytes"),
    requests: await once("requests"),
    connections: await once("connections"),
  }).toEqual(clients);
  const foreign = await query('ringside_connections_left_out_total{reason="other_node"} > 0');
  expect(foreign.map(({ labels }) => labels.instance!).sort()).toEqual(all);
});

/** Values by namespace, name and, where there is one, port. */
const byPod = (rows: Row[]): Record<string, number> =>
  Object.fromEntries(
    rows
      .map(
        ({ labels, value }) =>
          [
            [labels.exported_namespace, labels.name, labels.port].filter((text) => text !== undefined).join("/"),
            value,
          ] as const,
      )
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );

/** Of pods that are there and that nobody probes: a probe counts for its pod, and comes at any time. */
const quiet = ["load", "logs", "caller", "ported", "mirror", "sender", "app"];

function totals(
  of: (tally: Tally) => number,
  key: (tally: Tally) => string,
  which: (tally: Tally) => boolean,
): Record<string, number> {
  const found: Record<string, number> = {};
  for (const tally of moment.truth.filter(which)) found[key(tally)] = (found[key(tally)] ?? 0) + of(tally);
  return Object.fromEntries(
    Object.entries(found)
      .filter(([, value]) => value > 0)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

test("each pod's own totals are what its program says", async () => {
  const selector = `{name=~"(${quiet.join("|")})-.+"}`;
  const which = ({ workload }: Tally) => quiet.includes(workload);
  const pod = ({ namespace, pod }: Tally) => `${namespace}/${pod}`;
  const served = (tally: Tally) => `${pod(tally)}/${tally.port}`;
  const asServer = (tally: Tally) => which(tally) && tally.role === "server";
  const asClient = (tally: Tally) => which(tally) && tally.role === "client";
  const read = async (family: string) => byPod(await query(`kube_ebpf_${family}_total${selector} > 0`));
  expect(await read("transmitted_bytes")).toEqual(totals(({ sent }) => sent, pod, which));
  expect(await read("acknowledged_bytes")).toEqual(totals(({ received }) => received, served, asServer));
  expect(await read("requests_sent")).toEqual(totals(({ requests }) => requests, pod, asClient));
  expect(await read("requests_received")).toEqual(totals(({ requests }) => requests, served, asServer));
});

test("a probe counts for its pod", async () => {
  const before = totals(
    ({ sent }) => sent,
    ({ namespace, pod }) => `${namespace}/${pod}`,
    ({ workload }) => workload === "web",
  );
  const now = byPod(await query('kube_ebpf_transmitted_bytes_total{name=~"web-.+"}'));
  expect(Object.keys(now)).toEqual(Object.keys(before));
  const later = await truth();
  for (const [pod, bytes] of Object.entries(now)) {
    expect(bytes).toBeGreaterThanOrEqual(before[pod]! - 200); // what the last seconds' probes were answered
    expect(bytes).toBeLessThanOrEqual(sum(later.filter((tally) => `${tally.namespace}/${tally.pod}` === pod)).sent);
    const probes = sum(later.filter((tally) => `${tally.namespace}/${tally.pod}` === pod && tally.peer === "probe"));
    expect(probes.sent).toBeGreaterThan(200);
  }
});

test("exchanges between pods are told by pair", async () => {
  const pods = 'source_namespace=~"shop|tenant",source_name!~"report.+"';
  const rows = await query(`kube_ebpf_request_exchanged_total{${pods}} > 0`);
  const told = rows.map(({ labels, value }) => {
    const { source_namespace, source_name, destination_namespace, destination_name, destination_port } = labels;
    return `${source_namespace}/${source_name} > ${destination_namespace}/${destination_name}:${destination_port} ${value}`;
  });
  const kinds = new Map(moment.truth.map((tally) => [`${tally.namespace}/${tally.pod}`, tally.workload]));
  const wanted = moment.truth.filter(({ namespace, role, peer }) => {
    const workload = kinds.get(peer);
    return (
      role === "server" &&
      namespace !== "outside" &&
      workload &&
      kinds.get(peer) !== "" &&
      !["mirror", "caller", "edge", "report"].includes(workload)
    );
  });
  expect(told.sort()).toEqual(
    wanted
      .map(({ namespace, pod, peer, port, requests }) => `${peer} > ${namespace}/${pod}:${port} ${requests}`)
      .sort(),
  );
});

test("some of it went over IPv6, where the pods have it", async () => {
  const [node] = await list("nodes");
  const slices = await list("endpointslices", "-A", "-l", "endpointslice.kubernetes.io/managed-by");
  const only = (service: string, namespace: string) =>
    slices
      .filter(({ metadata }) => metadata.namespace === namespace)
      .filter(({ metadata }) => metadata.labels["kubernetes.io/service-name"] === service)
      .map(({ addressType }) => addressType);
  const family = node!.spec.podCIDRs.length > 1 ? "IPv6" : "IPv4";
  expect([only("api", "shop"), only("db", "tenant")]).toEqual([[family], [family]]);
  const asked = (namespace: string, name: RegExp) =>
    sum(moment.truth.filter((tally) => tally.namespace === namespace && name.test(tally.target))).requests;
  expect(asked("shop", /^api$/)).toBeGreaterThan(0);
  expect(asked("tenant", /^db-0\.db$/)).toBeGreaterThan(0);
});
