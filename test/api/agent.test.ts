/** The agent's own process, in a pod as far as it can tell, and by a kubeconfig. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { undocumented } from "../live/documented.ts";
import { Cluster } from "./cluster.ts";
import { until } from "./names.ts";

const top = join(import.meta.dir, "../..");

let cluster: Cluster;
let account: string;

beforeAll(async () => {
  cluster = await Cluster.start();
  account = await cluster.serviceAccount("ringside");
  await cluster.node("node-a", "10.0.0.1");
  await cluster.pod("web-1", "10.244.0.1");
  await cluster.pod("api-1", "10.244.1.1", { node: "node-b" });
}, 90_000);
afterAll(() => cluster.stop());

/** Runs a program where the service account is mounted as the kubelet does it. */
function inPod(args: string[], port = cluster.port) {
  const mount = `mount -t tmpfs tmpfs /run && mkdir -p /run/secrets/kubernetes.io && ln -s "$0" /run/secrets/kubernetes.io/serviceaccount`;
  return Bun.spawn(["unshare", "-m", "sh", "-ec", `${mount} && exec "$@"`, account, process.execPath, ...args], {
    env: { ...process.env, KUBERNETES_SERVICE_HOST: "127.0.0.1", KUBERNETES_SERVICE_PORT: String(port) },
    stdout: "pipe",
    stderr: "pipe",
  });
}

/** Starts the agent. @returns its URL, and its log so far */
async function started(child: ReturnType<typeof inPod>): Promise<{ url: string; said: () => string }> {
  let said = "";
  void (async () => {
    for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) said += chunk;
  })();
  await until(() => /"listen":"/.test(said) || child.exitCode !== null, "the agent");
  const url = /"listen":"([^"]+)"/.exec(said)?.[1];
  if (url === undefined) throw new Error(`the agent ended: ${said}`);
  return { url, said: () => said };
}

const run = ["src/main.ts", "run", "--listen", "127.0.0.1:0"].map((arg) => arg.replace(/^src/, `${top}/src`));

test("in a pod it names by the service account, and says of itself how", async () => {
  const child = inPod([...run, "--node", "node-a"]);
  const { url, said } = await started(child);
  const took = await until(async () => (await fetch(`${url}readyz`)).ok, "readiness");
  console.log(`ready ${Math.round(took)} ms after it was attached`);
  const text = await (await fetch(`${url}metrics`)).text();
  const metrics = text.split("\n").filter((line) => line.startsWith("ringside_identities_"));
  expect(metrics).toContain('ringside_identities_objects{type="pod"} 2');
  for (const stream of ["own_pods", "pods", "services", "endpointslices", "nodes"]) {
    expect(metrics).toContain(`ringside_identities_syncs_total{stream="${stream}"} 1`);
    expect(metrics).toContain(`ringside_identities_malformed_total{stream="${stream}"} 0`);
    expect(metrics).toContain(`ringside_identities_restarts_total{stream="${stream}",reason="expired"} 0`);
    // The list's end, and whatever others the server has sent by now.
    const bookmarks = `ringside_identities_events_total{stream="${stream}",event="bookmark"} `;
    expect(Number(metrics.find((line) => line.startsWith(bookmarks))?.slice(bookmarks.length))).toBeGreaterThanOrEqual(
      1,
    );
    expect(
      metrics.find((line) => line.startsWith(`ringside_identities_age_seconds{stream="${stream}"}`)),
    ).toBeDefined();
  }
  expect(metrics.filter((line) => line.startsWith("ringside_identities_errors_total"))).toEqual([]);
  expect(await undocumented(text)).toEqual([]);
  const promtool = Bun.spawn(["promtool", "check", "metrics"], {
    stdin: new Blob([text]),
    stdout: "pipe",
    stderr: "pipe",
  });
  expect(await promtool.stderr.text()).toBe("");
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
  expect(said()).not.toContain('"level":50');
});

test("in a pod it wants to know its node", async () => {
  const child = inPod(run);
  expect(await child.exited).toBe(1);
  expect(await child.stderr.text()).toBe(
    "ringside: cannot watch the cluster's names: a pod's agent needs --node. " +
      "Set RINGSIDE_NODE from the pod's spec.nodeName (valueFrom.fieldRef).\n",
  );
});

test("with no API server it is ready at once, counts, and says what it lacks", async () => {
  const child = inPod([...run, "--node", "node-a"], 1);
  const { url, said } = await started(child);
  const took = await until(async () => (await fetch(`${url}readyz`)).ok, "readiness");
  expect(took).toBeLessThan(2000);
  await until(
    async () => /identities_errors_total{.*status="network"} [1-9]/.test(await (await fetch(`${url}metrics`)).text()),
    "the error",
  );
  expect(said()).toContain("cannot watch own_pods: https://127.0.0.1:1");
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
});

test("a kubeconfig's library is loaded for a kubeconfig, and never in a pod", async () => {
  const config = cluster.kubeconfig(account);
  // The agent's own modules and its own way to names, up to the first complete set; then what is loaded.
  const script = `
    await import(${JSON.stringify(`${top}/src/agent.ts`)});
    const { inCluster } = await import(${JSON.stringify(`${top}/src/kube/incluster.ts`)});
    const { kubeconfig } = await import(${JSON.stringify(`${top}/src/kube/kubeconfig.ts`)});
    const { Watched } = await import(${JSON.stringify(`${import.meta.dir}/names.ts`)});
    const file = process.argv.at(-1);
    const watched = new Watched(file.endsWith("config") ? await kubeconfig(file) : inCluster());
    await watched.synced();
    const modules = Object.keys(require.cache);
    console.log(JSON.stringify({
      names: watched.names().length,
      own: modules.filter((path) => path.endsWith("/src/kube/reflector.ts")).length,
      library: modules.filter((path) => path.includes("@kubernetes/client-node")).length,
    }));
    process.exit(0);`;
  const loaded = async (last: string) => JSON.parse(await inPod(["-e", script, last]).stdout.text());
  expect(await loaded("in-cluster")).toEqual({ names: 4, own: 1, library: 0 });
  const { library } = await loaded(config);
  expect(library).toBeGreaterThan(10);
});
