import { describe, expect, test } from "bun:test";
import { Malformed, parse } from "./parse.ts";
import { skim } from "./skim.ts";

const pod = {
  kind: "Pod",
  apiVersion: "v1",
  metadata: {
    name: "web-5d8f-abcde",
    namespace: "shop",
    uid: "0b5c2ad0-5a3e-4c4e-9a54-1df5f0b0f0a1",
    resourceVersion: "42",
    deletionTimestamp: "2026-11-24T10:00:00Z",
    labels: { app: "web", "pod-template-hash": "5d8f", env: 'a "quoted" \\ \u00e9 \u2028' },
    annotations: { note: "\n\t\u0001 {}[],:", "ringside.io/ignore": "true", "kubernetes.io/config.mirror": "m" },
    ownerReferences: [{ kind: "ReplicaSet", name: "web-5d8f", uid: "x", controller: true }],
    managedFields: [{ fieldsV1: { "f:spec": { 'k:{"name":"web"}': { ".": {} } } }, time: null }],
  },
  spec: {
    nodeName: "node-1",
    hostNetwork: false,
    containers: [
      {
        name: "web",
        env: [{ name: "A", value: "\\" }],
        ports: [{ name: "http", containerPort: 8080, hostPort: 80, protocol: "TCP" }],
        livenessProbe: { httpGet: { path: "/", port: "http" }, periodSeconds: 1e1 },
        readinessProbe: { tcpSocket: { port: 8080 }, initialDelaySeconds: -0.5 },
      },
    ],
    initContainers: [{ name: "proxy", restartPolicy: "Always", startupProbe: { grpc: { port: 9000 } } }],
    volumes: [[], {}, [[1, 2], [3]], true, false, null],
  },
  status: {
    phase: "Running",
    podIP: "10.0.0.1",
    podIPs: [{ ip: "10.0.0.1" }, { ip: "fd00::1" }],
    startTime: "2026-11-24T09:00:00Z",
    conditions: [
      { type: "PodReadyToStartContainers", status: "True", lastTransitionTime: "2026-11-24T09:00:01Z", message: "" },
    ],
    containerStatuses: [{ name: "web", state: { terminated: { exitCode: 0, finishedAt: "2026-11-24T10:00:01Z" } } }],
  },
};
const service = {
  kind: "Service",
  apiVersion: "v1",
  metadata: { name: "web", namespace: "shop", resourceVersion: "43", managedFields: [] },
  spec: {
    clusterIP: "10.96.0.1",
    clusterIPs: ["10.96.0.1"],
    externalIPs: ["192.0.2.1"],
    selector: { app: "web" },
    ports: [{ name: "http", port: 80, targetPort: "http", nodePort: 30080, protocol: "TCP" }],
    sessionAffinity: "None",
  },
  status: { loadBalancer: { ingress: [{ ip: "192.0.2.2" }] } },
};
const node = {
  kind: "Node",
  apiVersion: "v1",
  metadata: { name: "node-1", resourceVersion: "44" },
  spec: { podCIDR: "10.0.0.0/24", podCIDRs: ["10.0.0.0/24"] },
  status: {
    addresses: [{ type: "InternalIP", address: "172.16.0.1" }],
    images: [{ names: ["a", "b"], sizeBytes: 1e9 }],
  },
};
const slice = {
  kind: "EndpointSlice",
  apiVersion: "discovery.k8s.io/v1",
  metadata: {
    name: "web-1",
    namespace: "shop",
    resourceVersion: "45",
    labels: { "kubernetes.io/service-name": "web" },
  },
  addressType: "IPv4",
  endpoints: [
    { addresses: ["10.0.0.1"], conditions: { ready: true }, targetRef: { kind: "Pod", name: "web" } },
    { addresses: ["10.0.0.2", "10.0.0.3"], zone: "a" },
  ],
  ports: [{ name: "http", port: 8080, protocol: "TCP" }],
};
const bookmark = {
  kind: "Pod",
  apiVersion: "v1",
  metadata: { resourceVersion: "46", annotations: { "k8s.io/initial-events-end": "true" }, creationTimestamp: null },
};
const status = { kind: "Status", apiVersion: "v1", code: 429, message: "later", details: { retryAfterSeconds: 3 } };
const lines = [
  ...[pod, service, node, slice].map((object) => JSON.stringify({ type: "MODIFIED", object })),
  JSON.stringify({ type: "BOOKMARK", object: bookmark }),
  JSON.stringify({ type: "ERROR", object: status }),
  JSON.stringify({ type: "ADDED", object: service }, null, 2),
];

