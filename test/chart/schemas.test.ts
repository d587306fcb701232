/** The rendered objects by the schemas of each Kubernetes that the chart is for, and of newer ones. */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020";
import { parse } from "yaml";
import { cache, chart, kinds, type Manifest, manifests, scenarios, template, top } from "./helm.ts";

/** Of other projects; the API server of another test knows their definitions. */
const foreign = /^(monitoring\.coreos\.com|security\.openshift\.io)\//;

interface Definitions {
  $id: string;
  $defs: Record<string, { "x-kubernetes-group-version-kind"?: { group: string; version: string; kind: string }[] }>;
}

class Schemas {
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
  readonly #definitions: Definitions;

  constructor(readonly version: string) {
    this.#definitions = JSON.parse(readFileSync(join(cache, "schemas", `${version}.json`), "utf8"));
    this.#ajv.addSchema(this.#definitions);
  }

  #of({ apiVersion, kind }: Manifest): ValidateFunction | undefined {
    const [group, version] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
    const is = (other: { group: string; version: string; kind: string }) =>
      other.group === group && other.version === version && other.kind === kind;
    const { $id, $defs } = this.#definitions;
    const name = Object.keys($defs).find((name) => $defs[name]!["x-kubernetes-group-version-kind"]?.some(is));
    return name === undefined ? undefined : this.#ajv.getSchema(`${$id}#/$defs/${name}`);
  }

  /** What this Kubernetes would not take of an object. */
  faults(object: Manifest): string[] {
    const valid = this.#of(object);
    if (!valid) return [`${object.apiVersion} ${object.kind} is not known`];
    valid(object);
    return (valid.errors ?? []).map(({ instancePath, message, params }) =>
      [object.kind, instancePath, message, params.additionalProperty].filter(Boolean).join(" "),
    );
  }
}

const minor = (version: string): number => Number(version.split(".")[1]);
const versions = readdirSync(join(cache, "schemas"))
  .filter((file) => file.endsWith(".json"))
  .map((file) => file.replace(".json", ""))
  .sort((a, b) => minor(a) - minor(b));

test("there are schemas from the oldest Kubernetes of the chart on", () => {
  const { kubeVersion } = parse(readFileSync(join(chart, "Chart.yaml"), "utf8"));
  expect(kubeVersion).toBe(`>=${versions[0]}.0-0`);
  expect(versions.map(minor)).toEqual(versions.map((_, index) => minor(versions[0]!) + index));
  expect(versions.length).toBeGreaterThan(10);
});

const objects: Record<string, Manifest[]> = {};
for (const [name, args] of Object.entries(scenarios)) objects[name] = await template(args);
for (const file of readdirSync(join(top, "deploy"))) {
  objects[file] = manifests(readFileSync(join(top, "deploy", file), "utf8"));
}

test.each(versions)("Kubernetes %s takes every object of every scenario", (version) => {
  const schemas = new Schemas(version);
  const own = Object.values(objects).flatMap((all) => all.filter(({ apiVersion }) => !foreign.test(apiVersion)));
  expect(new Set(own.map(({ kind }) => kind)).size).toBeGreaterThan(8);
  expect(own.flatMap((object) => schemas.faults(object))).toEqual([]);
});

test.each(versions)("Kubernetes %s: what is wrong is seen", (version) => {
  const schemas = new Schemas(version);
  const daemonset = structuredClone(kinds(objects.default!, "DaemonSet")[0]!);
  const { spec } = daemonset.spec.template;
  spec.hostPid = true;
  spec.containers[0].ports[0].containerPort = "metrics";
  expect(schemas.faults(daemonset).sort()).toEqual([
    "DaemonSet /spec/template/spec must NOT have additional properties hostPid",
    "DaemonSet /spec/template/spec/containers/0/ports/0/containerPort must be integer",
  ]);
  expect(schemas.faults({ apiVersion: "policy/v1beta1", kind: "PodSecurityPolicy" })).toEqual([
    "policy/v1beta1 PodSecurityPolicy is not known",
  ]);
});
