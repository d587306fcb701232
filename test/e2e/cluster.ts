/** The running cluster of hack/e2e, and Ringside's release in it. */
import { join } from "node:path";
import pkg from "../../package.json" with { type: "json" };
import { cache, chart, type Manifest, ok, run } from "../chart/helm.ts";

/** Of kind. */
export const cluster = "ringside";
export const kubeconfig = join(cache, "kubeconfig");
/** Ringside's namespace, and its release. */
export const namespace = "ringside";
export const release = "ringside";
export const image = `ringside:${pkg.version}`;
export const values = join(import.meta.dir, "values.yaml");

/** @throws where it fails, with its words */
export const kubectl = (...args: string[]): Promise<string> => ok("kubectl", args, { kubeconfig });
/** Where it may fail. */
export const tryKubectl = (...args: string[]) => run("kubectl", args, { kubeconfig });
export const helm = (...args: string[]): Promise<string> => ok("helm", args, { kubeconfig });

/** One object, or a list's items: `get("pods", "-n", "shop")`. */
export async function get(...args: string[]): Promise<Manifest> {
  return JSON.parse(await kubectl("get", "-o", "json", ...args));
}
export const list = async (...args: string[]): Promise<Manifest[]> => (await get(...args)).items;

/** Applies objects, or YAML. */
export async function apply(objects: Manifest[] | string): Promise<string> {
  const input =
    typeof objects === "string" ? objects : JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
  return ok("kubectl", ["apply", "-f", "-"], { kubeconfig, input });
}

/** Installs or upgrades the release with the values of all tests and these: `--set agent.aggregate=pod`. Waits until it is rolled out. */
export async function install(...args: string[]): Promise<string> {
  const at = ["--namespace", namespace, "--create-namespace", "--values", values];
  const said = await helm("upgrade", "--install", release, chart, ...at, ...args);
  await ready(); // helm's --wait is content with a DaemonSet of which one pod is not there yet
  return said;
}

/** docker, which runs kind's nodes. */
export async function docker(...args: string[]): Promise<string> {
  const child = Bun.spawn(["docker", ...args], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [out, error] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(`docker ${args.join(" ")}: ${error}`);
  return out;
}

/** Runs a command on a node. @throws where it fails */
export const onNode = (node: string, ...command: string[]): Promise<string> => docker("exec", node, ...command);

/** Names of the nodes, the control plane's first. */
export async function nodes(): Promise<string[]> {
  const names = (await docker("ps", "--filter", `label=io.x-k8s.kind.cluster=${cluster}`, "--format", "{{.Names}}"))
    .trim()
    .split("\n");
  return names.sort();
}

/** A node's address in docker's network. */
export async function addressOf(node: string): Promise<string> {
  return (await docker("inspect", "-f", "{{.NetworkSettings.Networks.kind.IPAddress}}", node)).trim();
}

/** Ringside's pods, by their node. */
export async function agents(): Promise<Map<string, Manifest>> {
  const pods = await list("pods", "-n", namespace, "-l", `app.kubernetes.io/instance=${release}`);
  return new Map(pods.filter(({ metadata }) => !metadata.deletionTimestamp).map((pod) => [pod.spec.nodeName, pod]));
}

/** Waits until all of Ringside's pods are ready. */
export const ready = (): Promise<string> =>
  kubectl("rollout", "status", `daemonset/${release}`, "-n", namespace, "--timeout", "2m");

/** Asks until it is so. @throws what it still lacks after so many milliseconds */
export async function until(what: string, so: () => Promise<unknown>, patience = 60_000): Promise<void> {
  const end = Date.now() + patience;
  let last: unknown = "no";
  for (;;) {
    try {
      last = await so();
      if (last) return;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what}: not so after ${patience / 1000} s: ${Bun.inspect(last)}`);
    await Bun.sleep(250);
  }
}
