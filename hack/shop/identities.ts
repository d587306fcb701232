import { allPods, nodes, type Pod, type pods, tenant } from "./cluster.ts";

/** The shop as `kubectl get pods,svc,nodes -A -o json` would print it. */
export function identities(): string {
  const services = [
    service("web", "10.77.255.20", 8080),
    service("api", "fd77:255::30", 9000),
    service("db", "None", 6379),
  ];
  const items = [...allPods.map(podObject), ...services, ...nodes.map(nodeObject)];
  return JSON.stringify({ apiVersion: "v1", kind: "List", items }, null, 2);
}

function podObject(pod: Pod) {
  const template = pod.name.split("-").slice(0, -1).join("-"); // NAME-HASH of a ReplicaSet, NAME-MINUTE of a Job
  const owner = {
    Deployment: { apiVersion: "apps/v1", kind: "ReplicaSet", name: template },
    StatefulSet: { apiVersion: "apps/v1", kind: "StatefulSet", name: pod.workload },
    CronJob: { apiVersion: "batch/v1", kind: "Job", name: template },
  }[pod.kind];
  const hash = {
    Deployment: { "pod-template-hash": template.split("-").at(-1) },
    StatefulSet: {},
    CronJob: { "job-name": template },
  };
  const ports = pod.port ? [{ name: "tcp", containerPort: pod.port, protocol: "TCP" }] : [];
  const node = nodes[pod.node - 1]!;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: pod.name,
      namespace: tenant,
      uid: uid(allPods.indexOf(pod)),
      labels: { app: pod.workload, ...hash[pod.kind] },
      ownerReferences: [{ ...owner, uid: uid(100 + allPods.indexOf(pod)), controller: true }],
    },
    spec: { nodeName: node.name, containers: [{ name: pod.workload, ports }] },
    status: {
      phase: "Running",
      hostIP: node.v4,
      podIP: pod.v4,
      podIPs: [{ ip: pod.v4 }, { ip: pod.v6 }],
      startTime: "2025-01-01T00:00:00Z",
    },
  };
}

function service(name: keyof typeof pods, clusterIP: string, port: number) {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: tenant },
    spec: {
      clusterIP,
      clusterIPs: [clusterIP],
      selector: { app: name },
      ports: [{ port, targetPort: port, protocol: "TCP" }],
    },
  };
}

function nodeObject(node: (typeof nodes)[number]) {
  const addresses = [node.v4, node.v6].map((address) => ({ type: "InternalIP", address }));
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: node.name, labels: { "topology.kubernetes.io/zone": `zone-${nodes.indexOf(node) + 1}` } },
    spec: { podCIDR: node.podCIDRs[0], podCIDRs: node.podCIDRs },
    status: { addresses },
  };
}

function uid(n: number): string {
  return `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;
}
