import { describe, expect, test } from "bun:test";
import { Malformed, type NodeRow, parse } from "./parse.ts";

const pod = (more: { metadata?: object; spec?: object; status?: object }) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "web-1", namespace: "shop", uid: "u1", ...more.metadata },
  spec: { containers: [{ name: "web" }], nodeName: "node-a", ...more.spec },
  status: { phase: "Running", ...more.status },
});

const owned = (kind: string, name: string, labels = {}) =>
  pod({ metadata: { labels, ownerReferences: [{ apiVersion: "v1", controller: true, kind, name, uid: "o" }] } });

test("a pod as kubectl prints it", () => {
  const object = pod({
    metadata: {
      creationTimestamp: "2026-01-31T11:59:57Z",
      labels: { app: "web", "pod-template-hash": "5f6d8b9c7d" },
      ownerReferences: [
        {
          apiVersion: "apps/v1",
          blockOwnerDeletion: true,
          controller: true,
          kind: "ReplicaSet",
          name: "web-5f6d8b9c7d",
        },
      ],
    },
    spec: {
      containers: [
        {
          name: "web",
          ports: [
            { containerPort: 8080, name: "http", protocol: "TCP" },
            { containerPort: 8125, name: "statsd", protocol: "UDP" },
            { containerPort: 9000, protocol: "TCP" },
          ],
        },
      ],
      initContainers: [
        { name: "migrate", ports: [{ containerPort: 1, name: "once" }] },
        { name: "proxy", restartPolicy: "Always", ports: [{ containerPort: 15001, name: "proxy" }] },
      ],
    },
    status: {
      conditions: [
        {
          lastProbeTime: null,
          lastTransitionTime: "2026-01-31T12:00:01Z",
          status: "True",
          type: "PodReadyToStartContainers",
        },
        { lastProbeTime: null, lastTransitionTime: "2026-01-31T12:00:02Z", status: "True", type: "Ready" },
      ],
      containerStatuses: [{ name: "web", state: { running: { startedAt: "2026-01-31T12:00:02Z" } } }],
      podIP: "10.244.1.7",
      podIPs: [{ ip: "10.244.1.7" }, { ip: "fd00:0:0:1::7" }],
      startTime: "2026-01-31T11:59:58Z",
    },
  });
  expect(parse(object)).toEqual({
    type: "pod",
    key: "u1",
    namespace: "shop",
    name: "web-1",
    workload: "web",
    kind: "Deployment",
    node: "node-a",
    hostNetwork: false,
    addresses: ["10.244.1.7", "fd00:0:0:1::7"],
    labels: ["app=web", "pod-template-hash=5f6d8b9c7d"],
    ports: [
      { name: "http", port: 8080 },
      { name: "proxy", port: 15001 },
    ],
    finished: false,
    startedAt: Date.UTC(2026, 0, 31, 11, 59, 58),
    readyAt: Date.UTC(2026, 0, 31, 12, 0, 1),
  });
});

describe("the workload", () => {
  const cases: [string, object, string, string][] = [
    [
      "a Deployment's ReplicaSet",
      owned("ReplicaSet", "web-abc12", { "pod-template-hash": "abc12" }),
      "web",
      "Deployment",
    ],
    ["a ReplicaSet of its own", owned("ReplicaSet", "web-abc12"), "web-abc12", "ReplicaSet"],
    ["another ReplicaSet's hash", owned("ReplicaSet", "web", { "pod-template-hash": "abc" }), "web", "ReplicaSet"],
    ["a hash and nothing else", owned("ReplicaSet", "-abc", { "pod-template-hash": "abc" }), "-abc", "ReplicaSet"],
    ["a CronJob's Job", owned("Job", "backup-28965120"), "backup", "CronJob"],
    ["a Job of its own", owned("Job", "migrate-2024"), "migrate-2024", "Job"],
    ["a StatefulSet", owned("StatefulSet", "db"), "db", "StatefulSet"],
    ["a DaemonSet", owned("DaemonSet", "logs"), "logs", "DaemonSet"],
    ["any other kind", owned("Workflow", "nightly"), "nightly", "Workflow"],
    ["a static pod", owned("Node", "node-a"), "web-1", "Pod"],
    ["a bare pod", pod({}), "web-1", "Pod"],
    [
      "an owner that does not control",
      pod({ metadata: { ownerReferences: [{ kind: "Job", name: "j" }] } }),
      "web-1",
      "Pod",
    ],
  ];
  test.each(cases)("%s", (_, object, workload, kind) => {
    expect(parse(object)).toMatchObject({ workload, kind });
  });
});

