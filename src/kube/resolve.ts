import { anyNode, type Names, type Owner } from "../core/names.ts";
import { type Range, rangeOf } from "./address.ts";
import { Addresses } from "./addresses.ts";
import { Backends } from "./backends.ts";
import { podOf } from "./cgroups.ts";
import { type Entry, Objects, type OwningRow, type PodShape, type Shape } from "./objects.ts";
import { type EndpointSliceRow, isEphemeral, type NodeRow, type PodRow, type Row, type ServiceRow } from "./parse.ts";
import { Services, type Told } from "./services.ts";
import { type Slice, Slices } from "./slices.ts";

type RowType = Row["type"];

/** What a Service's port leads to: its own numbers, and what is behind it. */
interface Target {
  port: number;
  nodePort: number | undefined;
  /** The container's port while no backend is known. */
  fallback: number;
  /** Each backend's owner and port in one number (`pairOf`). */
  pairs: number[];
  /** The Service's own labels, or those of the one workload behind it. */
  behind: Owner;
}

/** A node's address stays its own, whatever Service's load balancer or old pod names it, too. */
const RANK = { node: 2, pod: 1, service: 0 };
/** Past owners' ends are kept for so many addresses: enough for each that a /16 has, and some 10 MB at most. */
const ENDS_KEPT = 65_536;
/** Pods whose cgroups are remembered; a node has some hundred. */
const CGROUPS_KEPT = 4096;
/** What dialled a Service before it, or what was behind it, was gone has settled so long after, ns. */
export const LINGER = 10_000_000_000n;
/** No connection waits longer for a name than that, ns; a list may have thousands of old jobs' pods. */
const MISSED = 600_000_000_000n;

/** Services and backends that are looked at in one step of `replacing`. */
const STEP = 1000;

/** What makes an owner. */
type Named =
  | Pick<NodeRow, "type" | "name">
  | Pick<ServiceRow, "type" | "namespace" | "name">
  | Pick<PodRow, "type" | "namespace" | "name" | "workload" | "kind" | "node" | "ignored">;

type Workload = Pick<Owner, "namespace" | "workload" | "kind">;

/** An object that has just become another: what it was is what an address' time ended by. */
interface Changed {
  number: number;
  before: Entry | undefined;
}

/** What a port leads to, as the core is told. */
type Lead = [toOwner: number, toPort: number, service: string];

/**
 * Decides what an address is, and from when, and tells it to the core. Whoever has the objects brings their rows:
 * a file, or a watch. `at` is always the boot time in ns at which the rows were true, and never goes backwards.
 *
 * An address's first owner has held it since ever. A later one has it from the end of the one before, or from its own
 * start if that is later. An owner's end is the earliest of: when we learned of it, the end that its own object tells,
 * and the moment when the address was ready for its successor.
 */
export class Resolver {
  /** Pods, Services and nodes, and the addresses that they and slices name. */
  private readonly objects = new Objects();
  private readonly addresses = new Addresses();
  private readonly ends = new Map<string, bigint>();

  private readonly services = new Services();
  private readonly slices = new Slices();
  /** Services that may lead elsewhere by now, and those that need only be told again. */
  private readonly dirty = new Set<number>();
  private readonly untold = new Set<number>();
  /** Namespaces whose Services without slices may lead elsewhere by now; "" stands for all. */
  private readonly unselected = new Set<string>();
  /** By number, the Service that has the port on every node, and where it leads. */
  private readonly nodePorts = new Map<number, { service: number; lead: Lead }>();
  private nodePortsChanged = false;
  /** Per node's owner and port, the pods that have it, and their own port behind it. */
  private readonly hostPorts = new Map<number, Map<number, Map<number, number>>>();
  /** Per pod's owner, its number, where it has ports on its node, which then tells who leads there. */
  private readonly onHosts = new Map<number, number>();
  /** Per pod's owner, its number, where it says something of its ports. */
  private readonly telling = new Map<number, number>();
  /** Services that were deleted, and when: their last connections are still to be settled. */
  private readonly leaving = new Map<number, bigint>();
  /** Backends that a Service has no more, or that a deleted one had, its name and since when: their last connections are still to be settled. */
  private readonly left = new Map<number, { name: string; since: bigint }>();
  /** The moment of the last change. */
  private at = 0n;
  /** Owners whose ports are to be told again. */
  private readonly stale = new Set<number>();
  /** The cgroups that were seen of each pod, by the kubelet's uid. */
  private readonly cgroups = new Map<string, bigint[]>();
  /** By the kubelet's uid of a static pod, the number of its mirror. */
  private readonly mirrors = new Map<string, number>();
  /** What Services lead to. */
  private readonly backends = new Backends();

