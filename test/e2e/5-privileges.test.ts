/** What the agents may do on a node and at the API server, and what a user reads where they may not. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { changed, chart, run } from "../chart/helm.ts";
import { settled } from "../live/agent.ts";
import { agents, helm, kubeconfig, kubectl, list, namespace, nodes, onNode, tryKubectl, values } from "./cluster.ts";
import { comesTo } from "./comes.ts";
import { pidOf } from "./process.ts";

/** CAP_PERFMON is 38, CAP_BPF 39. */
const BPF_AND_PERFMON = (1n << 38n) | (1n << 39n);

describe("on the node", () => {
  /** The agents' processes, by their nodes. */
  let pids: [node: string, pid: string][];
  beforeAll(async () => {
    const pods = [...(await agents())].sort();
    pids = await Promise.all(pods.map(async ([node, pod]): Promise<[string, string]> => [node, await pidOf(pod)]));
    expect(pids.map(([node]) => node)).toEqual(await nodes());
  });

  /** What is true of each, by its node. */
  const each = async (read: (node: string, pid: string) => Promise<unknown>) =>
    Object.fromEntries(await Promise.all(pids.map(async ([node, pid]) => [node, await read(node, pid)])));
  const all = (value: unknown) => Object.fromEntries(pids.map(([node]) => [node, value]));

  test("root with BPF and PERFMON alone, no way to more, and a filter of system calls", async () => {
    const said = await each(async (node, pid) => {
      const status = await onNode(node, "cat", `/proc/${pid}/status`);
      const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1];
      const sets = ["CapEff", "CapPrm", "CapBnd", "CapAmb"].map((set) => [set, BigInt(`0x${field(set)}`)]);
      const others = ["Uid", "Gid", "NoNewPrivs", "Seccomp"].map((name) => [name, field(name)]);
      return Object.fromEntries([...sets, ...others]);
    });
    const sets = { CapEff: BPF_AND_PERFMON, CapPrm: BPF_AND_PERFMON, CapBnd: BPF_AND_PERFMON, CapAmb: 0n };
    const root = "0\t0\t0\t0";
    expect(said).toEqual(all({ ...sets, Uid: root, Gid: root, NoNewPrivs: "1", Seccomp: "2" }));
  });

  test("a root that nobody can write to", async () => {
    const options = await each(async (node, pid) => {
      const mounts = await onNode(node, "cat", `/proc/${pid}/mountinfo`);
      // proc_pid_mountinfo(5): the fifth field is where, the sixth how.
      const root = mounts.split("\n").find((line) => line.split(" ")[4] === "/");
      return root?.split(" ")[5]?.split(",")[0];
    });
    expect(options).toEqual(all("ro"));
  });

  test("namespaces of its own, none of the node's", async () => {
    const names = ["ipc", "mnt", "net", "pid", "uts"];
    const shared = await each(async (node, pid) => {
      const of = async (id: string) =>
        (await onNode(node, "readlink", ...names.map((name) => `/proc/${id}/ns/${name}`))).trim().split("\n");
      const [own, its] = await Promise.all([of(pid), of("1")]);
      return names.filter((_, index) => own[index] === its[index]);
    });
    expect(shared).toEqual(all([]));
  });
});

/** What an account may do in a namespace: a line for each kind or path. */
async function rights(account: string, where: string): Promise<string[]> {
  const table = await kubectl("auth", "can-i", "--list", "--no-headers", "-n", where, `--as=${account}`);
  return table
    .trim()
    .split("\n")
    .map((line) => line.trim().replaceAll(/\s{2,}/g, " "));
}

test.each([namespace, "shop", "kube-system"])(
  "at the API server, in %s: list and watch of four kinds, beyond what every account may",
  async (where) => {
    const every = await rights("system:serviceaccount:default:default", where);
    const own = await rights(`system:serviceaccount:${namespace}:ringside`, where);
    expect(every.length).toBeGreaterThan(3);
    expect(own.filter((line) => !every.includes(line)).sort()).toEqual([
      "endpointslices.discovery.k8s.io [] [] [list watch]",
      "nodes [] [] [list watch]",
      "pods [] [] [list watch]",
      "services [] [] [list watch]",
    ]);
    expect(every.filter((line) => !own.includes(line))).toEqual([]);
  },
);