const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const skimmed = (text: string | Uint8Array): string =>
  decode(skim(typeof text === "string" ? new TextEncoder().encode(text) : text.slice()));

type Fields = Record<string, unknown> | undefined | null;

/** All that is read of an event: as an object, or what is said of one that is malformed. */
function read(text: string): unknown {
  let event: Fields;
  try {
    event = JSON.parse(text);
  } catch (error) {
    return (error as Error).message;
  }
  const object = event?.object as Fields;
  const metadata = object?.metadata as Fields;
  const end = (metadata?.annotations as Fields)?.["k8s.io/initial-events-end"];
  const rest = [event?.type, metadata?.resourceVersion, end, object?.code, object?.details];
  try {
    return [...rest, parse(object)];
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return [...rest, error.message];
  }
}

describe("skimming", () => {
  test("leaves of each kind of event what is read of it", () => {
    for (const line of lines) expect(read(skimmed(line))).toEqual(read(line));
    expect(skimmed(lines[0]!)).not.toMatch(/managedFields|volumes|"note"|"env":\[/);
    expect(JSON.parse(skimmed(lines[3]!)).object.endpoints).toEqual([
      { addresses: ["10.0.0.1"] },
      { addresses: ["10.0.0.2", "10.0.0.3"] },
    ]);
    expect(JSON.parse(skimmed(lines[2]!)).object.status).toEqual({ addresses: node.status.addresses });
  });

  test("leaves alone what is no JSON, and what nobody writes", () => {
    const deep = `{"type":"ADDED","x":${"[".repeat(200)}${"]".repeat(200)}}`;
    for (const text of [
      ...["", "{", '{"x":1', '{"x":1}}', '{"x":01}', '{"x":1.}', '{"x":-}', '{"x":1e}', '{"x":tru}', '{"x":"\\x"}'],
      ...[
        '{"x":"\\u12g4"}',
        '{"x":"a\tb"}',
        '{"x":[1,]}',
        '{"x":1,}',
        "{,}",
        '{"x" 1}',
        "{x:1}",
        '{"x":"a',
        "\u{feff}{}",
      ],
      ...['{"x":"\\', '{"x":"\\u1', deep, '{"\\u0074ype":"ADDED"}'],
    ]) {
      expect(skimmed(text)).toBe(decode(new TextEncoder().encode(text)));
    }
  });

  test("changes nothing that is read of 20,000 mutated events", () => {
    let state = 7;
    const random = (below: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return (state >> 8) % below;
    };
    const alphabet = new TextEncoder().encode('{}[]",:\\ \n\t01-.eEtfnu/a');
    const texts = lines.map((line) => new TextEncoder().encode(line));
    let understood = 0;
    for (let round = 0; round < 20_000; round++) {
      const bytes = texts[random(texts.length)]!.slice();
      for (let changes = 1 + random(2); changes > 0; changes--) {
        const [at, length] = [random(bytes.length), random(3) === 0 ? random(40) : 1];
        if (random(4) === 0) bytes.copyWithin(at, random(bytes.length), bytes.length);
        else if (random(8) === 0) bytes.fill(0xc3, at, at + 1);
        else for (let i = at; i < at + length; i++) bytes[i] = length > 1 ? 32 : alphabet[random(alphabet.length)]!;
      }
      const whole = read(decode(bytes));
      expect(read(skimmed(bytes))).toEqual(whole);
      if (Array.isArray(whole)) understood++;
    }
    expect(understood).toBeGreaterThan(2000);
  });
});