  /**
   * @param names    who is told
   * @param bootTime wall clock in milliseconds since 1970, to boot time in ns
   * @param node     the own node; undefined: every node is
   * @param ignored  namespaces whose pods are not to be counted
   */
  constructor(
    private readonly names: Names,
    private readonly bootTime: (wall: number) => bigint,
    private readonly node?: string,
    private readonly ignored: readonly string[] = [],
  ) {}

  /** An object is new, or another than it was. */
  upsert(row: Row, at: bigint): void {
    this.take(row, at);
    this.tellPorts();
  }

  /** An object is gone. */
  remove(type: RowType, key: string, at: bigint): void {
    this.drop(type, key, at);
    this.tellPorts();
  }

  /** The rows of all objects that there are: what is not among them is gone. */
  replace(rows: readonly Row[], at: bigint): void {
    for (const _ of this.replacing(rows, at));
  }

  /** As `replace`, step by step: others may have their turn between two of them. */
  *replacing(rows: readonly Row[], at: bigint): Generator<void> {
    // Those that tell their own end first: so their successors find it. Those that vanished last: a successor's start
    // says more about their end than that we miss them.
    const ended = (row: Row) => row.type === "pod" && row.finished;
    for (const row of rows) {
      if (ended(row)) this.take(row, at);
      yield;
    }
    for (const row of rows) {
      if (!ended(row)) this.take(row, at);
      yield;
    }
    const objects = new Set<number | undefined>();
    const slices = new Set<number | undefined>();
    for (const { type, key } of rows) {
      if (type === "slice") slices.add(this.slices.find(key));
      else objects.add(this.objects.find(type, key));
      yield;
    }
    for (const type of ["pod", "service", "node"] as const) {
      for (const number of this.objects.all(type)) {
        if (!objects.has(number)) this.dropObject(number, at);
        yield;
      }
    }
    for (const number of this.slices.numbers()) {
      if (!slices.has(number)) this.dropSlice(number);
      yield;
    }
    while (!this.tellPorts(STEP)) yield;
  }

  /** A cgroup was seen: its own name, then those of its parents. */
  cgroup(id: bigint, path: readonly string[]): void {
    const uid = podOf(path);
    if (uid === undefined) {
      this.names.cgroup(id, "none");
      return;
    }
    // The kernel side tells one that it has forgotten again.
    this.cgroups.set(uid, [...new Set([...(this.cgroups.get(uid) ?? []), id])]);
    if (this.cgroups.size > CGROUPS_KEPT) this.cgroups.delete([...this.cgroups.keys()][0] ?? "");
    const pod = this.mirrors.get(uid) ?? this.objects.find("pod", uid);
    this.names.cgroup(id, pod === undefined ? "later" : this.ownerOfPod(this.objects.get(pod)));
  }

  /** All that happened until then has been told. */
  fresh(at: bigint): void {
    let over = false;
    for (const [service, since] of this.leaving) {
      if (at < since + LINGER) break;
      this.leaving.delete(service);
      this.dirty.add(service);
      over = true;
    }
    for (const [place, { since }] of this.left) {
      if (at < since + LINGER) break;
      this.returned(place);
      this.backends.remove(place);
      this.changed(place);
      over = true;
    }
    if (over) this.tellPorts();
    this.names.fresh(at);
  }

  /** How many objects of each type there are. */
  counts(): Record<RowType, number> {
    return { ...this.objects.counts, slice: this.slices.size };
  }

  private rowOf(service: number): ServiceRow | undefined {
    const object = this.services.object(service);
    return object === undefined ? undefined : (this.objects.shapeOf(object) as ServiceRow);
  }

  /** As `upsert`, but ports are told later, by `tellPorts`. */
  take(row: Row, at: bigint): void {
    this.at = at;
    if (row.type === "slice") {
      this.takeSlice(row);
      return;
    }
    // A list after a time without news may be the first to name a pod that is over: until then it had its addresses.
    if (row.type === "pod" && this.isMissed(row, at)) this.takeObject({ ...row, finished: false }, at);
    this.takeObject(row, at);
  }

  /** Whether a pod's end is the first that is heard of it, and so late that connections of its may still wait for a name. */
  private isMissed({ key, finished, endedAt }: PodRow, at: bigint): boolean {
    if (!finished || endedAt === undefined || this.objects.find("pod", key) !== undefined) return false;
    return this.bootTime(endedAt) > at - MISSED;
  }