describe("a pod's network is ready", () => {
  const ready = { type: "PodReadyToStartContainers", status: "True", lastTransitionTime: "2026-01-31T12:00:05Z" };
  const readyAt = (second: number) => ({ readyAt: Date.UTC(2026, 0, 31, 12, 0, second) });
  const state = (state: object) => ({ state });
  test.each([
    ["when the kubelet says so", {}, 5],
    [
      "before a container that runs",
      { containerStatuses: [state({ running: { startedAt: "2026-01-31T12:00:04Z" } })] },
      4,
    ],
    [
      "before the first one, be it over before the kubelet has noticed",
      {
        initContainerStatuses: [state({ terminated: { startedAt: "2026-01-31T12:00:02Z" } })],
        containerStatuses: [
          state({ waiting: { reason: "PodInitializing" } }),
          state({ terminated: { startedAt: "2026-01-31T12:00:03Z" } }),
        ],
      },
      2,
    ],
    [
      "not when a container started that was started again",
      { containerStatuses: [state({ running: { startedAt: "2026-01-31T12:30:00Z" } })] },
      5,
    ],
  ])("%s", (_, status, second) => {
    expect(parse(pod({ status: { conditions: [ready], ...status } }))).toMatchObject(readyAt(second));
  });
});

describe("a pod's end", () => {
  const terminated = (finishedAt: string) => ({ state: { terminated: { exitCode: 0, finishedAt } } });
  test("is that of its last container, to the end of the second", () => {
    const object = pod({
      status: {
        phase: "Succeeded",
        podIP: "10.0.0.1",
        containerStatuses: [terminated("2026-01-31T12:00:05Z"), terminated("2026-01-31T12:00:03Z")],
      },
    });
    expect(parse(object)).toMatchObject({ finished: true, endedAt: Date.UTC(2026, 0, 31, 12, 0, 6) });
  });
  test("is its deletion's while a container runs", () => {
    const object = pod({
      metadata: { deletionTimestamp: "2026-01-31T12:00:30Z" },
      status: { containerStatuses: [terminated("2026-01-31T12:00:05Z"), { state: { running: {} } }] },
    });
    expect(parse(object)).toMatchObject({ finished: false, endedAt: Date.UTC(2026, 0, 31, 12, 0, 31) });
  });
  test("is not known between two starts of its only container", () => {
    expect(parse(pod({ status: { containerStatuses: [terminated("2026-01-31T12:00:05Z")] } }))).not.toHaveProperty(
      "endedAt",
    );
  });
});

test("a Service, and one without an address", () => {
  const service = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "web", namespace: "shop", uid: "s1" },
    spec: {
      clusterIP: "10.96.0.5",
      clusterIPs: ["10.96.0.5", "fd00:10::5"],
      externalIPs: ["192.0.2.1"],
      ports: [
        { name: "http", port: 80, protocol: "TCP", targetPort: "http" },
        { name: "plain", port: 81 },
        { name: "dns", port: 53, protocol: "UDP", targetPort: 5353 },
      ],
      selector: { app: "web" },
      type: "LoadBalancer",
    },
    status: { loadBalancer: { ingress: [{ ip: "198.51.100.1" }, { hostname: "lb.example" }] } },
  };
  expect(parse(service)).toEqual({
    type: "service",
    key: "shop/web",
    namespace: "shop",
    name: "web",
    addresses: ["10.96.0.5", "fd00:10::5", "192.0.2.1", "198.51.100.1"],
    selector: ["app=web"],
    ports: [
      { name: "http", port: 80, target: "http" },
      { name: "plain", port: 81, target: 81 },
    ],
  });
  expect(parse({ ...service, spec: { clusterIP: "None", clusterIPs: ["None"] }, status: {} })).toMatchObject({
    addresses: [],
    selector: [],
    ports: [],
  });
});