/** One more release, which Prometheus does not find. @returns the notes of the install */
async function install(where: string, path = chart): Promise<string> {
  const flags = ["-n", where, "--values", values, "--set", "scrapeAnnotations=false"];
  return helm("install", "ringside", path, ...flags);
}

async function remove(where: string): Promise<void> {
  await helm("uninstall", "ringside", "-n", where, "--ignore-not-found");
  await kubectl("delete", "namespace", where, "--ignore-not-found", "--wait=false");
}

describe("in a namespace of the Pod Security level baseline", () => {
  const allow = "kubectl label --overwrite namespace refused pod-security.kubernetes.io/enforce=privileged";
  let notes: string;

  beforeAll(async () => {
    await kubectl("create", "namespace", "refused");
    await kubectl("label", "namespace", "refused", "pod-security.kubernetes.io/enforce=baseline");
    notes = await install("refused");
  }, 60_000);
  afterAll(() => remove("refused"), 60_000);

  test("the notes of the install say that there are no pods, why, and how to allow them", () => {
    expect(notes).toContain(
      "WARNING: the namespace refused enforces the Pod Security level baseline, which allows no pod the capabilities BPF\n" +
        `and PERFMON. The DaemonSet is there, and has no pods. Allow them:\n\n    ${allow}\n`,
    );
  });

  test("the DaemonSet's events have the refusal, with both capabilities in it", async () => {
    const refusal =
      'violates PodSecurity "baseline:latest": non-default capabilities (containers "check", "ringside" must not include ' +
      '"BPF", "PERFMON" in securityContext.capabilities.add)';
    const lacks = async () => {
      const said = await kubectl("-n", "refused", "describe", "daemonset/ringside");
      return said.includes(refusal) ? [] : [said];
    };
    expect(await settled(lacks)).toEqual([]);
    expect(await list("pods", "-n", "refused")).toEqual([]);
  });

  test("helm test fails, and says where to look", async () => {
    const { code, out } = await run("helm", ["test", "ringside", "-n", "refused", "--logs"], { kubeconfig });
    expect(out).toContain("ringside: cannot read the links of an agent: http://ringside.refused.svc:12020: ");
    expect(out).toContain(
      "See `kubectl describe daemonset`: at another Pod Security level than privileged the agents get no pods;",
    );
    expect(code).toBe(1);
  }, 60_000);

  test("what the notes say allows them: the pods come by themselves, and helm test passes", async () => {
    await kubectl(...allow.split(" ").slice(1));
    await kubectl("-n", "refused", "rollout", "status", "daemonset/ringside", "--timeout=90s");
    // Without --logs: what has passed is deleted.
    const { code, out } = await run("helm", ["test", "ringside", "-n", "refused"], { kubeconfig });
    expect([code, code && (await kubectl("-n", "refused", "logs", "ringside-test"))]).toEqual([0, 0]);
    expect(out).toMatch(/^Phase:\s+Succeeded$/m);
  }, 120_000);
});

describe.each([
  ["BPF", "- BPF # to load the programs and make their maps"],
  ["PERFMON", "- PERFMON # to attach them to the kernel's functions and read its memory"],
])("without the capability %s", (capability, line) => {
  const where = `without-${capability.toLowerCase()}`;
  const refusal =
    `cannot load the BPF programs: uid 0 lacks the capabilities ${capability}. ` +
    "Run as root, or add BPF and PERFMON to the container's capabilities.\n";

  beforeAll(async () => {
    using lacking = changed("templates/_helpers.tpl", `    ${line}\n`, "");
    await kubectl("create", "namespace", where);
    await install(where, lacking.path);
  }, 60_000);
  afterAll(() => remove(where), 60_000);

  test("the init container's log and termination message say what to do", async () => {
    const said = async () =>
      (await list("pods", "-n", where)).map(({ status }) => {
        const { state, lastState } = status.initContainerStatuses?.[0] ?? {};
        const { exitCode, message } = state?.terminated ?? lastState?.terminated ?? {};
        return { exitCode, message };
      });
    const expected = Array((await nodes()).length).fill({ exitCode: 1, message: refusal });
    await comesTo(expected, said);
    // One that has just begun again has said nothing yet.
    await comesTo(
      refusal,
      async () => (await tryKubectl("-n", where, "logs", "daemonset/ringside", "-c", "check")).out,
    );
    // What a user looks at first.
    expect(await kubectl("-n", where, "describe", "pods")).toContain(refusal.trim());
  }, 60_000);
});