  private takeObject(row: OwningRow, at: bigint): void {
    const { objects, addresses } = this;
    const known = objects.find(row.type, row.key);
    const entry = this.entryOf(row);
    if (known !== undefined && objects.has(known, entry)) {
      for (const address of entry.addresses) addresses.drop(address);
      return;
    }
    const before = known === undefined ? undefined : objects.get(known);
    const number = objects.put(row.key, entry);
    if (row.type === "service") this.serve(row.key, number);
    const held = addressesOf(entry);
    for (const address of before === undefined ? [] : addressesOf(before)) {
      if (!held.includes(address)) this.withdraw(address, number, at); // with the end that it tells now
    }
    for (const address of held) this.claim(address, number, before, at);
    if (before !== undefined) this.withdrawRest(number, before);
    this.claimRest(row.key, number, entry);
    this.touch(entry.shape);
    if (before === undefined) return;
    this.touch(before.shape);
    for (const address of before.addresses) addresses.drop(address);
  }

  /** As `remove`, but ports are told later, by `tellPorts`. */
  drop(type: RowType, key: string, at: bigint): void {
    this.at = at;
    const number = type === "slice" ? this.slices.find(key) : this.objects.find(type, key);
    if (number === undefined) return;
    if (type === "slice") this.dropSlice(number);
    else this.dropObject(number, at);
  }

  private dropObject(number: number, at: bigint): void {
    const entry = this.objects.get(number);
    if (entry.shape.type === "service") this.leave(entry.shape, at);
    for (const address of addressesOf(entry)) this.withdraw(address, number, at);
    this.withdrawRest(number, entry);
    this.touch(entry.shape);
    for (const address of entry.addresses) this.addresses.drop(address);
    this.objects.remove(number);
  }

  /** A Service is there, maybe again. */
  private serve(key: string, object: number): void {
    const service = this.services.number(key);
    this.services.setObject(service, object);
    this.leaving.delete(service);
  }

  /** A Service is deleted: what it led to stays told for its last connections. */
  private leave({ key, name }: ServiceRow, since: bigint): void {
    const service = this.services.number(key);
    this.services.setObject(service, undefined);
    this.leaving.set(service, since);
    for (const place of this.backends.of(service)) this.leaveBackend(place, name, since);
  }

  /** Its addresses are used by then. */
  private entryOf(row: OwningRow): Entry {
    const addresses = row.addresses.map((address) => this.addresses.use(address));
    if (row.type !== "pod") {
      const none = { node: "", startedAt: undefined, readyAt: undefined, endedAt: undefined };
      return { shape: row, owner: this.names.owner(this.ownerOf(row)), addresses, ...none };
    }
    const { key: _, name, node, addresses: __, startedAt, readyAt, endedAt, probes, ...shared } = row;
    const owner = row.finished ? undefined : this.names.owner(this.ownerOf(row));
    const shape: PodShape = { ...shared, name: row.finished ? name : undefined };
    if (probes !== undefined && this.isMine(node)) shape.probes = probes; // the kubelet's are its own node's
    return { shape, node, owner, addresses, startedAt, readyAt, endedAt };
  }

  private takeSlice({ key, namespace, service: name, ports, addresses: named }: EndpointSliceRow): void {
    const { addresses, services, slices } = this;
    const service = services.number(`${namespace}/${name}`);
    const slice: Slice = { service, ports, addresses: Uint32Array.from(named, (address) => addresses.use(address)) };
    const known = slices.find(key);
    if (known !== undefined && slices.has(known, slice)) {
      for (const address of slice.addresses) addresses.drop(address);
      return;
    }
    const before = known === undefined ? undefined : slices.get(known);
    this.indexSlice(slices.put(key, slice), before, slice);
    this.dirty.add(service);
    if (before !== undefined) this.dirty.add(before.service);
  }

  private dropSlice(number: number): void {
    const slice = this.slices.get(number);
    this.indexSlice(number, slice, undefined);
    this.slices.remove(number);
    this.dirty.add(slice.service);
  }