test("a Node's addresses that are IPs", () => {
  const addresses = [
    { address: "172.18.0.2", type: "InternalIP" },
    { address: "::ffff:172.18.0.3", type: "InternalIP" },
    { address: "node-a", type: "Hostname" },
  ];
  const node = { apiVersion: "v1", kind: "Node", metadata: { name: "node-a" }, status: { addresses } };
  const row = { type: "node" as const, key: "node-a", name: "node-a", addresses: ["172.18.0.2", "172.18.0.3"] };
  expect(parse(node)).toEqual({ ...row, ranges: [] });
  const spec = { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24", "fd00:10:244:1::/64"] };
  expect(parse({ ...node, spec })).toEqual({ ...row, ranges: ["10.244.1.0/24", "fd00:10:244:1::/64"] });
  for (const [labels, zone] of [
    [{ "topology.kubernetes.io/zone": "eu-1a", "failure-domain.beta.kubernetes.io/zone": "old" }, "eu-1a"],
    [{ "failure-domain.beta.kubernetes.io/zone": "eu-1a" }, "eu-1a"],
    [{ "topology.kubernetes.io/zone": "", "topology.kubernetes.io/region": "eu" }, undefined],
  ] as const) {
    const labelled = parse({ ...node, metadata: { ...node.metadata, labels } }) as NodeRow;
    expect(labelled.zone).toBe(zone);
  }
  expect(() => parse({ ...node, spec: { podCIDR: "10.244.1.0" } })).toThrow("spec.podCIDRs must be 10.0.0.0/8, say");
});

test("a pod's ports on its node, its probes, and what it asks for", () => {
  const containers = [
    {
      ports: [
        { containerPort: 8080, hostPort: 80, name: "http" },
        { containerPort: 9090, hostPort: 0 },
        { containerPort: 53, hostPort: 53, protocol: "UDP" },
      ],
      livenessProbe: { httpGet: { path: "/", port: "http" } },
      readinessProbe: { tcpSocket: { port: 9090 } },
      startupProbe: { exec: { command: ["true"] } },
    },
  ];
  const initContainers = [
    { restartPolicy: "Always", startupProbe: { grpc: { port: 7070 } } },
    { startupProbe: { grpc: { port: 7071 } } },
  ];
  const annotations = { "ringside.io/ignore": "true", "kubernetes.io/config.mirror": "0".repeat(32) };
  const metadata = { name: "web-1", namespace: "shop", uid: "u1", annotations };
  const pod = { apiVersion: "v1", kind: "Pod", metadata, spec: { containers, initContainers } };
  expect(parse(pod)).toMatchObject({
    probes: [8080, 9090, 7070],
    hostPorts: [{ port: 80, target: 8080 }],
    ignored: true,
    cgroup: "0".repeat(32),
  });
  // On the host's network all that it declares is its node's.
  expect(parse({ ...pod, spec: { containers, hostNetwork: true } })).toMatchObject({
    hostPorts: [
      { port: 8080, target: 8080 },
      { port: 9090, target: 9090 },
    ],
  });
  const plain = parse({ ...pod, metadata: { name: "a", annotations: { "ringside.io/ignore": "false" } }, spec: {} });
  expect(Object.keys(plain ?? {})).not.toContain("ignored");
  expect(Object.keys(plain ?? {})).not.toContain("probes");
});

test("a port without a name is kept where it could be taken for an ephemeral one", () => {
  const ports = [
    { containerPort: 9090 },
    { containerPort: 32_767 },
    { containerPort: 32_768 },
    { containerPort: 60_999 },
  ];
  const spec = { containers: [{ ports: [...ports, { containerPort: 61_000 }] }] };
  expect(parse({ apiVersion: "v1", kind: "Pod", metadata: { name: "a" }, spec })).toMatchObject({
    ports: [
      { name: "", port: 32_768 },
      { name: "", port: 60_999 },
    ],
  });
});

test("an EndpointSlice", () => {
  const slice = {
    addressType: "IPv4",
    apiVersion: "discovery.k8s.io/v1",
    endpoints: [{ addresses: ["10.244.1.7"], conditions: { ready: true } }, { addresses: ["10.244.1.8"] }],
    kind: "EndpointSlice",
    metadata: { labels: { "kubernetes.io/service-name": "web" }, name: "web-x1", namespace: "shop" },
    ports: [
      { name: "http", port: 8080, protocol: "TCP" },
      { name: "any", port: null },
    ],
  };
  expect(parse(slice)).toEqual({
    type: "slice",
    key: "shop/web-x1",
    namespace: "shop",
    service: "web",
    addresses: ["10.244.1.7", "10.244.1.8"],
    ports: [{ name: "http", port: 8080 }],
  });
  expect(parse({ ...slice, addressType: "FQDN", endpoints: [{ addresses: ["a.example"] }] })).toMatchObject({
    addresses: [],
  });
});

test("an item takes its kind from its list", () => {
  const { apiVersion, kind, ...item } = pod({});
  expect(parse(item, { apiVersion: "v1", kind: "PodList" })).toMatchObject({ type: "pod", name: "web-1" });
});

test("other kinds, and other APIs' Services, say nothing about addresses", () => {
  expect(parse({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "x" }, data: 5 })).toBeUndefined();
  expect(parse({ apiVersion: "serving.knative.dev/v1", kind: "Service", metadata: { name: "x" } })).toBeUndefined();
});

