import { canonical, rangeOf } from "./address.ts";

/**
 * What is kept of a Kubernetes object: just what `resolve.ts` needs. Addresses are canonical (`address.ts`), labels
 * and selectors are "key=value" texts, times are wall clock in milliseconds since 1970 (Kubernetes cuts them to seconds).
 * `key` identifies the object among those of its type: a pod's uid, else "namespace/name".
 */
export type Row = PodRow | ServiceRow | NodeRow | EndpointSliceRow;

export interface PodRow {
  type: "pod";
  key: string;
  namespace: string;
  name: string;
  /** What created it, for people: the Deployment, the CronJob, ...; a bare pod is its own workload. */
  workload: string;
  /** Of the workload: Deployment, CronJob, StatefulSet, DaemonSet, Pod, ... */
  kind: string;
  node: string;
  hostNetwork: boolean;
  addresses: string[];
  labels: string[];
  /** The TCP ports of its containers that have a name, or a number that nobody would take for declared. */
  ports: NamedPort[];
  /** The ports that the kubelet probes. */
  probes?: number[];
  /** Ports of its node that are its own: the container's behind each. On the host's network, all that it declares. */
  hostPorts?: { port: number; target: number }[];
  /** It asks not to be counted. */
  ignored?: true;
  /** By what the kubelet names its cgroup, where that is not `key`: a static pod's uid is not its mirror's. */
  cgroup?: string;
  /** Phase Succeeded or Failed: it keeps its addresses in the API, and holds none. */
  finished: boolean;
  /** When the kubelet had taken it on: its addresses are its own from some later moment on. */
  startedAt?: number;
  /** When its sandbox had its network, at the latest: its addresses are its own. */
  readyAt?: number;
  /** When its last container had ended, else when it was to be gone: the end of the second that Kubernetes names. */
  endedAt?: number;
}

export interface ServiceRow {
  type: "service";
  key: string;
  namespace: string;
  name: string;
  /** Cluster, external and load balancer addresses; none for a headless Service. */
  addresses: string[];
  /** Empty: it selects no pods. */
  selector: string[];
  /** Its TCP ports, each with the number or the name of the container's port behind it. */
  ports: { name: string; port: number; target: number | string; nodePort?: number }[];
}

export interface NodeRow {
  type: "node";
  key: string;
  name: string;
  addresses: string[];
  /** Its pods' addresses are of these: "10.244.1.0/24". */
  ranges: string[];
  /** Of its provider; names of zones are unique in a cluster. */
  zone?: string;
}

export interface EndpointSliceRow {
  type: "slice";
  key: string;
  namespace: string;
  /** The name of its Service. */
  service: string;
  addresses: string[];
  ports: NamedPort[];
}

export interface NamedPort {
  name: string;
  port: number;
}

/** An object that is not what its kind says; the message names the field, what was expected and what is there. */
export class Malformed extends Error {}

/** The longest text that Kubernetes allows where we read one: a label's key, "prefix/name". */
const LONGEST = 253 + 1 + 63;
/** Where Linux takes a port from that nobody chose: as wasm/settle.ts has it. */
export const isEphemeral = (port: number): boolean => port >= 32768 && port <= 60999;

/** Far above what Kubernetes allows of anything that we read (an EndpointSlice has 1,000 endpoints at most). */
const MOST = 10_000;

/** On a pod: "true" leaves its connections out. */
const IGNORE = "ringside.io/ignore";
/** A node's zone, and as it was called before Kubernetes 1.17. */
const ZONE = "topology.kubernetes.io/zone";
const OLD_ZONE = "failure-domain.beta.kubernetes.io/zone";
/** What the kubelet calls a static pod, on the mirror of it that the API server has. */
const MIRROR = "kubernetes.io/config.mirror";

/** How a kubelet probes a container, and which ways it goes that have a port. */
const PROBES = ["livenessProbe", "readinessProbe", "startupProbe"];
const WAYS = ["httpGet", "tcpSocket", "grpc"];