  /** What else than addresses is an object's. */
  private claimRest(key: string, number: number, entry: Entry): void {
    const { shape, owner } = entry;
    if (shape.type === "node" && owner !== undefined) {
      for (const { address, bits } of rangesOf(shape)) this.names.range(address, bits, owner, true);
      this.names.zone(owner, shape.zone ?? "");
    }
    if (shape.type === "pod") {
      if (shape.cgroup !== undefined) this.mirrors.set(shape.cgroup, number);
      for (const id of this.cgroups.get(shape.cgroup ?? key) ?? []) this.names.cgroup(id, this.ownerOfPod(entry));
    }
    if (owner === undefined) return;
    this.names.hold(owner);
    if (shape.type !== "pod") return;
    if (this.tellsPorts(shape)) {
      this.telling.set(owner, number);
      // With its address: the kubelet's first probe may have waited for that, and is known by these alone.
      if (entry.node === this.node) this.tellPortsOf(owner);
      else this.stale.add(owner);
    }
    for (const { port, target } of hostPortsOf(entry, shape)) {
      const node = this.nodeOwner(entry.node);
      const ports = this.hostPorts.get(node) ?? new Map<number, Map<number, number>>();
      const pods = ports.get(port) ?? new Map<number, number>();
      if (!pods.has(number)) this.names.hold(node);
      this.hostPorts.set(node, ports.set(port, pods.set(number, target)));
      this.stale.add(node);
      this.onHosts.set(owner, number);
      this.touchNode(entry);
    }
  }

  private withdrawRest(number: number, entry: Entry): void {
    const { shape, owner } = entry;
    if (shape.type === "node") for (const { address, bits } of rangesOf(shape)) this.names.dropRange(address, bits);
    if (shape.type === "pod" && shape.cgroup !== undefined && this.mirrors.get(shape.cgroup) === number) {
      this.mirrors.delete(shape.cgroup);
    }
    if (owner === undefined) return;
    this.names.drop(owner);
    if (shape.type !== "pod") return;
    if (this.onHosts.get(owner) === number) this.onHosts.delete(owner);
    if (this.tellsPorts(shape)) {
      if (this.telling.get(owner) === number) this.telling.delete(owner);
      this.stale.add(owner);
    }
    for (const { port } of hostPortsOf(entry, shape)) {
      const node = this.nodeOwner(entry.node);
      const ports = this.hostPorts.get(node);
      const pods = ports?.get(port);
      if (pods?.delete(number)) {
        this.names.drop(node);
        this.stale.add(node);
        this.touchNode(entry);
      }
      if (pods?.size === 0) ports?.delete(port);
      if (ports?.size === 0) this.hostPorts.delete(node);
    }
  }

  private tellsPorts(shape: PodShape): boolean {
    return shape.probes !== undefined || shape.ports.some(({ port }) => isEphemeral(port));
  }

  private nodeOwner(name: string): number {
    return this.names.owner(this.ownerOf({ type: "node", name }));
  }

  /** The one pod that has a node's port. */
  private onHostPort(node: number, port: number): { pod: number; owner: number; port: number } | undefined {
    const pods = this.hostPorts.get(node)?.get(port);
    if (pods?.size !== 1) return undefined;
    const [[pod, target] = [0, 0]] = pods;
    return { pod, owner: this.objects.ownerOf(pod)!, port: target };
  }

  private indexSlice(number: number, before: Slice | undefined, after: Slice | undefined): void {
    const was = new Set(before?.addresses);
    for (const address of after?.addresses ?? []) if (!was.delete(address)) this.addresses.name(address, number);
    for (const address of was) this.addresses.unname(address, number);
    for (const address of before?.addresses ?? []) this.addresses.drop(address);
  }

  /** What hangs on the object itself. */
  private touch(shape: Shape): void {
    if (shape.type === "service") this.dirty.add(this.services.number(shape.key));
    else if (shape.type === "pod" && shape.labels.length > 0) this.unselected.add(shape.namespace);
  }

  /** What hangs on who has the address. */
  private touchAddress(address: number): void {
    for (const slice of this.addresses.slicesOf(address)) this.dirty.add(this.slices.serviceOf(slice));
  }

  /** What hangs on the ports that the pod has on its node. */
  private touchNode(pod: Entry): void {
    const node = this.objects.find("node", pod.node);
    const addresses = node === undefined ? pod.addresses : this.objects.addressesOf(node);
    for (const address of addresses) this.touchAddress(address);
  }

  private time(wall: number | undefined): bigint | undefined {
    return wall === undefined ? undefined : this.bootTime(wall);
  }

  private isMine(node: string): boolean {
    return this.node === undefined || node === this.node;
  }

  /** A finished pod's number may be another's by now. */
  private ownerOfPod({ shape, node, owner }: Entry): number {
    return owner ?? this.names.owner(this.ownerOf({ ...(shape as PodShape & { name: string }), node }));
  }

  private isIgnored(row: Named | Shape): boolean {
    return row.type === "pod" && (row.ignored === true || this.ignored.includes(row.namespace));
  }

