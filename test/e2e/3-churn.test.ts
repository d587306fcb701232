/** Pods and nodes come and go under traffic: each byte stays with its owner, and none is lost. */
import { beforeAll, expect, test } from "bun:test";
import { apply, get, kubectl, list, nodes, onNode, until } from "./cluster.ts";
import { expectModest, type Used, used } from "./figures.ts";
import { cgroupsTell, differences, settled } from "./links.ts";
import { counted, query, samples } from "./prometheus.ts";
import { single } from "./shop/objects.ts";
import { go, rest, sum, truth } from "./truth.ts";

let worker: string;
let began: Used;

beforeAll(async () => {
  worker = (await nodes()).at(-1)!;
  began = await used();
  await go();
});

const rollOut = async (what: string) => kubectl("rollout", "status", what, "-n", "shop", "--timeout=2m");

/** Whether the CronJob is to rest. */
const suspend = (rests: boolean) =>
  kubectl("patch", "cronjob/report", "-n", "shop", "-p", `{"spec":{"suspend":${rests}}}`);

/** Lets the next pod on a node have that address, by what its address manager (host-local) notes of the last one. */
async function nextAddress(node: string, address: string): Promise<void> {
  const [, front, host] = /^(.+\.)(\d+)$/.exec(address)!;
  const files = "$(find /var/lib/cni /run/cni-ipam-state -name 'last_reserved_ip.0' 2>/dev/null)";
  await onNode(node, "sh", "-ec", `for file in ${files}; do printf ${front}${Number(host) - 1} >$file; done`);
}

