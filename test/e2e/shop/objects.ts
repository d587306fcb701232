/**
 * The shop, as Kubernetes knows it.
 *
 *   load ──> web ──> api ──> db-0, db-1          by name: ClusterIP, ClusterIP, headless; web also calls outside the cluster
 *   report (CronJob), logs (DaemonSet) ──> db-0
 *   caller, outside ──> ported                   by a node's port
 *   mirror ──> mirror                            by its own Service
 *   sender ──> receiver                          through redirects to a proxy in each, as a mesh has them
 *   edge (on the host's network) ──> ported,  load ──> edge
 *   app ──> db-0                                 in another namespace: a pod of the same name
 *
 * What each does is in shop.c's words.
 */
import type { Manifest } from "../../chart/helm.ts";

export const image = "ringside-e2e/shop:1";
/** The other one has a pod of the same name. */
export const namespaces = ["shop", "tenant"] as const;
/** The container that is outside of the cluster: it answers at this port. */
export const outside = "ringside-outside";
export const outsidePort = 5432;
/** Node ports: a pod's caller and the one outside have one each. */
export const nodePorts = { caller: 30081, outside: 30082 };
/** A mesh's proxy: its user, and where it takes what goes out and what comes in. */
const proxy = { user: 1337, out: 15001, in: 15006 };

interface Work {
  /** shop.c's words. */
  serve?: number[];
  /** Whether the kubelet asks the first port whether the pod is ready. */
  probed?: boolean;
  call?: string[];
  /** Of the pod beside this program. */
  containers?: Manifest[];
  /** More of the pod's spec. */
  spec?: Manifest;
}

const field = (fieldPath: string): Manifest => ({ valueFrom: { fieldRef: { fieldPath } } });

/** Whose account it is. */
const who = (name: string, kind: string): Manifest[] => [
  { name: "NAMESPACE", ...field("metadata.namespace") },
  { name: "POD", ...field("metadata.name") },
  { name: "NODE", ...field("spec.nodeName") },
  { name: "WORKLOAD", value: name },
  { name: "KIND", value: kind },
];
const accounts = [{ name: "account", mountPath: "/var/shop" }];

function container(name: string, kind: string, { serve = [], call = [], probed }: Work): Manifest {
  const [port] = serve;
  return {
    name: "shop",
    image,
    env: [
      ...who(name, kind),
      { name: "HOST", ...field("status.hostIP") },
      { name: "SERVE", value: serve.join(" ") },
      { name: "CALL", value: call.join(" ") },
    ],
    ports: serve.map((containerPort) => ({ containerPort })),
    ...(probed ? { readinessProbe: { httpGet: { path: "/", port }, periodSeconds: 2 } } : {}),
    volumeMounts: accounts,
  };
}

const labels = (name: string): Manifest => ({ app: name });

function template(name: string, kind: string, work: Work): Manifest {
  return {
    metadata: { labels: labels(name) },
    spec: {
      containers: [container(name, kind, work), ...(work.containers ?? [])],
      volumes: [{ name: "account", hostPath: { path: "/var/shop" } }],
      terminationGracePeriodSeconds: 3,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      ...work.spec,
    },
  };
}

/** One of each of its pods on each node. */
const spread = (name: string): Manifest => ({
  topologySpreadConstraints: [
    {
      maxSkew: 1,
      topologyKey: "kubernetes.io/hostname",
      whenUnsatisfiable: "ScheduleAnyway",
      labelSelector: { matchLabels: labels(name) },
    },
  ],
});

/** A pod of its own that calls once. */
export const single = (name: string, node: string, call: string): Manifest => ({
  apiVersion: "v1",
  kind: "Pod",
  ...template(name, "Pod", { call: [call], spec: { restartPolicy: "Never", nodeName: node } }),
  metadata: { name, namespace: "shop" },
});

const on = (nodeName: string): Manifest => ({ nodeSelector: { "kubernetes.io/hostname": nodeName } });

function workload(kind: string, namespace: string, name: string, work: Work, spec: Manifest = {}): Manifest {
  return {
    apiVersion: "apps/v1",
    kind,
    metadata: { name, namespace },
    spec: { selector: { matchLabels: labels(name) }, template: template(name, kind, work), ...spec },
  };
}

const service = (namespace: string, name: string, ports: Manifest[], spec: Manifest = {}): Manifest => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, namespace },
  spec: { selector: labels(name), ports: ports.map((port) => ({ name: `port-${port.port}`, ...port })), ...spec },
});

/** A headless one, with its StatefulSet. */
function database(namespace: string, replicas: number, spec: Manifest = {}): Manifest[] {
  const work = { serve: [6379], probed: true, spec: spread("db") };
  return [
    workload("StatefulSet", namespace, "db", work, { replicas, serviceName: "db", podManagementPolicy: "Parallel" }),
    service(namespace, "db", [{ port: 6379 }], { clusterIP: "None", ...spec }),
  ];
}

