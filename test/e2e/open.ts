/** Makes the cluster what the tests expect: Ringside and the Prometheuses that watch it, and then the shop. */
import { addressOf, apply, docker, install, kubectl, list, namespace, nodes, until } from "./cluster.ts";
import { query, type Server, servers } from "./prometheus.ts";
import { prometheusObjects } from "./servers.ts";
import { image, namespaces, nodePorts, objects, outside, outsidePort } from "./shop/objects.ts";
import { folder, forget, go, hold } from "./truth.ts";

const began = Number(process.env.BEGAN ?? Date.now() / 1000);
const say = (what: string) => console.error(`${`${Math.floor(Date.now() / 1000 - began)}`.padStart(4)}s  ${what}`);

const all = await nodes();
const [first, last] = [all[0]!, all.at(-1)!];

// What an earlier run has left.
await docker("rm", "-f", outside);
await kubectl("uncordon", ...all);
const old = [
  namespace,
  ...namespaces,
  ...["refused", "without-bpf", "without-perfmon"], // of 5-privileges
  ...Object.keys(servers).map((server) => (server === "plain" ? "prometheus" : `prometheus-${server}`)),
];
await kubectl("delete", "namespace", "--ignore-not-found", ...old);
await kubectl(
  "delete",
  "clusterrole,clusterrolebinding",
  "--ignore-not-found",
  "-l",
  `app.kubernetes.io/name=${namespace}`,
);
await forget();
await hold();

say("ringside: helm install");
await kubectl("create", "namespace", namespace);
await kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=privileged");
await install();

say("prometheus");
await apply(await prometheusObjects(first));
for (const server of Object.keys(servers) as Server[]) {
  await until(
    `${server} Prometheus scrapes all agents`,
    async () => (await query("up == 1", { server })).length === all.length,
  );
}
// From now on each agent knows its scrapers, and what comes is born at zero.
await Bun.sleep(6000);

say("shop");
const account = ["--volume", `${folder}:/var/shop`, "--env", "NAMESPACE=outside", "--env", "POD=outside"];
const calls = `CALL=${await addressOf(last)}:${nodePorts.outside}:160:900:200`;
await docker(
  "run",
  "--detach",
  "--name",
  outside,
  "--network",
  "kind",
  ...account,
  "--env",
  `SERVE=${outsidePort}`,
  "--env",
  calls,
  image,
);
const address = await addressOf(outside);
const dual = (await list("nodes"))[0]!.spec.podCIDRs.length > 1;
await apply(objects(address, all, await addressOf(last), dual));
for (const name of namespaces) {
  const made = (await kubectl("get", "deployments,statefulsets,daemonsets", "-n", name, "-o", "name"))
    .trim()
    .split("\n");
  await Promise.all(made.map((one) => kubectl("rollout", "status", one, "-n", name, "--timeout=2m")));
}
// Every node knows every Service by now: nobody calls an address that nobody has.
await Bun.sleep(2000);
await go();