test("an address that is used again: bytes stay with their owners", async () => {
  // A job's pod could take the address between two of them.
  await suspend(true);
  const sizes = { first: [1000, 5000], second: [3000, 11_000], third: [7000, 300] } as const;
  let address: string | undefined;
  for (const [name, [send, receive]] of Object.entries(sizes)) {
    if (address) await nextAddress(worker, address);
    await apply([single(name, worker, `db-0.db:6379:${send}:${receive}:0`)]);
    await kubectl("wait", "-n", "shop", `pod/${name}`, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s");
    const { status } = await get("pod", "-n", "shop", name);
    address ??= status.podIP;
    expect(status.podIP).toBe(address);
    await kubectl("delete", "pod", "-n", "shop", name);
  }
  await suspend(false);
  await settled();
  for (const [name, [send, receive]] of Object.entries(sizes)) {
    const own = `source_namespace="shop",source_workload="${name}"`;
    for (const reporter of ["client", "server"]) {
      const of = async (family: string) =>
        (await counted(`kube_ebpf_link_${family}_total{${own},reporter="${reporter}"}`)).map(({ value }) => value);
      expect([name, reporter, await of("sent_bytes"), await of("received_bytes"), await of("requests")]).toEqual([
        name,
        reporter,
        [send],
        [receive],
        [1],
      ]);
    }
  }
}, 240_000);

test("a Deployment is rolled: old pods' series go, new ones begin at 0, totals by workload never drop", async () => {
  const names = async () =>
    (await list("pods", "-n", "shop", "-l", "app=web")).map(({ metadata }) => metadata.name as string).sort();
  const old = await names();
  await go();
  const rolled = Date.now() / 1000;
  await kubectl("rollout", "restart", "-n", "shop", "deployment/web");
  await rollOut("deployment/web");
  await until("the old pods are gone", async () => !(await names()).some((name) => old.includes(name)));
  await Bun.sleep(10_000);
  await settled(undefined, 90_000);
  const fresh = await names();
  const counters = '__name__=~"kube_ebpf_.+_(total|bucket|count|sum)",exported_namespace="shop",name=~"web-.+"';
  const shown = async () => [...new Set((await query(`{${counters}}`)).map(({ labels }) => labels.name!))].sort();
  await until("their series are gone", async () => Bun.deepEquals(await shown(), fresh));
  const begun = (await samples(`{${counters}}`)).filter(({ labels }) => fresh.includes(labels.name!));
  expect(begun.filter(({ samples }) => samples[0]![1] !== 0)).toEqual([]);
  expect([...new Set(begun.map(({ labels }) => labels.name!))].sort()).toEqual(fresh);

  // The client stays, and so does its row. One whose last pod leaves a node goes with it (docs/metrics.md); that what grew
  // there is whole `settled` has seen.
  const rows = await samples(
    'kube_ebpf_link_sent_bytes_total{source_workload="load",destination_workload="web",reporter="client"}',
    Date.now() / 1000 - rolled,
  );
  expect(rows).toHaveLength(1);
  const values = rows[0]!.samples.map(([, value]) => value);
  expect(values).toEqual(values.toSorted((a, b) => a - b));
  expect(values.at(-1)!).toBeGreaterThan(values[0]!);
}, 240_000);

test("a node is drained, and comes back: nothing is lost, nothing misnamed", async () => {
  await go();
  await kubectl("drain", worker, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=90s");
  const left = (await list("pods", "-A", "--field-selector", `spec.nodeName=${worker},status.phase=Running`)).filter(
    ({ metadata }) =>
      metadata.ownerReferences?.[0].kind !== "DaemonSet" && metadata.ownerReferences?.[0].kind !== "Node",
  );
  expect(left.map(({ metadata }) => metadata.name)).toEqual([]);
  for (const what of ["deployment/web", "deployment/api", "statefulset/db"]) await rollOut(what);
  await Bun.sleep(10_000);
  await settled(undefined, 90_000);
  await go();
  await kubectl("uncordon", worker);
  for (const what of ["load", "caller", "sender", "edge"]) await rollOut(`deployment/${what}`);
  await Bun.sleep(10_000);
  await settled(undefined, 90_000);
  // The pod that came back with it has called from there.
  const [load] = await list("pods", "-n", "shop", "-l", "app=load");
  const asked = sum(
    (await truth()).filter(({ pod, role }) => role === "client" && pod === load!.metadata.name),
  ).requests;
  const sent = await query(
    `kube_ebpf_requests_sent_total{instance="${worker}",exported_namespace="shop",name="${load!.metadata.name}"}`,
  );
  expect(asked).toBeGreaterThan(100);
  expect(sent.map(({ value }) => value)).toEqual([asked]);
}, 400_000);

test("a pod on the host's network is told apart where cgroups tell, and is its node where they do not", async () => {
  const rows = await query('kube_ebpf_link_requests_total{destination_workload="ported",port="8083"} > 0');
  const cgroups = await cgroupsTell();
  expect(rows.map(({ labels }) => [labels.reporter!, labels.source_kind!, labels.source_workload!]).sort()).toEqual([
    cgroups ? ["client", "Deployment", "edge"] : ["client", "Node", worker],
    // Another node's agent sees its address alone.
    ["server", "Node", worker],
  ]);
  // As a server it is known by the port that it declares.
  const served = await query('kube_ebpf_link_requests_total{destination_workload="edge"} > 0');
  expect(served.map(({ labels }) => `${labels.source_workload} > ${labels.destination_kind} :${labels.port}`)).toEqual(
    Array(2).fill("load > Deployment :9100"),
  );
});

test("and the two nodes' agents have lost nothing in all this", async () => {
  await rest();
  expect(await differences()).toEqual([]);
  const tallies = await truth();
  expect(sum(tallies.filter(({ peer }) => peer !== "-")).requests).toBeGreaterThan(1000);
  for (const name of ["final_snapshots_lost", "connections_refused", "records_malformed", "connections_capped"]) {
    const rows = await query(`sum by (instance) (ringside_${name}_total)`);
    expect([name, rows.map(({ labels }) => labels.instance!).sort()]).toEqual([name, await nodes()]);
    expect([name, rows.filter(({ value }) => value !== 0)]).toEqual([name, []]);
  }
  await expectModest(began);
  await go();
}, 60_000);