  private ownerOf(row: Named): Owner {
    const { type, name } = row;
    switch (type) {
      case "pod": {
        const mine = this.isMine(row.node);
        const { namespace, workload, kind } = row;
        return { type, namespace, name, workload, kind, mine, ...(this.isIgnored(row) && { ignored: true }) };
      }
      case "node": {
        const mine = this.node === undefined || name === this.node;
        return { type, namespace: "", name, workload: name, kind: "Node", mine };
      }
      case "service":
        return { type, namespace: row.namespace, name, workload: name, kind: "Service", mine: this.node === undefined };
    }
  }

  private claim(address: number, number: number, before: Entry | undefined, at: bigint): void {
    const claims = this.addresses.claimsOn(address);
    this.settle(address, claims.includes(number) ? claims : [...claims, number], at, { number, before });
  }

  private withdraw(address: number, number: number, at: bigint): void {
    const claims = this.addresses.claimsOn(address);
    this.settle(
      address,
      claims.filter((claim) => claim !== number),
      at,
    );
  }

  /** Tells the core who has the address by these claims, where that is another than before. */
  private settle(address: number, claims: readonly number[], at: bigint, changed?: Changed): void {
    const { addresses, objects } = this;
    const [first, ...others] = claims;
    const next = first === undefined ? undefined : others.reduce((best, n) => (this.beats(n, best) ? n : best), first);
    const holder = addresses.holder(address);
    addresses.claim(address, claims, next);
    const owner = next === undefined ? undefined : objects.ownerOf(next);
    if (holder !== undefined) {
      if (next !== undefined && owner === addresses.owner(address)) {
        // A pod made again elsewhere, of which both objects are known, may have kept its name and its address.
        const before = holder === changed?.number && changed.before ? nodeOf(changed.before) : this.nodeOf(holder);
        if (this.nodeOf(next) !== before) this.assign(address, next, owner, addresses.since(address));
        return;
      }
      const ready = next === undefined ? undefined : objects.readyOf(next);
      // By the end of the second that Kubernetes names: in it, the core tells the two apart by what it sees.
      const taken = this.time(ready === undefined ? undefined : ready + 1000);
      const ended = holder === changed?.number ? changed.before?.endedAt : objects.endOf(holder);
      const end = latest(earliest(at, this.time(ended), taken), addresses.since(address));
      const bytes = addresses.bytes(address);
      this.remember(bytes, end);
      this.names.release(bytes, end);
      this.moved(address, holder);
    }
    if (next === undefined || owner === undefined) return;
    const end = this.ends.get(String.fromCharCode(...addresses.bytes(address)));
    // A kubelet's clock may be ahead of ours; that the pod has the address now is certain.
    const since = end === undefined ? 0n : latest(earliest(latest(end, this.time(objects.startOf(next))), at), end);
    addresses.tell(address, owner, since);
    this.assign(address, next, owner, since);
    this.moved(address, next);
  }

  private assign(address: number, holder: number, owner: number, since: bigint): void {
    const node = this.nodeOf(holder);
    this.names.assign(this.addresses.bytes(address), owner, since, node === "" ? undefined : this.nodeOwner(node));
  }

  private nodeOf(number: number): string {
    return nodeOf(this.objects.get(number));
  }

  /** Whether a claim that came later wins. */
  private beats(later: number, best: number): boolean {
    const { objects } = this;
    const [rank, bestRank] = [RANK[objects.typeOf(later)], RANK[objects.typeOf(best)]];
    if (rank !== bestRank) return rank > bestRank;
    const [start, bestStart] = [objects.startOf(later), objects.startOf(best)];
    if (start === undefined || bestStart === undefined) return bestStart === undefined;
    return start >= bestStart;
  }

  /** An address has come to this object, or gone from it. */
  private moved(address: number, number: number): void {
    this.touchAddress(address);
    const shape = this.objects.shapeOf(number);
    if (shape.type === "node") this.unselected.add("");
    else this.touch(shape);
  }

  private remember(address: Uint8Array, end: bigint): void {
    const key = String.fromCharCode(...address);
    this.ends.delete(key);
    this.ends.set(key, end);
    if (this.ends.size > ENDS_KEPT) for (const [oldest] of this.ends) return void this.ends.delete(oldest);
  }

  /**
   * Tells the core the ports of whoever's have changed.
   *
   * @param most so many Services and backends are looked at
   * @returns whether that were all
   */
  tellPorts(most = Number.POSITIVE_INFINITY): boolean {
    this.touchUnselected();
    const find = this.finder();
    let seen = 0;
    for (const service of this.dirty) {
      if (seen > most) break;
      this.dirty.delete(service);
      this.untold.add(service);
      seen += 1;
      seen += this.lead(service, find(service));
    }
    for (const owner of this.stale) {
      this.stale.delete(owner);
      this.tellPortsOf(owner);
    }
    // After all of them: whether a backend has one Service is known only now.
    for (const service of this.untold) {
      this.untold.delete(service);
      this.tellService(service, find);
    }
    this.tellNodePorts();
    return this.dirty.size === 0;
  }