type Fields = Record<string, unknown>;
/** Of what is absent. */
const NONE: Fields = {};

/**
 * One Kubernetes object of any kind to its row; undefined for a kind that says nothing about addresses.
 *
 * @param object as the API server or kubectl gives it, and never trusted
 * @param list   the list it came in, whose items need not repeat their kind
 * @throws {Malformed} where a field that we need has another type, or a value that Kubernetes forbids
 */
export function parse(object: unknown, list?: { apiVersion: unknown; kind: unknown }): Row | undefined {
  const item = fields(object, "the item");
  const kind = text(item, "kind", "") || text(list ?? {}, "kind", "").replace(/List$/, "");
  const apiVersion = text(item, "apiVersion", "") || text(list ?? {}, "apiVersion", "");
  if (kind === "") throw new Malformed("kind must be a text, and neither the item nor its list has one before it");
  const api = kind === "EndpointSlice" ? "discovery.k8s.io/" : "v1";
  // Other APIs have a Service, too (Knative).
  if (apiVersion !== "" && !apiVersion.startsWith(api)) return undefined;
  switch (kind) {
    case "Pod":
      return podRow(item);
    case "Service":
      return serviceRow(item);
    case "Node":
      return nodeRow(item);
    case "EndpointSlice":
      return endpointSliceRow(item);
    default:
      return undefined;
  }
}

/** "namespace/name" of an item for an error message, as far as it has them. */
export function nameOf(object: unknown): string {
  try {
    const { namespace, name } = identity(fields(object, "the item"));
    return namespace === "" ? name : `${namespace}/${name}`;
  } catch {
    return "without a name";
  }
}

/** The `key` that the object's row has or would have; undefined where the object does not tell it. */
export function keyOf(type: Row["type"], object: unknown): string | undefined {
  try {
    const { metadata, namespace, name } = identity(fields(object, "the object"));
    const uid = type === "pod" ? text(metadata, "uid", "") : "";
    return uid || (type === "node" ? name : `${namespace}/${name}`);
  } catch (error) {
    if (error instanceof Malformed) return undefined;
    throw error;
  }
}

function podRow(item: Fields): PodRow {
  const { metadata, namespace, name } = identity(item);
  const spec = child(item, "spec");
  const status = child(item, "status");
  const labels = pairs(metadata, "labels", "metadata.");
  const { workload, kind } = workloadOf(name, metadata, labels);
  const phase = text(status, "phase", "");
  const finished = phase === "Succeeded" || phase === "Failed";
  const containers = containersOf(spec);
  const row: PodRow = {
    type: "pod",
    key: text(metadata, "uid", "") || `${namespace}/${name}`,
    namespace,
    name,
    workload,
    kind,
    node: text(spec, "nodeName", ""),
    hostNetwork: flag(spec, "hostNetwork"),
    addresses: unique([
      ...list(status, "podIPs").map((ip) => address(text(fields(ip, "podIPs"), "ip"), "status.podIPs")),
      ...optional(text(status, "podIP", "")).map((ip) => address(ip, "status.podIP")),
    ]),
    labels,
    ports: containerPorts(containers),
    finished,
  };
  const annotations = child(metadata, "annotations");
  const probes = unique(containers.flatMap(probedPorts));
  const hostPorts = containers.flatMap((container) => portsOnHost(container, row.hostNetwork));
  if (probes.length > 0) row.probes = probes;
  if (hostPorts.length > 0) row.hostPorts = hostPorts;
  if (text(annotations, IGNORE, "") === "true") row.ignored = true;
  if (text(annotations, MIRROR, "") !== "") row.cgroup = text(annotations, MIRROR);
  const ready = list(status, "conditions")
    .map((condition) => fields(condition, "status.conditions"))
    .find((c) => c.type === "PodReadyToStartContainers" && c.status === "True");
  const startedAt = time(status, "startTime");
  const readyAt = ready && earliest(time(ready, "lastTransitionTime"), firstStart(status));
  const deletionAt = time(metadata, "deletionTimestamp");
  // A container of a pod that stays may be terminated between two of its starts.
  const endedAt = (finished || deletionAt !== undefined ? lastFinish(status) : undefined) ?? deletionAt;
  if (startedAt !== undefined) row.startedAt = startedAt;
  if (readyAt !== undefined) row.readyAt = readyAt;
  if (endedAt !== undefined) row.endedAt = endedAt + 1000;
  return row;
}

