/**
 * The objects of a large cluster as an API server gives them: pods of 8 to 19 kB with their managed fields, environment,
 * conditions and container statuses, Services, nodes and EndpointSlices. All follow from the seed.
 */

export interface Size {
  pods: number;
  services: number;
  nodes: number;
}

export interface Pod {
  uid: string;
  namespace: string;
  name: string;
  node: string;
  address: string;
  workload: number;
  version: number;
  /** How far it has come in its life. */
  phase: "Pending" | "Running" | "Terminating";
}

/** Numbers that follow from a seed: mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const NAMESPACES = 500;
/** Endpoints of a slice, as Kubernetes makes them by default. */
const SLICE = 100;
const BORN = "2026-11-20T10:00:00Z";
const READY = "2026-11-20T10:00:07Z";
const words = "api cart web worker queue search mail auth catalog billing stream report session gateway index".split(
  " ",
);
const hex = (random: () => number, digits: number): string =>
  Array.from({ length: digits }, () => Math.floor(random() * 16).toString(16)).join("");
const uuid = (random: () => number): string => [8, 4, 4, 4, 12].map((digits) => hex(random, digits)).join("-");

/** Where an object's text differs from those of its workload. */
type Mark = "name" | "uid" | "address" | "node" | "host" | "version";
const mark = (what: Mark): string => `\u0001${what}\u0001`;
type Template = (values: Record<Mark, string>) => string;

function template(object: unknown): Template {
  const parts = JSON.stringify(object).split(/\\u0001(\w+)\\u0001/);
  return (values) => {
    let text = parts[0]!;
    for (let i = 1; i < parts.length; i += 2) text += values[parts[i] as Mark] + parts[i + 1];
    return text;
  };
}

