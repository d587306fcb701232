/** Values, their schema and their documentation say the same; what is wrong is refused by name. */
import { describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { values } from "../../hack/lib/generate-chart.ts";
import { run as command } from "../../src/config.ts";
import { families } from "../../src/core/families.ts";
import { chart, kinds, type Manifest, run, scenarios, template } from "./helm.ts";

const valuesText = readFileSync(join(chart, "values.yaml"), "utf8");
const schemaText = readFileSync(join(chart, "values.schema.json"), "utf8");

interface Schema {
  type?: string | string[];
  additionalProperties?: unknown;
  properties?: Record<string, Schema>;
}

/** Where values and schema differ, and what is explained nowhere. */
function faults(yaml: string, json: string): string[] {
  const documented = values(yaml);
  const known = new Set(documented.map(({ key }) => key));
  const found = documented.flatMap(({ key, text }) => (/\.$/.test(text) ? [] : [`${key} is not explained`]));
  const inSchema: string[] = [];
  const walk = (schema: Schema, path: string[]): void => {
    const key = path.join(".");
    if (known.has(key) || !schema.properties) {
      inSchema.push(key);
      return;
    }
    if (schema.additionalProperties !== false && key !== "global") found.push(`${key} takes any key`);
    for (const [name, property] of Object.entries(schema.properties)) walk(property, [...path, name]);
  };
  walk(JSON.parse(json), []);
  for (const key of inSchema) if (!known.has(key)) found.push(`${key} is in the schema alone`);
  for (const key of known) if (!inSchema.includes(key)) found.push(`${key} is in the values alone`);
  return found;
}

test("each value is explained, and in the schema; each key of the schema is a value", () => {
  expect(faults(valuesText, schemaText)).toEqual([]);
  expect(values(valuesText).length).toBeGreaterThan(80);
});

test.each([
  [
    "a value that is not in the schema",
    valuesText.replace("port: 12020", "port: 12020\n# -- More.\nmore: 1"),
    schemaText,
    ["more is in the values alone"],
  ],
  [
    "a key of the schema that is no value",
    valuesText,
    schemaText.replace('"loopback": {', '"loop": { "type": "string" }, "loopback": {'),
    ["agent.loop is in the schema alone"],
  ],
  [
    "a value that nobody explains",
    valuesText.replace(/# -- (Count connections inside)/, "# $1"),
    schemaText,
    ["agent.loopback is not explained"],
  ],
])("%s is seen", (_, yaml, json, expected) => {
  expect([yaml, json]).not.toEqual([valuesText, schemaText]);
  expect(faults(yaml, json)).toEqual(expected);
});

describe("wrong values are refused by their name", () => {
  test.each([
    ["port=abc", "at '/port': got string, want integer"],
    ["port=70000", "at '/port': maximum: got 70,000, want 65,535"],
    ["agent.interval=-1s", "at '/agent/interval': '-1s' does not match pattern"],
    ["agent.interval=0s", "at '/agent/interval': '0s' does not match pattern"],
    ["agent.grace=soon", "at '/agent/grace': 'soon' does not match pattern"],
    [
      "agent.cidrs[0].name=a,agent.cidrs[0].cidr=10.0.0.0/33",
      "at '/agent/cidrs/0/cidr': '10.0.0.0/33' does not match pattern",
    ],
    [
      "agent.cidrs[0].name=a,agent.cidrs[0].cidr=10.0.0.256/24",
      "at '/agent/cidrs/0/cidr': '10.0.0.256/24' does not match pattern",
    ],
    ["agent.cidrs[0].cidr=10.0.0.0/8", "at '/agent/cidrs/0': missing property 'name'"],
    ["agent.aggregate=node", "at '/agent/aggregate': value must be one of 'pod', 'workload', 'namespace'"],
    ["agent.ringSize=5000", "at '/agent/ringSize': value must be one of 65536"],
    ["agent.histograms=yes", "at '/agent/histograms': got string, want boolean"],
    ["agent.maxLinks=0", "at '/agent/maxLinks': minimum: got 0, want 1"],
    ["nonsense=1", "at '': additional properties 'nonsense' not allowed"],
    ["agent.nonsense=1", "at '/agent': additional properties 'nonsense' not allowed"],
    ["image.digest=sha256:12", "at '/image/digest': 'sha256:12' does not match pattern"],
    ["extraCapabilities={NET_ADMIN}", "at '/extraCapabilities/0': value must be one of 'SYS_RESOURCE', 'SYS_ADMIN'"],
    [
      "podMonitor.enabled=true,serviceMonitor.enabled=true",
      "podMonitor.enabled and serviceMonitor.enabled: choose one",
    ],
    [
      "serviceMonitor.enabled=true,service.enabled=false",
      "serviceMonitor.enabled: it finds the agents by their Service",
    ],
    ["identities.configMapName=a,kubeconfig.secretName=b", "identities.configMapName and kubeconfig.secretName"],
    ["webConfig.tls=true", "webConfig.tls: the agent takes TLS from the file in webConfig.secretName, which is empty"],
    ["nameOverride=Web_1", "at '/nameOverride': 'Web_1' does not match pattern"],
    ["fullnameOverride=1st", "at '/fullnameOverride': '1st' does not match pattern"],
    ["seccompProfile.type=Localhost", "at '/seccompProfile': missing property 'localhostProfile'"],
    ["agent.disableFamilies={kube_ebpf_nonsense}", "at '/agent/disableFamilies/0': value must be one of 'kube_ebpf_"],
    ["namespaceOverride=Up", "at '/namespaceOverride': 'Up' does not match pattern"],
  ])("%s", async (set, expected) => {
    const { code, error } = await run("helm", ["template", "ringside", chart, "--set", set]);
    expect(code).toBe(1);
    expect(error).toContain(expected);
  });
});

test("what is left out with null takes nothing else away", async () => {
  const none = ["global", "commonLabels", "podLabels", "podAnnotations", "imagePullSecrets", "tolerations", "affinity"];
  const objects = await template(none.flatMap((key) => ["--set", `${key}=null`]));
  expect(objects.map(({ kind }) => kind)).toEqual((await template()).map(({ kind }) => kind));
  expect(kinds(objects, "DaemonSet")[0]!.spec.template.metadata.annotations["prometheus.io/scrape"]).toBe("true");
});

test("the schema knows the families that can be left out", () => {
  const { agent } = JSON.parse(schemaText).properties;
  expect(agent.properties.disableFamilies.items.enum).toEqual(families.map(({ name }) => name));
});

const argsOf = (objects: Manifest[]): string[] => kinds(objects, "DaemonSet")[0]!.spec.template.spec.containers[0].args;

/** As the agent itself reads them. @throws where it would refuse them */
function parsed(args: string[]): Record<string, unknown> {
  const fresh = command.exitOverride().configureOutput({ writeErr: () => {} });
  for (const option of fresh.options)
    fresh.setOptionValueWithSource(option.attributeName(), option.defaultValue as never, "default");
  fresh.parseOptions(args.slice(1));
  return { ...fresh.opts() };
}

test("each flag of the agent is a value, but for the node's name", async () => {
  const [all, names] = await Promise.all(["all-flags", "names-from-file"].map((name) => template(scenarios[name])));
  const given = new Set([...argsOf(all!), ...argsOf(names!)].map((argument) => argument.split("=")[0]));
  const flags = command.options.map(({ long }) => long);
  expect(flags.length).toBeGreaterThan(15);
  expect(flags.filter((flag) => !given.has(flag!))).toEqual(["--node"]);
  const [{ name, valueFrom }] = kinds(all!, "DaemonSet")[0]!.spec.template.spec.containers[0].env;
  expect([name, valueFrom.fieldRef.fieldPath]).toEqual(["RINGSIDE_NODE", "spec.nodeName"]);
});

test.each(Object.keys(scenarios))("%s: the agent takes these arguments", async (name) => {
  const args = argsOf(await template(scenarios[name]));
  expect(args[0]).toBe("run");
  const options = parsed(args);
  if (name === "all-flags") {
    expect(options).toMatchObject({
      listen: { hostname: "::", port: 12345 },
      interval: 250, // the last one, of extraArgs
      settle: 1000,
      grace: 30_000,
      hold: 120_000,
      aggregate: "pod",
      maxLinks: 5000,
      maxConnections: 100_000,
      ringSize: 8 << 20,
      histograms: true,
      scope: true,
      disableFamily: ["kube_ebpf_link_rtt_seconds", "kube_ebpf_link_connect_seconds"],
      ignoreNamespace: ["kube-system"],
      probes: true,
      loopback: true,
      kubeconfig: "/etc/ringside/kubeconfig/config",
      "web.config.file": "/etc/ringside/web/web.yaml",
    });
    expect((options.cidr as { name: string }[]).map(({ name }) => name)).toEqual(["office", "office"]);
  }
});

test("the values' defaults are the agent's own", async () => {
  expect(parsed(argsOf(await template()))).toEqual(parsed(["run"]));
});

describe("as a part of another chart", () => {
  async function parent(more: string): Promise<Manifest[]> {
    const folder = mkdtempSync(join(tmpdir(), "ringside-parent-"));
    try {
      mkdirSync(join(folder, "charts"));
      cpSync(chart, join(folder, "charts/ringside"), { recursive: true });
      const dependency = "{name: ringside, version: 0.1.0, condition: ringside.enabled}";
      writeFileSync(
        join(folder, "Chart.yaml"),
        `apiVersion: v2\nname: parent\nversion: 1.0.0\ndependencies: [${dependency}]\n`,
      );
      writeFileSync(join(folder, "values.yaml"), more);
      return await template([], folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  test("it is left out where the parent says so", async () => {
    expect(await parent("ringside: {enabled: false}")).toEqual([]);
  });

  test("it has the parent's registry, pull secrets and values, and takes other globals", async () => {
    const objects = await parent(
      "global: {imageRegistry: registry.example.com, imagePullSecrets: [{name: all}, other], domain: example.com}\n" +
        "ringside: {enabled: true, agent: {aggregate: pod}}",
    );
    const pod = kinds(objects, "DaemonSet")[0]!.spec.template.spec;
    expect(pod.containers[0].image).toBe("registry.example.com/ringside:0.1.0");
    expect(pod.imagePullSecrets).toEqual([{ name: "all" }, { name: "other" }]);
    expect(argsOf(objects)).toContain("--aggregate=pod");
  });

  test("a wrong value is refused there, too", async () => {
    expect(parent("ringside: {port: abc}")).rejects.toThrow("at '/port': got string, want integer");
  });
});