/** Without reading ReplicaSets and Jobs: both carry their maker's name in their own. */
function workloadOf(pod: string, metadata: Fields, labels: string[]): { workload: string; kind: string } {
  const owner = list(metadata, "ownerReferences")
    .map((reference) => fields(reference, "metadata.ownerReferences"))
    .find((reference) => reference.controller === true);
  // A static pod's owner is its node, which is not what it does.
  if (owner === undefined || owner.kind === "Node") return { workload: pod, kind: "Pod" };
  const kind = text(owner, "kind");
  const name = text(owner, "name");
  if (kind === "ReplicaSet") {
    const suffix = labels.find((label) => label.startsWith("pod-template-hash="))?.replace("pod-template-hash=", "-");
    if (suffix !== undefined && suffix !== "-" && name.endsWith(suffix) && name !== suffix)
      return { workload: name.slice(0, -suffix.length), kind: "Deployment" };
  }
  // The CronJob controller appends the scheduled time in minutes since 1970.
  const scheduled = kind === "Job" ? /^(.+)-\d{8,}$/.exec(name)?.[1] : undefined;
  if (scheduled !== undefined) return { workload: scheduled, kind: "CronJob" };
  return { workload: name, kind };
}

/** Those that run side by side: an init container that restarts is a sidecar. */
function containersOf(spec: Fields): Fields[] {
  const sidecars = list(spec, "initContainers")
    .map((c) => fields(c, "spec.initContainers"))
    .filter((c) => c.restartPolicy === "Always");
  return [...list(spec, "containers").map((c) => fields(c, "spec.containers")), ...sidecars];
}

function portsOf(container: Fields): Fields[] {
  return tcp(list(container, "ports"), "spec.containers.ports");
}

function containerPorts(containers: Fields[]): NamedPort[] {
  return containers
    .flatMap(portsOf)
    .map((port) => ({ name: text(port, "name", ""), port: portNumber(port, "containerPort") }))
    .filter((port) => port.name !== "" || isEphemeral(port.port));
}

function portsOnHost(container: Fields, hostNetwork: boolean): { port: number; target: number }[] {
  return portsOf(container).flatMap((port) => {
    const target = portNumber(port, "containerPort");
    if (hostNetwork) return [{ port: target, target }];
    const declared = port.hostPort !== undefined && port.hostPort !== null && port.hostPort !== 0;
    return declared ? [{ port: portNumber(port, "hostPort"), target }] : [];
  });
}

function probedPorts(container: Fields): number[] {
  const ports: number[] = [];
  for (const field of PROBES) {
    const probe = child(container, field);
    for (const way of WAYS) {
      const action = child(probe, way);
      const { port } = action;
      if (typeof port === "string") {
        const named = portsOf(container).find(({ name }) => name === port);
        if (named !== undefined) ports.push(portNumber(named, "containerPort"));
      } else if (port !== undefined && port !== null) {
        ports.push(portNumber(action, "port"));
      }
    }
  }
  return ports;
}

/**
 * When the first container started that is still told of. The condition says when the kubelet noticed, which is after
 * that: a pod of a second may be over by then.
 */