/** What comes in goes to the proxy, and what goes out, unless it is the proxy's own. */
function meshed(name: string, work: Work): Work {
  const rules = [
    `iptables -t nat -A PREROUTING -p tcp -j REDIRECT --to-ports ${proxy.in}`,
    `iptables -t nat -A OUTPUT -p tcp -m owner ! --uid-owner ${proxy.user} ! -d 127.0.0.0/8 -j REDIRECT --to-ports ${proxy.out}`,
  ];
  const redirect = {
    name: "redirect",
    image,
    command: ["sh", "-ec", rules.join("\n")],
    securityContext: { capabilities: { add: ["NET_ADMIN"] } },
  };
  const sidecar = {
    name: "proxy",
    image,
    env: [...who(name, "Deployment"), { name: "PROXY", value: `${proxy.in}@127.0.0.6 ${proxy.out}` }],
    securityContext: { runAsUser: proxy.user },
    volumeMounts: accounts,
  };
  return { ...work, containers: [sidecar], spec: { ...work.spec, initContainers: [redirect] } };
}

/**
 * @param outside the address of what is outside of the cluster
 * @param nodes the names of the nodes, the control plane's first
 * @param address of the last of them
 * @param dual whether pods have IPv6, too: then some Services have nothing else
 */
export function objects(outside: string, nodes: string[], address: string, dual: boolean): Manifest[] {
  const newer = dual ? { ipFamilies: ["IPv6"] } : {};
  const [first, last] = [nodes[0]!, nodes.at(-1)!];
  const deployment = (name: string, work: Work, replicas = 1, namespace = "shop") =>
    workload("Deployment", namespace, name, work, { replicas });
  return [
    ...namespaces.map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } })),

    deployment("load", {
      call: ["web:80:500:3000:50", "web:80:200:20000:300:fresh", `${address}:9100:150:700:200`],
      spec: on(last),
    }),
    deployment(
      "web",
      {
        serve: [8080],
        probed: true,
        call: ["api:9000:300:1500:50", `${outside}:${outsidePort}:400:800:500`],
        spec: spread("web"),
      },
      2,
    ),
    service("shop", "web", [{ port: 80, targetPort: 8080 }]),
    deployment(
      "api",
      {
        serve: [9000],
        probed: true,
        call: ["db-0.db:6379:250:900:40", "db-1.db:6379:250:900:60", "db-1.db:6379:1000:50000:500:fresh"],
        spec: spread("api"),
      },
      2,
    ),
    service("shop", "api", [{ port: 9000 }], newer),
    ...database("shop", 2),

    {
      apiVersion: "batch/v1",
      kind: "CronJob",
      metadata: { name: "report", namespace: "shop" },
      spec: {
        schedule: "* * * * *",
        jobTemplate: {
          spec: {
            template: template("report", "CronJob", {
              call: ["db-0.db:6379:5000:70000:0"],
              spec: { restartPolicy: "Never" },
            }),
          },
        },
      },
    },
    workload("DaemonSet", "shop", "logs", { call: ["db-0.db:6379:600:120:250"] }),

    deployment("caller", { call: [`$(HOST):${nodePorts.caller}:180:640:200`], spec: on(last) }),
    deployment("ported", { serve: [8081, 8082, 8083], spec: on(first) }),
    service(
      "shop",
      "ported",
      [
        { port: 81, targetPort: 8081, nodePort: nodePorts.caller },
        { port: 82, targetPort: 8082, nodePort: nodePorts.outside },
        { port: 83, targetPort: 8083 },
      ],
      { type: "NodePort" },
    ),
    deployment("mirror", { serve: [8080], call: ["mirror:80:220:1100:200"] }),
    service("shop", "mirror", [{ port: 80, targetPort: 8080 }]),

    // On a node that no test drains: of what a proxy could not hand on any more, the application's account says nothing.
    deployment("sender", meshed("sender", { call: ["receiver:80:350:2500:150"], spec: on(first) })),
    deployment("receiver", meshed("receiver", { serve: [8080], probed: true, spec: on(first) })),
    service("shop", "receiver", [{ port: 80, targetPort: 8080 }]),

    deployment("edge", {
      serve: [9100],
      call: ["ported.shop.svc.cluster.local:83:450:1300:200"],
      spec: { hostNetwork: true, dnsPolicy: "ClusterFirstWithHostNet", ...on(last) },
    }),

    ...database("tenant", 1, newer),
    deployment("app", { call: ["db-0.db:6379:310:1700:100"] }, 1, "tenant"),
  ];
}
