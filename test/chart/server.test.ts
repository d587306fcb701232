/** The rendered objects at a real API server, which knows the operator's and OpenShift's kinds. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ADMIN, Cluster } from "../api/cluster.ts";
import { cache, chart, kinds, type Manifest, manifests, ok, run, scenarios, template, top } from "./helm.ts";

let cluster: Cluster;
let kubeconfig: string;

const kubectl = (args: string[], input?: string) =>
  ok("kubectl", args, input === undefined ? { kubeconfig } : { kubeconfig, input });
const helm = (...args: string[]) => ok("helm", [...args, "--namespace", "monitor"], { kubeconfig });
const json = (objects: Manifest[]): string => JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
const level = (namespace: string, enforce: string) =>
  kubectl(["label", "--overwrite", "namespace", namespace, `pod-security.kubernetes.io/enforce=${enforce}`]);

beforeAll(async () => {
  cluster = await Cluster.start();
  writeFileSync(cluster.file("token"), ADMIN);
  kubeconfig = cluster.kubeconfig(cluster.folder);
  for (const namespace of ["monitor", "monitoring", "ringside", "prometheus"]) {
    await kubectl(["create", "namespace", namespace]);
  }
  for (const file of readdirSync(join(cache, "definitions")).filter((name) => name.endsWith(".yaml"))) {
    await kubectl(["apply", "--server-side", "-f", join(cache, "definitions", file)]);
  }
  await kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]);
}, 120_000);

afterAll(() => cluster?.stop());

const dryRun = (text: string) =>
  run("kubectl", ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"], {
    kubeconfig,
    input: text,
  });

test.each(Object.keys(scenarios))("%s: the server takes every object", async (name) => {
  const objects = await template(scenarios[name]);
  const { code, out, error } = await dryRun(json(objects));
  expect([error.replace(/^Warning: .*$/gm, "").trim(), code]).toEqual(["", 0]);
  expect(out.trim().split("\n").length).toBe(objects.length);
});

test("a field that does not exist is refused", async () => {
  const [daemonset] = kinds(await template(), "DaemonSet");
  daemonset!.spec.template.spec.hostPid = true;
  const { code, error } = await dryRun(json([daemonset!]));
  expect(code).toBe(1);
  expect(error).toContain("hostPid");
});

test.each(["ringside", "prometheus"])("deploy/%s.yaml: the server takes every object", async (name) => {
  const text = await Bun.file(join(top, `deploy/${name}.yaml`)).text();
  const { code, out, error } = await dryRun(text);
  expect([error.trim(), code]).toEqual(["", 0]);
  expect(out.trim().split("\n").length).toBe(manifests(text).length);
});

/** Everything there is, but for what the server itself makes and forgets. */
async function everything(): Promise<string[]> {
  const types = (await kubectl(["api-resources", "--verbs=list", "-o", "name"]))
    .trim()
    .split("\n")
    .filter((type) => !/^(events|leases|componentstatuses)\b/.test(type));
  const names = await kubectl(["get", types.join(","), "--all-namespaces", "--no-headers", "-o", "name"]);
  return names.trim().split("\n").sort();
}

test("an upgrade from each scenario to the next one works, and an uninstall leaves nothing", async () => {
  const before = await everything();
  await helm("install", "ringside", chart);
  const installed = await everything();
  expect(installed).toContain("daemonset.apps/ringside");
  expect(installed).toContain("clusterrole.rbac.authorization.k8s.io/monitor-ringside");
  for (const [name, args] of Object.entries(scenarios)) {
    await helm("upgrade", "ringside", chart, ...args);
    const daemonset = JSON.parse(await kubectl(["-n", "monitor", "get", "daemonsets", "-o", "json"])).items;
    expect([name, daemonset.length]).toEqual([name, 1]);
    const [rendered] = kinds(await template(args), "DaemonSet");
    expect(daemonset[0].spec.template.spec.containers[0].args).toEqual(rendered!.spec.template.spec.containers[0].args);
  }
  await helm("upgrade", "ringside", chart, "--set", "port=12345");
  await helm("rollback", "ringside", "1");
  expect(await everything()).toEqual(
    expect.arrayContaining(installed.filter((object) => !object.startsWith("secret/sh.helm"))),
  );
  await helm("uninstall", "ringside");
  expect(await everything()).toEqual(before);
}, 120_000);

describe("Pod Security", () => {
  const podOf = (objects: Manifest[], labels = {}): Manifest => {
    const { metadata, spec } = kinds(objects, "DaemonSet")[0]!.spec.template;
    return {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { ...metadata, ...labels, name: "p", namespace: "monitor" },
      spec,
    };
  };

  test("baseline refuses the pods for these two capabilities alone, privileged takes them", async () => {
    const pod = json([podOf(await template())]);
    await level("monitor", "baseline");
    const { code, error } = await dryRun(pod);
    expect(code).toBe(1);
    expect(error).toContain('violates PodSecurity "baseline:latest": non-default capabilities');
    expect(error).toContain('must not include "BPF", "PERFMON" in securityContext.capabilities.add');
    expect(error).not.toContain(", host");
    await level("monitor", "privileged");
    expect(await dryRun(pod)).toMatchObject({ code: 0 });
  });

  test("the pod of `helm test` runs at the strictest level", async () => {
    await level("monitor", "restricted");
    expect(await dryRun(json(kinds(await template(), "Pod")))).toMatchObject({ code: 0, error: "" });
  });

  test.each([
    ["baseline", true],
    ["privileged", false],
  ])("helm install warns in a namespace of level %s: %p", async (enforce, warns) => {
    await level("monitor", enforce);
    const said = await helm("install", "ringside", chart, "--dry-run=server");
    expect(said.includes(`WARNING: the namespace monitor enforces the Pod Security level ${enforce}`)).toBe(warns);
    expect(said).toContain("kubectl -n monitor rollout status daemonset/ringside");
    expect(said).toContain("kubectl -n monitor port-forward daemonset/ringside 12020:12020");
    expect(said).toContain("helm test ringside --namespace monitor");
  });
});