function firstStart(status: Fields): number | undefined {
  const states = [...list(status, "initContainerStatuses"), ...list(status, "containerStatuses")].map((entry) =>
    child(fields(entry, "status.containerStatuses"), "state"),
  );
  return states
    .flatMap((state) => [time(child(state, "running"), "startedAt"), time(child(state, "terminated"), "startedAt")])
    .reduce(earliest, undefined);
}

const earliest = (first: number | undefined, second: number | undefined): number | undefined =>
  first === undefined || (second !== undefined && second < first) ? second : first;

/** When the last of the containers ended, if all have. */
function lastFinish(status: Fields): number | undefined {
  const ends = list(status, "containerStatuses").map((entry) =>
    time(child(child(fields(entry, "status.containerStatuses"), "state"), "terminated"), "finishedAt"),
  );
  return ends.length > 0 && ends.every((end) => end !== undefined) ? Math.max(...ends) : undefined;
}

function serviceRow(item: Fields): ServiceRow {
  const { namespace, name } = identity(item);
  const spec = child(item, "spec");
  const ingress = list(child(child(item, "status"), "loadBalancer"), "ingress");
  const cluster = [text(spec, "clusterIP", ""), ...texts(spec, "clusterIPs")].filter(
    (ip) => ip !== "" && ip !== "None",
  );
  return {
    type: "service",
    key: `${namespace}/${name}`,
    namespace,
    name,
    addresses: unique([
      ...cluster.map((ip) => address(ip, "spec.clusterIP")),
      ...texts(spec, "externalIPs").map((ip) => address(ip, "spec.externalIPs")),
      ...ingress
        .flatMap((point) => optional(text(fields(point, "status.loadBalancer.ingress"), "ip", "")))
        .map((ip) => address(ip, "status.loadBalancer.ingress")),
    ]),
    selector: pairs(spec, "selector", "spec."),
    ports: tcp(list(spec, "ports"), "spec.ports").map((port) => ({
      name: text(port, "name", ""),
      port: portNumber(port, "port"),
      target: target(port),
      ...(port.nodePort ? { nodePort: portNumber(port, "nodePort") } : {}),
    })),
  };
}

function nodeRow(item: Fields): NodeRow {
  const { metadata, name } = identity(item);
  const addresses = list(child(item, "status"), "addresses")
    .map((entry) => canonical(text(fields(entry, "status.addresses"), "address")))
    .filter((ip) => ip !== undefined); // its host names
  const spec = child(item, "spec");
  const ranges = unique([...optional(text(spec, "podCIDR", "")), ...texts(spec, "podCIDRs")]);
  for (const range of ranges) if (rangeOf(range) === undefined) throw wrong("spec.podCIDRs", "10.0.0.0/8, say", range);
  const labels = child(metadata, "labels");
  const zone = text(labels, ZONE, "") || text(labels, OLD_ZONE, "");
  return { type: "node", key: name, name, addresses: unique(addresses), ranges, ...(zone !== "" && { zone }) };
}

function endpointSliceRow(item: Fields): EndpointSliceRow {
  const { metadata, namespace, name } = identity(item);
  const label = pairs(metadata, "labels", "metadata.").find((l) => l.startsWith("kubernetes.io/service-name="));
  const names = text(item, "addressType", "") === "FQDN";
  return {
    type: "slice",
    key: `${namespace}/${name}`,
    namespace,
    service: label?.slice("kubernetes.io/service-name=".length) ?? "",
    addresses: names
      ? []
      : list(item, "endpoints")
          .flatMap((endpoint) => texts(fields(endpoint, "endpoints"), "addresses"))
          .map((ip) => address(ip, "endpoints.addresses")),
    ports: tcp(list(item, "ports"), "ports")
      .filter((port) => port.port !== undefined && port.port !== null) // none: all ports
      .map((port) => ({ name: text(port, "name", ""), port: portNumber(port, "port") })),
  };
}

