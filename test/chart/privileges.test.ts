/** What the pods may do, in every scenario: nothing but what the README gives a reason for. */
import { describe, expect, test } from "bun:test";
import { changed, kinds, type Manifest, scenarios, template } from "./helm.ts";

/** Whatever goes beyond what the agent needs: "OBJECT: WHAT". */
function excesses(objects: Manifest[], extraCapabilities: string[] = []): string[] {
  const found: string[] = [];
  const pods = objects.flatMap((object): [string, Manifest][] => {
    if (object.kind === "Pod") return [["test pod", object.spec]];
    return object.spec?.template?.spec ? [[object.kind, object.spec.template.spec]] : [];
  });
  for (const [kind, pod] of pods) {
    for (const key of ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"]) {
      if (pod[key]) found.push(`${kind}: ${key}`);
    }
    for (const { name, hostPath } of pod.volumes ?? []) if (hostPath) found.push(`${kind}: the host's path of ${name}`);
    for (const container of [...(pod.initContainers ?? []), ...pod.containers]) {
      const security = container.securityContext ?? {};
      const say = (what: string) => found.push(`${container.name}: ${what}`);
      const allowed = kind === "test pod" ? [] : ["BPF", "PERFMON", ...extraCapabilities];
      for (const capability of security.capabilities?.add ?? []) {
        if (!allowed.includes(capability)) say(`the capability ${capability}`);
      }
      if (security.capabilities?.drop?.join() !== "ALL") say("capabilities that are not dropped");
      if (security.readOnlyRootFilesystem !== true) say("a root that it can write to");
      if (security.privileged) say("privileged");
      if (security.allowPrivilegeEscalation !== false) say("privilege escalation");
      if (container.resources?.limits?.cpu) say("a CPU limit");
    }
  }
  const roles = objects.filter(({ kind }) => kind === "ClusterRole" || kind === "Role");
  const allowed = new Set(
    ["/pods", "/services", "/nodes", "discovery.k8s.io/endpointslices"].flatMap((r) => [`list ${r}`, `watch ${r}`]),
  );
  for (const { apiGroups, resources, verbs, ...more } of roles.flatMap(({ rules }) => rules)) {
    for (const key of Object.keys(more)) found.push(`role: ${key}`);
    for (const group of apiGroups ?? []) {
      for (const resource of resources ?? []) {
        for (const verb of verbs) {
          if (!allowed.has(`${verb} ${group}/${resource}`)) found.push(`role: ${verb} ${group}/${resource}`);
        }
      }
    }
  }
  return found;
}

const extra: Record<string, string[]> = { "older-kernels": ["SYS_RESOURCE", "SYS_ADMIN"] };

test.each(Object.keys(scenarios))("%s: nothing beyond what is needed", async (name) => {
  const objects = await template(scenarios[name]);
  expect(excesses(objects, extra[name])).toEqual([]);
  const [daemonset] = kinds(objects, "DaemonSet");
  const pod = daemonset!.spec.template.spec;
  for (const { securityContext } of [...(pod.initContainers ?? []), ...pod.containers]) {
    expect(securityContext.capabilities.add).toEqual(["BPF", "PERFMON", ...(extra[name] ?? [])]);
    expect(securityContext.runAsUser).toBe(0);
    expect(securityContext.seccompProfile.type).toBe(name === "openshift" ? "Unconfined" : "RuntimeDefault");
  }
});

describe("a chart that gives more is seen", () => {
  const helpers = "templates/_helpers.tpl";
  const daemonset = "templates/daemonset.yaml";
  test.each([
    [
      helpers,
      "- PERFMON #",
      "- PERFMON\n    - SYS_PTRACE #",
      ["check: the capability SYS_PTRACE", "ringside: the capability SYS_PTRACE"],
    ],
    [
      helpers,
      "readOnlyRootFilesystem: true",
      "readOnlyRootFilesystem: false",
      ["check: a root that it can write to", "ringside: a root that it can write to"],
    ],
    [
      helpers,
      "drop: [ALL]",
      "drop: [CHOWN]",
      ["check: capabilities that are not dropped", "ringside: capabilities that are not dropped"],
    ],
    [helpers, "privileged: false", "privileged: true", ["check: privileged", "ringside: privileged"]],
    [daemonset, "enableServiceLinks: false", "enableServiceLinks: false\n      hostPID: true", ["DaemonSet: hostPID"]],
    [
      daemonset,
      "enableServiceLinks: false",
      "enableServiceLinks: false\n      hostNetwork: true",
      ["DaemonSet: hostNetwork"],
    ],
    [
      "templates/rbac.yaml",
      "verbs: [list, watch]",
      "verbs: [get, list, watch]",
      ["role: get /pods", "role: get /services", "role: get /nodes"],
    ],
    [
      "templates/rbac.yaml",
      "[pods, services, nodes]",
      "[pods, services, nodes, secrets]",
      ["role: list /secrets", "role: watch /secrets"],
    ],
    [
      "values.yaml",
      "    memory: 256Mi",
      "    memory: 256Mi\n    cpu: 100m",
      ["check: a CPU limit", "ringside: a CPU limit"],
    ],
  ])("%s: %s -> %s", async (file, from, to, expected) => {
    using copy = changed(file, from, to);
    expect(excesses(await template([], copy.path))).toEqual(expected);
  });
});
