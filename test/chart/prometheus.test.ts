/** A real Prometheus finds the chart's pods at a real API server, by annotations and by a PodMonitor's rules. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $, type Subprocess } from "bun";
import { parse, stringify } from "yaml";
import { ADMIN, Cluster, freePort } from "../api/cluster.ts";
import { settled } from "../live/agent.ts";
import { kinds, type Manifest, manifests, template, top } from "./helm.ts";
import { monitorJob } from "./monitor.ts";

const port = freePort();
const servers: Bun.Server<undefined>[] = [];
let cluster: Cluster;
let folder: string;
let prometheus: Subprocess;
let url: string;

/** A pod as the DaemonSet's controller and the kubelet would have it. */
async function pod(name: string, ip: string, node: string, phase: string, { metadata, spec }: Manifest): Promise<void> {
  const image = "none";
  const containers = spec.containers.map(({ name, ports }: Manifest) => ({ name, image, ports }));
  const initContainers = spec.initContainers.map(({ name }: Manifest) => ({ name, image }));
  const pods = "/api/v1/namespaces/default/pods";
  await cluster.ask("POST", pods, {
    metadata: { ...metadata, name },
    spec: { nodeName: node, containers, initContainers },
  });
  await cluster.podStatus(name, { phase, podIP: ip, podIPs: [{ ip }] });
}

beforeAll(async () => {
  const program = (await $`${top}/hack/lib/prometheus-3`.text()).trim();
  cluster = await Cluster.start();
  const said =
    'kube_ebpf_transmitted_bytes_total{namespace="shop",name="web"} 5\nkube_ebpf_link_requests_total{port="80"} 7\n';
  for (const hostname of ["127.0.0.1", "::1"]) {
    servers.push(Bun.serve({ hostname, port, fetch: () => new Response(said) }));
  }
  const agent = kinds(await template(["--set", `port=${port}`]), "DaemonSet")[0]!.spec.template;
  await pod("agent-a", "127.0.0.1", "node-a", "Running", agent);
  await pod("agent-b", "::1", "node-b", "Running", agent);
  await pod("finished", "127.0.0.2", "node-a", "Succeeded", agent);
  await cluster.pod("other", "127.0.0.3");

  const text = await Bun.file(join(top, "deploy/prometheus.yaml")).text();
  const config = parse(kinds(manifests(text), "ConfigMap")[0]!.data["prometheus.yml"]);
  const [job] = config.scrape_configs;
  Object.assign(job.kubernetes_sd_configs[0], {
    api_server: cluster.url,
    authorization: { credentials: ADMIN },
    tls_config: { ca_file: cluster.file("ca.crt") },
  });
  config.scrape_configs.push(await monitorJob(job.kubernetes_sd_configs[0]));
  config.global.scrape_interval = "500ms";
  folder = await mkdtemp(join(tmpdir(), "ringside-prometheus-"));
  await writeFile(join(folder, "prometheus.yml"), stringify(config));
  const listen = `127.0.0.1:${freePort()}`;
  url = `http://${listen}`;
  const flags = [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/data`];
  prometheus = Bun.spawn([program, ...flags, `--web.listen-address=${listen}`], {
    stderr: Bun.file(join(folder, "log")),
    env: { ...process.env, no_proxy: "*" },
  });
}, 240_000);

afterAll(async () => {
  prometheus?.kill();
  await prometheus?.exited;
  for (const server of servers) server.stop(true);
  await cluster?.stop();
  if (folder) await rm(folder, { recursive: true });
});

async function query(promql: string): Promise<Record<string, string>[]> {
  const response = await fetch(`${url}/api/v1/query?${new URLSearchParams({ query: promql })}`).catch(() => undefined);
  const { data } = response?.ok ? ((await response.json()) as Manifest) : { data: { result: [] } };
  return data.result
    .map(({ metric, value }: Manifest) => ({ ...metric, value: value[1] }))
    .sort((a: Manifest, b: Manifest) => (Bun.deepEquals(a, b) ? 0 : a.instance < b.instance ? -1 : 1));
}

/** The rows that a query comes to give. */
async function expectRows(promql: string, rows: Record<string, string>[]): Promise<void> {
  await settled(async () => (Bun.deepEquals(await query(promql), rows) ? [] : ["not yet"]), 20_000);
  expect(await query(promql)).toEqual(rows);
}

const family = { __name__: "kube_ebpf_transmitted_bytes_total", name: "web", value: "5" };

test("by annotations: the running agents, by their nodes' names, and nobody else", async () => {
  const target = { __name__: "up", job: "pods", namespace: "default", value: "1" };
  await expectRows('up{job="pods"}', [
    { ...target, instance: "node-a" },
    { ...target, instance: "node-b" },
  ]);
  // As a plain scrape has it.
  const row = { ...family, job: "pods", namespace: "default", exported_namespace: "shop" };
  await expectRows('kube_ebpf_transmitted_bytes_total{job="pods"}', [
    { ...row, instance: "node-a" },
    { ...row, instance: "node-b" },
  ]);
}, 60_000);

test("by a PodMonitor: our own namespace, no labels of the agent's pod", async () => {
  const row = { ...family, job: "monitor", namespace: "shop" };
  await expectRows('kube_ebpf_transmitted_bytes_total{job="monitor"}', [
    { ...row, instance: "node-a" },
    { ...row, instance: "node-b" },
  ]);
  const link = {
    __name__: "kube_ebpf_link_requests_total",
    port: "80",
    value: "7",
    job: "monitor",
    namespace: "default",
  };
  await expectRows('kube_ebpf_link_requests_total{job="monitor"}', [
    { ...link, instance: "node-a" },
    { ...link, instance: "node-b" },
  ]);
}, 60_000);