export const podAddress = (i: number): string => `10.${64 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;
const hostAddress = (i: number): string => `172.16.${i >> 8}.${i & 255}`;
const nodeName = (i: number): string => `node-${i}.eu-central-1.compute.internal`;

export class Cluster {
  readonly pods: Pod[] = [];
  /** Per workload, its pods. */
  readonly members: Set<Pod>[] = [];
  private readonly random: () => number;
  private readonly templates = new Map<string, Template>();
  version = 1_000_000;

  constructor(
    readonly size: Size,
    seed: number,
  ) {
    this.random = randomFrom(seed);
    for (let i = 0; i < size.services; i++) this.members.push(new Set());
    for (let i = 0; i < size.pods; i++) {
      // A few large workloads, many small ones.
      const workload = Math.floor(this.random() ** 2 * size.services);
      this.add(this.born(workload, podAddress(i), "Running"));
    }
  }

  /** Another pod of that workload, which is not in the cluster yet. */
  born(workload: number, address: string, phase: Pod["phase"]): Pod {
    const set = `${this.workloadName(workload)}-${this.hashOf(workload)}`;
    const kind = this.kindOf(workload);
    const suffix = (++this.version).toString(36).padStart(5, "0");
    const name = `${kind === "Deployment" ? set : this.workloadName(workload)}-${suffix}`;
    const node = nodeName(Math.floor(this.random() * this.size.nodes));
    const namespace = this.namespaceOf(workload);
    return { uid: uuid(this.random), namespace, name, node, address, workload, version: this.version, phase };
  }

  add(pod: Pod): void {
    this.pods.push(pod);
    this.members[pod.workload]!.add(pod);
  }

  namespaceOf(workload: number): string {
    return `team-${workload % NAMESPACES}`;
  }

  workloadName(workload: number): string {
    return `${words[workload % words.length]}-${workload}`;
  }

  private kindOf(workload: number): "Deployment" | "StatefulSet" | "DaemonSet" {
    return workload % 10 === 8 ? "StatefulSet" : workload % 10 === 9 ? "DaemonSet" : "Deployment";
  }

  private hashOf(workload: number): string {
    return (Math.imul(workload + 1, 2654435761) >>> 0).toString(36);
  }

  podText(pod: Pod): string {
    const key = `${pod.workload} ${pod.phase}`;
    let made = this.templates.get(key);
    if (made === undefined) {
      made = template(this.podObject(pod.workload, pod.phase));
      this.templates.set(key, made);
    }
    const host = hostAddress(Number(/\d+/.exec(pod.node)));
    const { name, uid, address, node } = pod;
    return made({ name, uid, address, node, host, version: String(pod.version) });
  }

  private podObject(workload: number, phase: Pod["phase"]): unknown {
    const random = randomFrom(workload);
    const app = this.workloadName(workload);
    const kind = this.kindOf(workload);
    const set = kind === "Deployment" ? `${app}-${this.hashOf(workload)}` : app;
    const running = phase !== "Pending";
    const containers = Array.from({ length: 1 + Math.floor(random() * 3) }, (_, c) => ({
      name: c === 0 ? app : `sidecar-${c}`,
      image: `registry.example.com/${app}/${c}:v1.${workload}.0`,
      ports: [{ name: c === 0 ? "http" : `metrics-${c}`, containerPort: 8080 + c, protocol: "TCP" }],
      env: Array.from({ length: 8 + Math.floor(random() * 14) }, (_, e) => ({
        name: `${words[(workload + e) % words.length]!.toUpperCase()}_SETTING_${e}`,
        value: `http://${words[e % words.length]}.team-${e}.svc.cluster.local:8080/${hex(random, 24)}`,
      })),
      resources: { limits: { cpu: "2", memory: "1Gi" }, requests: { cpu: "100m", memory: "256Mi" } },
      volumeMounts: [
        { name: "config", readOnly: true, mountPath: "/etc/config" },
        { name: "kube-api-access-x7k2p", readOnly: true, mountPath: "/var/run/secrets/kubernetes.io/serviceaccount" },
      ],
      livenessProbe: {
        httpGet: { path: "/healthz", port: 8080 + c, scheme: "HTTP" },
        timeoutSeconds: 1,
        periodSeconds: 10,
        successThreshold: 1,
        failureThreshold: 3,
      },
      terminationMessagePath: "/dev/termination-log",
      terminationMessagePolicy: "File",
      imagePullPolicy: "IfNotPresent",
      securityContext: {
        capabilities: { drop: ["ALL"] },
        readOnlyRootFilesystem: true,
        allowPrivilegeEscalation: false,
      },
    }));
    const conditions = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"].map(
      (type) => ({ type, status: "True", lastProbeTime: null, lastTransitionTime: READY, observedGeneration: 1 }),
    );
    return {
      kind: "Pod",
      apiVersion: "v1",
      metadata: {
        name: mark("name"),
        generateName: `${set}-`,
        namespace: this.namespaceOf(workload),
        uid: mark("uid"),
        resourceVersion: mark("version"),
        creationTimestamp: BORN,
        ...(phase === "Terminating" && { deletionTimestamp: "2026-11-24T10:00:00Z", deletionGracePeriodSeconds: 30 }),
        labels: {
          "app.kubernetes.io/name": app,
          "app.kubernetes.io/instance": app,
          "app.kubernetes.io/version": `1.${workload}.0`,
          "app.kubernetes.io/managed-by": "Helm",
          ...(kind === "Deployment" && { "pod-template-hash": this.hashOf(workload) }),
          ...(kind === "StatefulSet" && { "statefulset.kubernetes.io/pod-name": mark("name") }),
          team: this.namespaceOf(workload),
        },
        annotations: {
          "checksum/config": hex(random, 64),
          "prometheus.io/scrape": "true",
          "prometheus.io/port": "8080",
          note: words.join(" ").repeat(1 + Math.floor(random() * 8)),
        },
        ownerReferences: [
          {
            apiVersion: "apps/v1",
            kind: kind === "Deployment" ? "ReplicaSet" : kind,
            name: set,
            uid: uuid(random),
            controller: true,
            blockOwnerDeletion: true,
          },
        ],
        managedFields: [
          {
            manager: "kube-controller-manager",
            operation: "Update",
            apiVersion: "v1",
            time: BORN,
            fieldsType: "FieldsV1",
            fieldsV1: {
              "f:metadata": {
                "f:annotations": { ".": {} },
                "f:generateName": {},
                "f:labels": { ".": {}, "f:team": {} },
              },
              "f:spec": {
                "f:containers": Object.fromEntries(
                  containers.map(({ name, env }) => [
                    `k:{"name":"${name}"}`,
                    {
                      ".": {},
                      "f:env": Object.fromEntries(
                        env.map((e) => [`k:{"name":"${e.name}"}`, { ".": {}, "f:name": {}, "f:value": {} }]),
                      ),
                      "f:image": {},
                      "f:livenessProbe": { ".": {}, "f:httpGet": { ".": {}, "f:path": {}, "f:port": {} } },
                      "f:resources": { ".": {}, "f:limits": { ".": {}, "f:cpu": {} } },
                      "f:volumeMounts": { ".": {}, 'k:{"mountPath":"/etc/config"}': { ".": {}, "f:name": {} } },
                    },
                  ]),
                ),
                "f:dnsPolicy": {},
                "f:restartPolicy": {},
              },
            },
          },
          {
            manager: "kubelet",
            operation: "Update",
            apiVersion: "v1",
            time: READY,
            fieldsType: "FieldsV1",
            fieldsV1: {
              "f:status": {
                "f:conditions": Object.fromEntries(
                  conditions.map(({ type }) => [`k:{"type":"${type}"}`, { ".": {}, "f:status": {}, "f:type": {} }]),
                ),
                "f:containerStatuses": {},
                "f:hostIP": {},
                "f:podIP": {},
                "f:podIPs": { ".": {}, 'k:{"ip":"10.0.0.1"}': { ".": {}, "f:ip": {} } },
              },
            },
            subresource: "status",
          },
        ],
      },
      spec: {
        volumes: [
          { name: "config", configMap: { name: `${app}-config`, defaultMode: 420 } },
          {
            name: "kube-api-access-x7k2p",
            projected: {
              sources: [
                { serviceAccountToken: { expirationSeconds: 3607, path: "token" } },
                { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
              ],
              defaultMode: 420,
            },
          },
        ],
        containers,
        restartPolicy: "Always",
        terminationGracePeriodSeconds: 30,
        dnsPolicy: "ClusterFirst",
        serviceAccountName: app,
        serviceAccount: app,
        nodeName: running ? mark("node") : undefined,
        securityContext: { runAsUser: 1000, fsGroup: 1000, seccompProfile: { type: "RuntimeDefault" } },
        schedulerName: "default-scheduler",
        tolerations: ["not-ready", "unreachable"].map((what) => ({
          key: `node.kubernetes.io/${what}`,
          operator: "Exists",
          effect: "NoExecute",
          tolerationSeconds: 300,
        })),
        priority: 0,
        enableServiceLinks: true,
        preemptionPolicy: "PreemptLowerPriority",
      },
      status: running
        ? {
            phase: "Running",
            conditions,
            hostIP: mark("host"),
            hostIPs: [{ ip: mark("host") }],
            podIP: mark("address"),
            podIPs: [{ ip: mark("address") }],
            startTime: BORN,
            containerStatuses: containers.map(({ name, image }) => ({
              name,
              state: { running: { startedAt: READY } },
              lastState: {},
              ready: true,
              restartCount: 0,
              image,
              imageID: `registry.example.com/${name}@sha256:${hex(random, 64)}`,
              containerID: `containerd://${hex(random, 64)}`,
              started: true,
              volumeMounts: [
                { name: "config", mountPath: "/etc/config", readOnly: true, recursiveReadOnly: "Disabled" },
              ],
            })),
            qosClass: "Burstable",
          }
        : { phase: "Pending", qosClass: "Burstable" },
    };
  }

  serviceText(i: number): string {
    const name = this.workloadName(i);
    const clusterIP = `10.96.${(i + 1) >> 8}.${(i + 1) & 255}`;
    return JSON.stringify({
      kind: "Service",
      apiVersion: "v1",
      metadata: {
        name,
        namespace: this.namespaceOf(i),
        uid: `service-${i}`,
        resourceVersion: "1000",
        creationTimestamp: BORN,
        labels: { "app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "Helm" },
        managedFields: [
          {
            manager: "helm",
            operation: "Update",
            apiVersion: "v1",
            time: BORN,
            fieldsType: "FieldsV1",
            fieldsV1: { "f:spec": { "f:internalTrafficPolicy": {}, "f:ports": { ".": {} }, "f:selector": {} } },
          },
        ],
      },
      spec: {
        ports: [{ name: "http", protocol: "TCP", port: 80, targetPort: "http" }],
        selector: { "app.kubernetes.io/name": name, "app.kubernetes.io/instance": name },
        clusterIP,
        clusterIPs: [clusterIP],
        type: "ClusterIP",
        sessionAffinity: "None",
        ipFamilies: ["IPv4"],
        ipFamilyPolicy: "SingleStack",
        internalTrafficPolicy: "Cluster",
      },
      status: { loadBalancer: {} },
    });
  }

  nodeText(i: number): string {
    const name = nodeName(i);
    return JSON.stringify({
      kind: "Node",
      apiVersion: "v1",
      metadata: {
        name,
        uid: `node-${i}`,
        resourceVersion: "1000",
        creationTimestamp: BORN,
        labels: {
          "kubernetes.io/hostname": name,
          "topology.kubernetes.io/region": "eu-central-1",
          "topology.kubernetes.io/zone": `eu-central-1${"abc"[i % 3]}`,
        },
      },
      spec: { podCIDR: `10.${64 + (i >> 8)}.${i & 255}.0/24`, podCIDRs: [`10.${64 + (i >> 8)}.${i & 255}.0/24`] },
      status: {
        capacity: { cpu: "16", memory: "64Gi", pods: "110" },
        conditions: ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"].map((type) => ({
          type,
          status: type === "Ready" ? "True" : "False",
          lastHeartbeatTime: READY,
          lastTransitionTime: BORN,
          reason: `Kubelet${type}`,
          message: "kubelet is posting ready status",
        })),
        addresses: [
          { type: "InternalIP", address: hostAddress(i) },
          { type: "Hostname", address: name },
        ],
        nodeInfo: {
          kernelVersion: "6.1.0",
          osImage: "Debian GNU/Linux 12",
          containerRuntimeVersion: "containerd://2.0.0",
        },
        images: Array.from({ length: 50 }, (_, image) => ({
          names: [`registry.example.com/image-${image}@sha256:${"0".repeat(64)}`],
          sizeBytes: 123_456_789,
        })),
      },
    });
  }

  /** A Service's slices, of 100 endpoints each. */
  sliceTexts(workload: number): string[] {
    const ready = [...this.members[workload]!].filter(({ phase }) => phase === "Running");
    const name = this.workloadName(workload);
    return Array.from({ length: Math.max(1, Math.ceil(ready.length / SLICE)) }, (_, i) =>
      JSON.stringify({
        kind: "EndpointSlice",
        apiVersion: "discovery.k8s.io/v1",
        metadata: {
          name: `${name}-${i}`,
          generateName: `${name}-`,
          namespace: this.namespaceOf(workload),
          uid: `slice-${workload}-${i}`,
          resourceVersion: String(++this.version),
          creationTimestamp: BORN,
          labels: {
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            "kubernetes.io/service-name": name,
          },
        },
        addressType: "IPv4",
        endpoints: ready.slice(i * SLICE, (i + 1) * SLICE).map((pod) => ({
          addresses: [pod.address],
          conditions: { ready: true, serving: true, terminating: false },
          targetRef: { kind: "Pod", namespace: pod.namespace, name: pod.name, uid: pod.uid },
          nodeName: pod.node,
          zone: "eu-central-1a",
        })),
        ports: [{ name: "http", protocol: "TCP", port: 8080 }],
      }),
    );
  }
}