function identity(item: Fields): { metadata: Fields; namespace: string; name: string } {
  const metadata = fields(item.metadata, "metadata");
  return { metadata, namespace: text(metadata, "namespace", ""), name: text(metadata, "name") };
}

function target(port: Fields): number | string {
  const { targetPort } = port;
  if (targetPort === undefined || targetPort === null || targetPort === 0) return portNumber(port, "port");
  return typeof targetPort === "string" ? text(port, "targetPort") : portNumber(port, "targetPort");
}

function tcp(ports: unknown[], path: string): Fields[] {
  return ports.map((port) => fields(port, path)).filter((port) => text(port, "protocol", "TCP") === "TCP");
}

function fields(value: unknown, path: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(path, "an object", value);
  return value as Fields;
}

/** An object's field that is an object; empty where it is absent. */
function child(of: Fields, field: string): Fields {
  const value = of[field];
  return value === undefined || value === null ? NONE : fields(value, field);
}

function list(of: Fields, field: string): unknown[] {
  const value = of[field];
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw wrong(field, "a list", value);
  if (value.length > MOST) throw new Malformed(`${field} has ${value.length} entries, and ${MOST} are the most`);
  return value;
}

function texts(of: Fields, field: string): string[] {
  return list(of, field).map((value) => checked(value, field));
}

/** A field's text; without a default the field must be there and not empty. */
function text(of: Fields, field: string, absent?: string): string {
  const value = of[field];
  if ((value === undefined || value === null) && absent !== undefined) return absent;
  const result = checked(value, field);
  if (result === "" && absent === undefined) throw wrong(field, "a text that is not empty", value);
  return result;
}

/** Kubernetes has only printable ASCII where we read; other characters could forge lines in logs and terminals. */
function checked(value: unknown, field: string): string {
  if (typeof value !== "string") throw wrong(field, "a text", value);
  if (value.length > LONGEST)
    throw new Malformed(`${field} has ${value.length} characters, and ${LONGEST} are the most`);
  if (!/^[\x20-\x7e]*$/.test(value)) throw new Malformed(`${field} has a character that is not printable ASCII`);
  return value;
}

function pairs(of: Fields, field: string, path: string): string[] {
  return Object.entries(child(of, field)).map(
    ([key, value]) =>
      `${checked(key, `${path}${field}`)}=${checked(value, `${path}${field}.${key.slice(0, LONGEST)}`)}`,
  );
}

function flag(of: Fields, field: string): boolean {
  const value = of[field];
  if (value === undefined || value === null) return false;
  if (typeof value !== "boolean") throw wrong(field, "true or false", value);
  return value;
}

function portNumber(of: Fields, field: string): number {
  const value = of[field];
  if (typeof value !== "number" || !Number.isInteger(value) || value < 1 || value > 65535)
    throw wrong(field, "a port from 1 to 65535", value);
  return value;
}

function time(of: Fields, field: string): number | undefined {
  const value = of[field];
  if (value === undefined || value === null) return undefined;
  const at = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(checked(value, field))
    ? Date.parse(value as string)
    : Number.NaN;
  if (Number.isNaN(at)) throw wrong(field, "a time like 2026-01-31T12:00:00Z", value);
  return at;
}

function address(value: string, path: string): string {
  const ip = canonical(value);
  if (ip === undefined) throw wrong(path, "an IP address", value);
  return ip;
}

function optional(value: string): string[] {
  return value === "" ? [] : [value];
}

function unique<T>(values: T[]): T[] {
  return values.length < 2 ? values : [...new Set(values)];
}

function wrong(path: string, expected: string, value: unknown): Malformed {
  if (value === undefined) return new Malformed(`${path} is missing, and must be ${expected}`);
  const told = typeof value === "object" ? (Array.isArray(value) ? "a list" : "an object") : JSON.stringify(value);
  return new Malformed(`${path} must be ${expected}, and is ${value === null ? "null" : told.slice(0, 80)}`);
}
