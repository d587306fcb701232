/** A pod of the shop: where it runs, who owns it, and the program that it is. */
export type Pod = {
  name: string;
  /** The workload that the metrics name. */
  workload: string;
  kind: "Deployment" | "StatefulSet" | "CronJob";
  node: number;
  v4: string;
  v6: string;
  /** The port that it serves, if any. */
  port?: number;
  namespace: string;
};

export type Node = {
  name: string;
  v4: string;
  v6: string;
  podCIDRs: [string, string];
  gateways: [string, string];
  namespace: string;
};

/** The network namespaces of all nodes and pods begin with this. */
export const prefix = "ringside-demo-";

/** The Kubernetes namespace of the shop. */
export const tenant = "shop";

function node(n: number): Node {
  return {
    name: `node-${n}`,
    v4: `10.77.0.${n}`,
    v6: `fd77::${n}`,
    podCIDRs: [`10.77.${n}.0/24`, `fd77:${n}::/64`],
    gateways: [`10.77.${n}.1`, `fd77:${n}::1`],
    namespace: `${prefix}node-${n}`,
  };
}

function pod(name: string, workload: string, kind: Pod["kind"], node: number, host: number, port?: number): Pod {
  const at = { node, v4: `10.77.${node}.${host}`, v6: `fd77:${node}::${host}`, namespace: prefix + name };
  return { name, workload, kind, ...at, ...(port === undefined ? {} : { port }) };
}

export const nodes = [node(1), node(2)];

/** Names as the Deployment, StatefulSet and CronJob controllers make them. Every link crosses the nodes for some pod. */
export const pods = {
  load: [pod("load-6c9d7b5f48-x2vkq", "load", "Deployment", 1, 10)],
  web: [
    pod("web-7f5b9c6d84-4hzqt", "web", "Deployment", 1, 20, 8080),
    pod("web-7f5b9c6d84-n8wlc", "web", "Deployment", 2, 20, 8080),
  ],
  api: [
    pod("api-5d8c64b7f9-9mrxd", "api", "Deployment", 1, 30, 9000),
    pod("api-5d8c64b7f9-tk6zv", "api", "Deployment", 2, 30, 9000),
  ],
  db: [pod("db-0", "db", "StatefulSet", 2, 40, 6379)],
  report: [pod("report-29385120-c7p5w", "report", "CronJob", 1, 50)],
} as const satisfies Record<string, readonly Pod[]>;

export const allPods: Pod[] = Object.values(pods).flat();

/** The command that runs `argv` in a pod. It dies with the demo, however that ends: a killed demo leaves no process. */
export function inPod(pod: Pod, argv: string[]): string[] {
  return ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", pod.namespace, ...argv];
}