describe("refused", () => {
  const cases: [string, unknown, string][] = [
    ["no object", "pod", 'the item must be an object, and is "pod"'],
    ["null", null, "the item must be an object, and is null"],
    ["no kind", { metadata: {} }, "kind must be a text, and neither the item nor its list has one before it"],
    ["no metadata", { kind: "Pod" }, "metadata is missing, and must be an object"],
    ["an array for metadata", { kind: "Pod", metadata: [] }, "metadata must be an object, and is a list"],
    ["no name", { kind: "Pod", metadata: {} }, "name is missing, and must be a text"],
    ["an empty name", pod({ metadata: { name: "" } }), 'name must be a text that is not empty, and is ""'],
    ["a number for a name", pod({ metadata: { name: 5 } }), "name must be a text, and is 5"],
    ["a huge name", pod({ metadata: { name: "x".repeat(318) } }), "name has 318 characters, and 317 are the most"],
    ["a forged line", pod({ metadata: { name: "a\nb" } }), "name has a character that is not printable ASCII"],
    [
      "a terminal's escape",
      pod({ spec: { nodeName: "\x1b[2J" } }),
      "nodeName has a character that is not printable ASCII",
    ],
    ["a boolean label", pod({ metadata: { labels: { a: true } } }), "metadata.labels.a must be a text, and is true"],
    ["no address", pod({ status: { podIP: "999.1.1.1" } }), 'status.podIP must be an IP address, and is "999.1.1.1"'],
    [
      "an octal address",
      pod({ status: { podIPs: [{ ip: "010.0.0.1" }] } }),
      'status.podIPs must be an IP address, and is "010.0.0.1"',
    ],
    ["a zone", pod({ status: { podIP: "fe80::1%eth0" } }), 'status.podIP must be an IP address, and is "fe80::1%eth0"'],
    ["a text for a list", pod({ status: { podIPs: "10.0.0.1" } }), 'podIPs must be a list, and is "10.0.0.1"'],
    ["a text for true", pod({ spec: { hostNetwork: "true" } }), 'hostNetwork must be true or false, and is "true"'],
    [
      "no time",
      pod({ status: { startTime: "yesterday" } }),
      'startTime must be a time like 2026-01-31T12:00:00Z, and is "yesterday"',
    ],
    [
      "no month",
      pod({ status: { startTime: "2026-13-01T00:00:00Z" } }),
      'startTime must be a time like 2026-01-31T12:00:00Z, and is "2026-13-01T00:00:00Z"',
    ],
    [
      "a port out of range",
      pod({ spec: { containers: [{ ports: [{ containerPort: 65536 }] }] } }),
      "containerPort must be a port from 1 to 65535, and is 65536",
    ],
    [
      "a list without end",
      pod({ spec: { containers: Array(10_001).fill({}) } }),
      "containers has 10001 entries, and 10000 are the most",
    ],
  ];
  test.each(cases)("%s", (_, object, message) => {
    expect(() => parse(object)).toThrow(new Malformed(message));
  });

  test("a __proto__ that would lend fields", () => {
    const object = JSON.parse('{"kind": "Pod", "__proto__": {"metadata": {"name": "ghost"}}}');
    expect(() => parse(object)).toThrow(Malformed);
    const labels = JSON.parse('{"__proto__": "x", "constructor": "y"}');
    expect(parse(pod({ metadata: { labels } }))).toMatchObject({ labels: ["__proto__=x", "constructor=y"] });
  });
});
