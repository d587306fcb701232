/** What the API server would say of the cluster of `namespaces`: a list as kubectl prints it. */

/** The uid of each pod; the test makes cgroups that are named by it. */
export const uidOf = (name: string): string => {
  const hex = Buffer.from(name.padEnd(6, "0").slice(0, 6)).toString("hex");
  return `0a1b2c3d-1111-4222-8333-${hex}`;
};

interface PodSpec {
  node: string;
  address: string;
  hostNetwork?: boolean;
  ports?: { containerPort: number; hostPort?: number }[];
  probe?: number;
  phase?: string;
}

const pod = (name: string, { node, address, hostNetwork, ports = [], probe, phase = "Running" }: PodSpec) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { namespace: "shop", name, uid: uidOf(name), labels: { app: name } },
  spec: {
    nodeName: node,
    ...(hostNetwork && { hostNetwork }),
    containers: [{ name, ports, ...(probe && { readinessProbe: { tcpSocket: { port: probe } } }) }],
  },
  status: { phase, startTime: "2020-01-01T00:00:00Z", podIP: address, podIPs: [{ ip: address }] },
});

const node = (name: string, zone: string, address: string, podCIDR: string) => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name, labels: { "topology.kubernetes.io/zone": zone } },
  spec: { podCIDR, podCIDRs: [podCIDR] },
  status: { addresses: [{ type: "InternalIP", address }] },
});

type ServicePort = { name: string; port: number; targetPort: number; nodePort?: number };

const service = (name: string, app: string, clusterIP: string, ...ports: ServicePort[]) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { namespace: "shop", name },
  spec: { clusterIP, clusterIPs: [clusterIP], selector: { app }, ports },
});

/** A Service that somebody has led out of the cluster. */
const outside = (name: string, clusterIP: string, address: string, port: number) => [
  {
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace: "shop", name },
    spec: { clusterIP, clusterIPs: [clusterIP], ports: [{ name: "", port }] },
  },
  {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { namespace: "shop", name: `${name}-1`, labels: { "kubernetes.io/service-name": name } },
    addressType: "IPv4",
    endpoints: [{ addresses: [address] }],
    ports: [{ name: "", port }],
  },
];

/** @param brief the phase of the pod that lives for 3 s, once it is there */
export function objects(brief?: "Running" | "Succeeded"): object {
  const own = { node: "node-a" };
  return {
    apiVersion: "v1",
    kind: "List",
    items: [
      node("node-a", "east", "172.30.0.2", "10.244.1.0/24"),
      node("node-b", "west", "172.30.0.3", "10.244.2.0/24"),
      pod("web", { ...own, address: "10.244.1.10", probe: 8080 }),
      pod("api", { ...own, address: "10.244.1.11", probe: 8080 }),
      pod("caller", { ...own, address: "10.244.1.12" }),
      pod("scraper", { ...own, address: "172.30.0.2", hostNetwork: true }),
      pod("far", {
        node: "node-b",
        address: "10.244.2.10",
        probe: 8082,
        ports: [{ containerPort: 8083, hostPort: 8883 }],
      }),
      pod("called", { node: "node-b", address: "10.244.2.12" }),
      pod("edge", { node: "node-b", address: "172.30.0.3", hostNetwork: true, ports: [{ containerPort: 9100 }] }),
      ...(brief ? [pod("brief", { ...own, address: "10.244.1.13", phase: brief })] : []),
      service(
        "far",
        "far",
        "10.96.0.1",
        { name: "http", port: 80, targetPort: 8080 },
        { name: "inner", port: 81, targetPort: 8081, nodePort: 30081 },
        { name: "outer", port: 82, targetPort: 8082, nodePort: 30082 },
        { name: "brief", port: 84, targetPort: 8084 },
      ),
      service("api", "api", "10.96.0.2", { name: "http", port: 80, targetPort: 8080 }),
      service("called", "called", "10.96.0.3", { name: "http", port: 80, targetPort: 8080 }),
      ...outside("ledger", "10.96.0.4", "172.30.0.10", 5432),
    ],
  };
}