  private touchUnselected(): void {
    if (this.unselected.size === 0) return;
    const all = this.unselected.has("");
    for (const service of this.services.all()) {
      if (this.slices.hasAny(service)) continue;
      if (all || this.unselected.has(this.rowOf(service)!.namespace)) this.dirty.add(service);
    }
    this.unselected.clear();
  }

  /**
   * Notes what a Service leads to, and whose ports that changes.
   *
   * @returns how many backends it has
   */
  private lead(service: number, targets: Target[]): number {
    const { backends } = this;
    const added = new Set(targets.flatMap(({ pairs }) => pairs));
    const { size } = added;
    for (const place of backends.of(service)) {
      if (added.delete(pairOf(backends.owner(place), backends.port(place)))) {
        if (this.returned(place)) this.changed(place);
      } else if (!this.left.has(place)) {
        this.leaveBackend(place, this.rowOf(service)!.name, this.at); // all of a deleted one's have left
      }
    }
    for (const pair of added) this.changed(backends.add(ownerOfPair(pair), portOf(pair), service));
    return size;
  }

  /** A backend has left its Service: its owner is kept for its last connections. */
  private leaveBackend(place: number, name: string, since: bigint): void {
    if (!this.left.delete(place)) this.names.hold(this.backends.owner(place));
    this.left.set(place, { name, since });
    this.changed(place);
  }

  /** A backend is none of those that have left. Whether it was. */
  private returned(place: number): boolean {
    if (!this.left.delete(place)) return false;
    this.names.drop(this.backends.owner(place));
    return true;
  }

  /** Those that lead to the port are others, or alone no more, or alone again. */
  private changed(place: number): void {
    const { backends } = this;
    const [owner, port] = [backends.owner(place), backends.port(place)];
    this.stale.add(owner);
    const onHost = this.onHosts.get(owner);
    if (onHost !== undefined) this.stale.add(this.nodeOwner(this.objects.nodeOf(onHost)));
    for (let at = backends.first(owner); at >= 0; at = backends.next(at)) {
      if (backends.port(at) === port) this.untold.add(backends.service(at));
    }
  }

  private tellPortsOf(owner: number): void {
    this.names.dropPorts(owner);
    const telling = this.telling.get(owner);
    const pod = telling === undefined ? undefined : (this.objects.shapeOf(telling) as PodShape);
    for (const { port } of pod?.ports ?? []) if (isEphemeral(port)) this.names.port(owner, port, owner, port, "");
    const { backends } = this;
    for (let at = backends.first(owner); at >= 0; at = backends.next(at)) {
      if (!backends.isFirst(at)) continue; // several Services may lead to one port
      const port = backends.port(at);
      const service = this.onlyService(owner, port);
      if (service !== "" || isEphemeral(port)) this.names.port(owner, port, owner, port, service);
    }
    for (const port of this.hostPorts.get(owner)?.keys() ?? []) {
      const behind = this.onHostPort(owner, port);
      if (behind) this.names.port(owner, port, behind.owner, behind.port, this.onlyService(behind.owner, behind.port));
    }
    if (!pod?.hostNetwork) for (const port of pod?.probes ?? []) this.names.probe(owner, port);
  }

  /** A port that every node has leads to a Service. */
  private tellNodePorts(): void {
    if (!this.nodePortsChanged) return;
    this.nodePortsChanged = false;
    const owner = this.names.owner(anyNode);
    this.names.dropPorts(owner);
    for (const [port, { lead }] of this.nodePorts) this.names.port(owner, port, ...lead);
  }

  /** The name of the one Service that leads to an owner's port, else of the one that did until just now, else "". */
  private onlyService(owner: number, port: number): string {
    let found = "";
    let left: string | undefined;
    const { backends } = this;
    for (let at = backends.first(owner); at >= 0; at = backends.next(at)) {
      if (backends.port(at) !== port) continue;
      const name = this.left.get(at)?.name;
      if (name !== undefined) {
        left = left === undefined ? name : "";
        continue;
      }
      if (found !== "") return "";
      found = this.rowOf(backends.service(at))?.name ?? "";
    }
    return found || (left ?? "");
  }

