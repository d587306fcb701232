/** What is rendered for which values. */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { chart, kinds, type Manifest, ok, scenarios, template, top } from "./helm.ts";

const podOf = (objects: Manifest[]): Manifest => kinds(objects, "DaemonSet")[0]!.spec.template;
const annotations = (objects: Manifest[]): string[] =>
  Object.keys(podOf(objects).metadata.annotations).filter((key) => key.startsWith("prometheus.io/"));

test.each(Object.keys(scenarios))("%s: lint has nothing to say", async (name) => {
  expect(await ok("helm", ["lint", "--strict", chart, ...scenarios[name]!])).toContain("0 chart(s) failed");
});

test("by default: annotations, a headless Service and the agent on every node", async () => {
  const objects = await template();
  expect(objects.map(({ kind }) => kind).sort()).toEqual([
    "ClusterRole",
    "ClusterRoleBinding",
    "DaemonSet",
    "Pod",
    "Service",
    "ServiceAccount",
  ]);
  expect(annotations(objects).sort()).toEqual(
    ["path", "port", "scheme", "scrape"].map((key) => `prometheus.io/${key}`),
  );
  expect(kinds(objects, "Service")[0]!.spec.clusterIP).toBe("None");
  const { spec } = podOf(objects);
  expect(spec.tolerations).toEqual([{ operator: "Exists" }]);
  expect(spec.initContainers[0]).toMatchObject({ args: ["check"], terminationMessagePolicy: "FallbackToLogsOnError" });
  expect(spec.automountServiceAccountToken).toBe(true);
});

test.each(["monitor", "service-monitor"])("%s: names of nodes, our own namespace, and no annotations", async (name) => {
  const objects = await template(scenarios[name]);
  expect(annotations(objects)).toEqual([]);
  const [monitor] = objects.filter(({ kind }) => /^(Pod|Service)Monitor$/.test(kind));
  expect(monitor!.metadata.labels.release).toBe("prometheus");
  const endpoint = (monitor!.spec.podMetricsEndpoints ?? monitor!.spec.endpoints)[0];
  expect(endpoint.relabelings.slice(0, 2)).toEqual([
    { sourceLabels: ["__meta_kubernetes_pod_node_name"], targetLabel: "instance" },
    { action: "labeldrop", regex: "pod|container|endpoint|service" },
  ]);
  expect(endpoint.metricRelabelings.slice(0, 2)).toEqual([
    { sourceLabels: ["exported_namespace"], regex: "(.+)", targetLabel: "namespace" },
    { action: "labeldrop", regex: "exported_namespace" },
  ]);
  expect(endpoint.scheme).toBe(name === "monitor" ? "http" : "https");
});

describe("probes", () => {
  const probes = async (set: string) => {
    const [container] = podOf(await template(["--set", `webConfig.secretName=web,${set}`])).spec.containers;
    return [container.livenessProbe, container.readinessProbe];
  };

  test("by HTTP, by HTTPS, and where clients need a certificate only to the port", async () => {
    for (const [set, scheme] of [
      ["webConfig.tls=false", "HTTP"],
      ["webConfig.tls=true", "HTTPS"],
    ] as const) {
      expect((await probes(set)).map(({ httpGet }) => httpGet)).toEqual([
        { path: "/healthz", port: "metrics", scheme },
        { path: "/readyz", port: "metrics", scheme },
      ]);
    }
    for (const probe of await probes("webConfig.clientCertificates=true")) {
      expect([probe.httpGet, probe.tcpSocket]).toEqual([undefined, { port: "metrics" }]);
    }
  });
});

test("names from a file: no token, no role", async () => {
  const objects = await template(scenarios["names-from-file"]);
  expect(podOf(objects).spec.automountServiceAccountToken).toBe(false);
  expect(objects.map(({ kind }) => kind).sort()).toEqual(["DaemonSet", "NetworkPolicy", "Pod", "Service"]);
  // An empty list forbids everything.
  expect(kinds(objects, "NetworkPolicy")[0]!.spec.policyTypes).toEqual(["Ingress", "Egress"]);
});

test("names, labels, digest and placement are the user's", async () => {
  const objects = await template(scenarios.placement);
  for (const { kind, metadata } of objects) {
    expect([kind, metadata.labels.team, metadata.labels["app.kubernetes.io/name"]]).toEqual([kind, "network", "agent"]);
    expect([kind, metadata.name]).toEqual([kind, expect.stringMatching(/^(monitor-)?traffic(-test)?$/)]);
  }
  const { metadata, spec } = podOf(objects);
  expect(metadata.labels.mesh).toBe("off");
  expect(spec.containers[0].image).toBe(`registry.example.com/network/ringside@sha256:${"0123456789abcdef".repeat(4)}`);
  expect(spec.imagePullSecrets).toEqual([{ name: "all" }, { name: "mine" }]);
  expect([spec.tolerations, spec.affinity, spec.initContainers]).toEqual([undefined, undefined, undefined]);
  expect(annotations(objects)).toEqual([]);
});

test("each dashboard and each group of rules is in its object", async () => {
  const objects = await template(scenarios.monitor);
  const maps = kinds(objects, "ConfigMap");
  expect(maps.flatMap(({ data }) => Object.keys(data)).sort()).toEqual(readdirSync(join(chart, "dashboards")).sort());
  for (const { metadata, data } of maps) {
    expect([metadata.namespace, metadata.labels.grafana_dashboard]).toEqual(["monitoring", "1"]);
    for (const json of Object.values(data)) expect(() => JSON.parse(json as string)).not.toThrow();
  }
});

test("the rules are those of the file, and its user says whether anomalies page", async () => {
  const file = parse(readFileSync(join(chart, "rules/ringside.rules.yaml"), "utf8"));
  const rendered = async (...flags: string[]) =>
    kinds(await template(["--set", "prometheusRule.enabled=true", ...flags]), "PrometheusRule")[0]!.spec;
  expect(await rendered()).toEqual(file);
  const anomalies = file.groups
    .flatMap(({ rules }: Manifest) => rules)
    .filter(({ alert = "" }: Manifest) => alert.endsWith("Anomaly"));
  expect(anomalies.length).toBe(2);
  for (const { labels } of anomalies) labels.severity = "critical";
  expect(await rendered("--set", "prometheusRule.anomalySeverity=critical")).toEqual(file);
});

test("deploy/ringside.yaml is what the chart renders", async () => {
  const file = join(process.env.TMPDIR ?? "/tmp", `ringside-${process.pid}.yaml`);
  await Bun.$`${top}/hack/manifest ${file}`.quiet();
  const fresh = await Bun.file(file).text();
  await Bun.file(file).delete();
  expect(readFileSync(join(top, "deploy/ringside.yaml"), "utf8")).toBe(fresh);
});
