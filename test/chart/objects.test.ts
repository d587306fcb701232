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

test("a label or an annotation that is given twice is there once: the nearer one", async () => {
  // The parser takes no key twice, and neither does a server.
  const objects = await template([
    ...["--set", "commonLabels.team=all,commonLabels.release=all,commonLabels.app\\.kubernetes\\.io/name=other"],
    ...["--set", "podLabels.team=pods,podMonitor.enabled=true,podMonitor.labels.release=prometheus"],
    ...["--set", "dashboards.enabled=true,dashboards.labels.team=boards"],
  ]);
  const labels = Object.fromEntries(objects.map(({ kind, metadata }) => [kind, metadata.labels]));
  expect(podOf(objects).metadata.labels).toMatchObject({ team: "pods", release: "all" });
  expect(labels.DaemonSet).toMatchObject({ team: "all", release: "all" });
  expect(labels.PodMonitor).toMatchObject({ team: "all", release: "prometheus" });
  expect(labels.ConfigMap).toMatchObject({ team: "boards", grafana_dashboard: "1" });
  for (const { kind, metadata } of objects) {
    expect([kind, metadata.labels["app.kubernetes.io/name"]]).toEqual([kind, "ringside"]);
  }

  const annotated = await template(["--set-string", "podAnnotations.prometheus\\.io/scrape=false"]);
  expect(podOf(annotated).metadata.annotations).toMatchObject({
    "prometheus.io/scrape": "false",
    "prometheus.io/port": "12020",
  });
});

test("all that has a namespace goes into namespaceOverride, and all that names one names it", async () => {
  const objects = await template([
    "--set",
    "namespaceOverride=agents,networkPolicy.enabled=true,openshift.enabled=true",
  ]);
  const clusters = /^(ClusterRole|ClusterRoleBinding|SecurityContextConstraints)$/;
  for (const { kind, metadata } of objects) {
    const [namespace, name] = clusters.test(kind) ? [undefined, "agents-ringside"] : ["agents", /^ringside(-test)?$/];
    expect([kind, metadata.namespace, metadata.name]).toEqual([kind, namespace, expect.stringMatching(name)]);
  }
  expect(kinds(objects, "ClusterRoleBinding")[0]!.subjects[0].namespace).toBe("agents");
  expect(kinds(objects, "SecurityContextConstraints")[0]!.users).toEqual(["system:serviceaccount:agents:ringside"]);
  expect(kinds(objects, "Pod")[0]!.spec.containers[0].args.at(-1)).toBe("--url=http://ringside.agents.svc:12020");
});

describe("the pod of `helm test`", () => {
  test("runs where an agent could, and waits on no node that is cordoned or gone", async () => {
    const objects = await template();
    const [{ spec }] = kinds(objects, "Pod") as [Manifest];
    const agent = podOf(objects).spec;
    expect([spec.nodeSelector, spec.affinity]).toEqual([agent.nodeSelector, agent.affinity]);
    for (const { key } of spec.tolerations) {
      expect(key).toBeOneOf(["node-role.kubernetes.io/control-plane", "CriticalAddonsOnly"]);
    }
  });

  test("may connect where others may not", async () => {
    const objects = await template(scenarios.placement);
    const [policy] = kinds(objects, "NetworkPolicy");
    const [monitoring, own] = policy!.spec.ingress[0].from;
    expect(monitoring.namespaceSelector.matchLabels).toEqual({ "kubernetes.io/metadata.name": "monitoring" });
    expect(kinds(objects, "Pod")[0]!.metadata.labels).toMatchObject(own.podSelector.matchLabels);
    expect(own.podSelector.matchLabels["app.kubernetes.io/component"]).toBe("test");
    expect(podOf(objects).metadata.labels).toMatchObject(policy!.spec.podSelector.matchLabels);
  });
});

test("the longest of names keeps the dashboards apart", async () => {
  const maps = kinds(
    await template([...scenarios.monitor!, "--set", `fullnameOverride=${"a".repeat(63)}`]),
    "ConfigMap",
  );
  expect(new Set(maps.map(({ metadata }) => metadata.name)).size).toBe(3);
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