  /** Whether a Service is the one that leads to a backend's port. */
  private isAlone(service: number, { name }: ServiceRow, pair: number): boolean {
    const { backends } = this;
    const [owner, port] = [ownerOfPair(pair), portOf(pair)];
    const at = backends.first(owner);
    const isOnly = at >= 0 && backends.next(at) < 0 && backends.service(at) === service && backends.port(at) === port;
    return isOnly || this.onlyService(owner, port) === name;
  }

  /** A Service's addresses belong to an owner of its own, whose ports lead to what is behind it. */
  private tellService(service: number, find: (service: number) => Target[]): void {
    const row = this.rowOf(service);
    if (row === undefined) {
      this.forgetService(service);
      const isLeft = this.slices.hasAny(service) || this.leaving.has(service) || this.dirty.has(service);
      if (!isLeft) this.services.remove(service);
      return;
    }
    const owner = this.names.owner(this.ownerOf(row));
    const dialled = (target: Target) => row.addresses.length > 0 || target.nodePort !== undefined;
    const targets = find(service).filter(dialled);
    const before = this.services.told(service);
    const digest = digestOf(row);
    const isEmpty = targets.every(({ pairs, behind }) => pairs.length === 0 && behind.type !== "external");
    // Those that it led to have gone, and their successors are not known yet: it stands for the same ones.
    if (isEmpty && before?.owner === owner && before.row === digest) return;
    const ports = targets.map(({ port, nodePort, fallback, pairs, behind }) => {
      const numbers = new Set<number>();
      // The same name as the backends' own side gives, so that both sides' rows carry equal labels.
      let alone = true;
      for (const pair of pairs) {
        numbers.add(portOf(pair));
        alone &&= this.isAlone(service, row, pair);
      }
      const [number = fallback] = numbers;
      const lead: Lead = [this.names.owner(behind), numbers.size > 1 ? port : number, alone ? row.name : ""];
      return { port, nodePort, lead };
    });
    const told: Told = { owner, row: digest, ports: digestOf(ports) };
    if (before?.owner === owner && before.row === digest && before.ports === told.ports) return;
    this.forgetService(service);
    for (const { port, nodePort, lead } of ports) {
      if (row.addresses.length > 0) this.names.port(owner, port, ...lead);
      if (nodePort === undefined) continue;
      this.nodePorts.set(nodePort, { service, lead });
      this.nodePortsChanged = true;
    }
    if (ports.length > 0) this.services.tell(service, told);
  }

  private forgetService(service: number): void {
    const told = this.services.told(service);
    // One that leaves keeps them for what dialled it before, and it may come back alike.
    if (told === undefined || this.leaving.has(service)) return;
    for (const [port, { service: has }] of this.nodePorts) {
      if (has !== service) continue;
      this.nodePorts.delete(port);
      this.nodePortsChanged = true;
    }
    this.names.dropPorts(told.owner);
    this.services.tell(service, undefined);
  }

  /** The Service with the labels of the workload behind it, where it is one; ignored where all behind it is. */
  private workloadBehind(row: ServiceRow, backends: number[]): Owner {
    const own = this.ownerOf(row);
    // Most are alike.
    const alike = new Map<number, number>();
    for (const backend of backends) alike.set(this.objects.shapeNumber(backend), backend);
    const shapes = Array.from(alike.values(), (backend) => this.objects.shapeOf(backend));
    if (shapes.length > 0 && shapes.every((shape) => this.isIgnored(shape))) own.ignored = true;
    let found: Workload | undefined;
    for (const shape of shapes) {
      const as = workloadOf(shape);
      found ??= as;
      if (as.namespace !== found.namespace || as.workload !== found.workload || as.kind !== found.kind) return own;
    }
    if (found === undefined) return this.isOutside(row) ? { ...own, type: "external" } : own;
    const { namespace, workload, kind } = found;
    return { ...own, namespace, workload, kind };
  }

  /** Whether somebody has led a Service out of the cluster, where no agent counts the server's end. */
  private isOutside({ key, selector }: ServiceRow): boolean {
    const slices = Array.from(this.slices.of(this.services.number(key)), (slice) => this.slices.get(slice));
    const addresses = slices.flatMap((slice) => [...slice.addresses]);
    const isNobodys = (address: number) => this.addresses.holder(address) === undefined;
    return selector.length === 0 && addresses.length > 0 && addresses.every(isNobodys);
  }

  /** What a Service's ports lead to, by its EndpointSlices, else by its selector. */
  private finder(): (service: number) => Target[] {
    const { objects, addresses } = this;
    let pods: Map<string, number[]> | undefined;
    const byLabel = new Map<string, Map<string, number[]>>();
    const found = new Map<number, Target[]>();
    const shapes = new Map<number, PodShape>();
    const podOf = (number: number): PodShape => {
      const shape = objects.shapeNumber(number);
      const known = shapes.get(shape) ?? (objects.shapeOf(number) as PodShape);
      shapes.set(shape, known);
      return known;
    };
    /** A Service looks only at the pods that have its rarest label. */
    const select = ({ namespace, selector }: ServiceRow): number[] => {
      if (selector.length === 0) return [];
      pods ??= Map.groupBy(objects.all("pod"), (pod) => podOf(pod).namespace);
      const labels = byLabel.get(namespace) ?? groupByLabel(pods.get(namespace) ?? [], (pod) => podOf(pod).labels);
      byLabel.set(namespace, labels);
      const [rarest = []] = selector.map((label) => labels.get(label) ?? []).sort((a, b) => a.length - b.length);
      return rarest.filter((pod) => selector.every((label) => podOf(pod).labels.includes(label)));
    };
    return (service) => {
      const known = found.get(service);
      if (known !== undefined) return known;
      const row = this.rowOf(service);
      if (row === undefined) return [];
      const slices = Array.from(this.slices.of(service), (slice) => this.slices.get(slice));
      const selected = slices.length === 0 ? select(row).filter((pod) => !podOf(pod).finished) : [];
      const targets = row.ports.map(({ name, port, target, nodePort }) => {
        const backends = new Map<number, number>();
        const add = (named: Iterable<number>, number: number | undefined) => {
          if (number === undefined) return;
          for (const address of named) {
            const holder = addresses.holder(address);
            if (holder === undefined || objects.typeOf(holder) === "service") continue;
            const owner = addresses.owner(address);
            const onHost = this.onHostPort(owner, number);
            if (onHost === undefined) backends.set(pairOf(owner, number), holder);
            else backends.set(pairOf(onHost.owner, onHost.port), onHost.pod);
          }
        };
        for (const slice of slices) add(slice.addresses, slice.ports.find((p) => p.name === name)?.port);
        for (const pod of selected) add(objects.addressesOf(pod), numberOf(target, podOf(pod)));
        const fallback = typeof target === "number" ? target : port;
        const behind = this.workloadBehind(row, [...backends.values()]);
        return { port, nodePort, fallback, pairs: [...backends.keys()], behind };
      });
      found.set(service, targets);
      return targets;
    };
  }
}

const digestOf = (value: unknown): bigint => BigInt(Bun.hash(JSON.stringify(value)));
const pairOf = (owner: number, port: number): number => owner * 65536 + port;
const ownerOfPair = (pair: number): number => Math.floor(pair / 65536);
const portOf = (pair: number): number => pair % 65536;

/** The name of the node that an object is on, or "". */
const nodeOf = ({ shape, node }: Entry): string => (shape.type === "node" ? shape.name : node);

function groupByLabel(pods: number[], labelsOf: (pod: number) => string[]): Map<string, number[]> {
  const groups = new Map<string, number[]>();
  for (const pod of pods) {
    for (const label of labelsOf(pod)) {
      const group = groups.get(label);
      if (group === undefined) groups.set(label, [pod]);
      else group.push(pod);
    }
  }
  return groups;
}

/** A Service's target port as this pod has it. */
function numberOf(target: number | string, pod: PodShape): number | undefined {
  return typeof target === "number" ? target : pod.ports.find(({ name }) => name === target)?.port;
}

function addressesOf({ shape, addresses }: Entry): number[] {
  // A pod on the host's network has its node's addresses.
  return shape.type === "pod" && (shape.finished || shape.hostNetwork) ? [] : addresses;
}

function workloadOf(shape: Shape): Workload {
  return shape.type === "pod" ? shape : { namespace: "", workload: shape.name, kind: "Node" };
}

function rangesOf(row: NodeRow): Range[] {
  return row.ranges.map(rangeOf).filter((range) => range !== undefined);
}

function earliest(first: bigint, ...others: (bigint | undefined)[]): bigint {
  return others.reduce<bigint>((least, time) => (time !== undefined && time < least ? time : least), first);
}

/** A pod without a node has none yet: its node would be that of all node ports. */
function hostPortsOf(pod: Entry, shape: PodShape): NonNullable<PodShape["hostPorts"]> {
  return pod.node === "" ? [] : (shape.hostPorts ?? []);
}

function latest(first: bigint, second: bigint | undefined): bigint {
  return second !== undefined && second > first ? second : first;
}
