import { anyNode, type Names, type Owner } from "../core/names.ts";
import { type Range, rangeOf, toBytes } from "./address.ts";
import { podOf } from "./cgroups.ts";
import { type EndpointSliceRow, isEphemeral, type NodeRow, type PodRow, type Row, type ServiceRow } from "./parse.ts";

type RowType = Row["type"];

/** Whatever may have addresses. */
type OwningRow = Exclude<Row, EndpointSliceRow>;

/** An object says that an address is its own. Of several, the highest rank wins, then the latest start. */
interface Claim {
  row: OwningRow;
  owner: number;
}

/** Who has an address. There is one for each of 150,000 pods, so all claims are kept only where there are several. */
interface Holding extends Claim {
  since: bigint;
  claims: Claim[] | undefined;
}

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

/** A port of an owner, and a Service that leads to it: a list, most often of one. */
interface Served {
  port: number;
  key: string;
  next: Served | undefined;
}

/** A node's address stays its own, whatever Service's load balancer or old pod names it, too. */
const RANK = { node: 2, pod: 1, service: 0 };
/** Past owners' ends are kept for so many addresses: enough for each that a /16 has, and some 10 MB at most. */
const ENDS_KEPT = 65_536;
/** Pods whose cgroups are remembered; a node has some hundred. */
const CGROUPS_KEPT = 4096;
/** What dialled a Service before it was deleted has settled so long after, ns. */
const LINGER = 10_000_000_000n;

/** Services and backends that are looked at in one step of `replacing`. */
const STEP = 1000;

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
  private readonly rows = {
    pod: new Map<string, PodRow>(),
    service: new Map<string, ServiceRow>(),
    node: new Map<string, NodeRow>(),
    slice: new Map<string, EndpointSliceRow>(),
  };
  private readonly holdings = new Map<string, Holding>();
  private readonly ends = new Map<string, bigint>();

  /** Per Service, its slices; and per address, the keys of the slices that name it. */
  private readonly slices = new Map<string, EndpointSliceRow[]>();
  private readonly namedBy = new Map<string, string | string[]>();
  /** Services that may lead elsewhere by now, and those that need only be told again. */
  private readonly dirty = new Set<string>();
  private readonly untold = new Set<string>();
  /** Namespaces whose Services without slices may lead elsewhere by now; "" stands for all. */
  private readonly unselected = new Set<string>();
  /** Per Service, its targets as they were told. */
  private readonly targets = new Map<string, Target[]>();
  /** Per Service, the numbers of its own owners and what the core was told of their ports. */
  private readonly told = new Map<string, { owner: number; ports: string }>();
  /** By number, the Service that has the port on every node, and where it leads. */
  private readonly nodePorts = new Map<number, { key: string; lead: Lead }>();
  private nodePortsChanged = false;
  /** Per node's owner and port, the pods that have it. */
  private readonly hostPorts = new Map<number, Map<number, Map<string, { row: PodRow; port: number }>>>();
  /** Per pod's owner, its row, where it has ports on its node, which then tells who leads there. */
  private readonly onHosts = new Map<number, PodRow>();
  /** Per pod's owner, its row, where that says something of its ports. */
  private readonly telling = new Map<number, PodRow>();
  /** Services that were deleted, and when: their last connections are still to be settled. */
  private readonly leaving = new Map<string, bigint>();
  /** Owners whose ports are to be told again. */
  private readonly stale = new Set<number>();
  /** The cgroups that were seen of each pod, by the kubelet's uid. */
  private readonly cgroups = new Map<string, bigint[]>();
  /** By the kubelet's uid of a static pod, the key of its mirror. */
  private readonly mirrors = new Map<string, string>();
  /** Per owner, its ports that Services lead to. */
  private readonly servedBy = new Map<number, Served>();

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
    const seen: Record<RowType, Set<string>> = {
      pod: new Set(),
      service: new Set(),
      node: new Set(),
      slice: new Set(),
    };
    for (const row of rows) seen[row.type].add(row.key);
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
    for (const type of Object.keys(seen) as RowType[]) {
      for (const key of this.rows[type].keys()) {
        if (!seen[type].has(key)) this.drop(type, key, at);
        yield;
      }
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
    const row = this.rows.pod.get(this.mirrors.get(uid) ?? uid);
    this.names.cgroup(id, row === undefined ? "later" : this.names.owner(this.ownerOf(row)));
  }

  /** All that happened until then has been told. */
  fresh(at: bigint): void {
    let left = false;
    for (const [key, since] of this.leaving) {
      if (at < since + LINGER) break;
      this.endLeave(key);
      this.dirty.add(key);
      left = true;
    }
    if (left) this.tellPorts();
    this.names.fresh(at);
  }

  /** How many objects of each type there are. */
  counts(): Record<RowType, number> {
    const { pod, service, node, slice } = this.rows;
    return { pod: pod.size, service: service.size, node: node.size, slice: slice.size };
  }

  /** As `upsert`, but ports are told later, by `tellPorts`. */
  take(row: Row, at: bigint): void {
    const rows = this.rows[row.type] as Map<string, Row>;
    const before = rows.get(row.key);
    if (before !== undefined && Bun.deepEquals(before, row)) return;
    rows.set(row.key, row);
    if (row.type === "service") this.endLeave(row.key);
    const addresses = addressesOf(row);
    for (const address of before === undefined ? [] : addressesOf(before)) {
      if (!addresses.includes(address)) this.withdraw(address, row, at); // with the end that it tells now
    }
    for (const address of addresses) this.claim(address, row, at);
    if (before !== undefined) this.withdrawRest(before);
    this.claimRest(row);
    if (row.type === "slice") this.indexSlice(row.key, before as EndpointSliceRow | undefined, row);
    this.touch(row);
    if (before !== undefined) this.touch(before);
  }

  /** As `remove`, but ports are told later, by `tellPorts`. */
  drop(type: RowType, key: string, at: bigint): void {
    const row = this.rows[type].get(key);
    if (row === undefined) return;
    this.rows[type].delete(key);
    if (type === "service") this.leave(key, at);
    for (const address of addressesOf(row)) this.withdraw(address, row, at);
    this.withdrawRest(row);
    if (row.type === "slice") this.indexSlice(key, row, undefined);
    this.touch(row);
  }

  /** A Service is deleted: what it led to stays told for its last connections, and is kept for them. */
  private leave(key: string, at: bigint): void {
    this.leaving.set(key, at);
    for (const pair of this.pairsOf(key)) this.names.hold(ownerOfPair(pair));
  }

  /** Its last connections have settled, or it is there again. */
  private endLeave(key: string): void {
    if (!this.leaving.delete(key)) return;
    for (const pair of this.pairsOf(key)) this.names.drop(ownerOfPair(pair));
  }

  private pairsOf(key: string): number[] {
    return (this.targets.get(key) ?? []).flatMap(({ pairs }) => pairs);
  }

  /** What else than addresses is an object's. */
  private claimRest(row: Row): void {
    if (row.type === "node") {
      const owner = this.nodeOwner(row.name);
      for (const { address, bits } of rangesOf(row)) this.names.range(address, bits, owner, true);
      this.names.zone(owner, row.zone ?? "");
    }
    if (row.type === "service" || row.type === "node") this.names.hold(this.names.owner(this.ownerOf(row)));
    if (row.type !== "pod") return;
    const as = this.ownerOf(row);
    if (row.cgroup !== undefined) this.mirrors.set(row.cgroup, row.key);
    for (const id of this.cgroups.get(row.cgroup ?? row.key) ?? []) this.names.cgroup(id, this.names.owner(as));
    if (row.finished) return;
    const owner = this.names.owner(as);
    this.names.hold(owner);
    if (this.tellsPorts(row)) {
      this.telling.set(owner, row);
      this.stale.add(owner);
    }
    for (const { port, target } of row.hostPorts ?? []) {
      const node = this.nodeOwner(row.node);
      const ports = this.hostPorts.get(node) ?? new Map<number, Map<string, { row: PodRow; port: number }>>();
      const pods = ports.get(port) ?? new Map<string, { row: PodRow; port: number }>();
      if (!pods.has(row.key)) this.names.hold(node);
      this.hostPorts.set(node, ports.set(port, pods.set(row.key, { row, port: target })));
      this.stale.add(node);
      this.onHosts.set(owner, row);
      this.touchNode(row);
    }
  }

  private withdrawRest(row: Row): void {
    if (row.type === "node") for (const { address, bits } of rangesOf(row)) this.names.dropRange(address, bits);
    if (row.type === "service" || row.type === "node") this.names.drop(this.names.owner(this.ownerOf(row)));
    if (row.type !== "pod") return;
    if (row.cgroup !== undefined && this.mirrors.get(row.cgroup) === row.key) this.mirrors.delete(row.cgroup);
    if (row.finished) return;
    const owner = this.names.owner(this.ownerOf(row));
    this.names.drop(owner);
    if (this.onHosts.get(owner)?.key === row.key) this.onHosts.delete(owner);
    if (this.tellsPorts(row)) {
      if (this.telling.get(owner)?.key === row.key) this.telling.delete(owner);
      this.stale.add(owner);
    }
    for (const { port } of row.hostPorts ?? []) {
      const node = this.nodeOwner(row.node);
      const ports = this.hostPorts.get(node);
      const pods = ports?.get(port);
      if (pods?.delete(row.key)) {
        this.names.drop(node);
        this.stale.add(node);
        this.touchNode(row);
      }
      if (pods?.size === 0) ports?.delete(port);
      if (ports?.size === 0) this.hostPorts.delete(node);
    }
  }

  /** The kubelet probes the pods of its own node. */
  private tellsPorts(pod: PodRow): boolean {
    return (pod.probes !== undefined && this.isMine(pod)) || pod.ports.some(({ port }) => isEphemeral(port));
  }

  private nodeOwner(name: string): number {
    return this.names.owner(this.ownerOf({ type: "node", key: name, name, addresses: [], ranges: [] }));
  }

  /** The one pod that has a node's port. */
  private onHostPort(node: number, port: number): { row: PodRow; owner: number; port: number } | undefined {
    const pods = this.hostPorts.get(node)?.get(port);
    if (pods?.size !== 1) return undefined;
    const [pod] = pods.values();
    return pod && { ...pod, owner: this.names.owner(this.ownerOf(pod.row)) };
  }

  private indexSlice(key: string, before: EndpointSliceRow | undefined, after: EndpointSliceRow | undefined): void {
    if (before !== undefined) {
      const left = (this.slices.get(serviceOf(before)) ?? []).filter((slice) => slice.key !== key);
      if (left.length > 0) this.slices.set(serviceOf(before), left);
      else this.slices.delete(serviceOf(before));
    }
    if (after !== undefined) this.slices.set(serviceOf(after), [...(this.slices.get(serviceOf(after)) ?? []), after]);
    const was = new Set(before?.addresses);
    const is = new Set(after?.addresses);
    for (const address of was) if (!is.has(address)) this.unnameAddress(address, key);
    for (const address of is) {
      if (was.has(address)) continue;
      const others = this.namedBy.get(address);
      this.namedBy.set(address, others === undefined ? key : [others, key].flat());
    }
  }

  private unnameAddress(address: string, slice: string): void {
    const [first, ...others] = [this.namedBy.get(address) ?? []].flat().filter((key) => key !== slice);
    if (first === undefined) this.namedBy.delete(address);
    else this.namedBy.set(address, others.length === 0 ? first : [first, ...others]);
  }

  /** What hangs on the object itself. */
  private touch(row: Row): void {
    if (row.type === "service") this.dirty.add(row.key);
    else if (row.type === "slice") this.dirty.add(serviceOf(row));
    else if (row.type === "pod" && row.labels.length > 0) this.unselected.add(row.namespace);
  }

  /** What hangs on who has the address. */
  private touchAddress(address: string): void {
    for (const key of [this.namedBy.get(address) ?? []].flat()) {
      const slice = this.rows.slice.get(key);
      if (slice !== undefined) this.dirty.add(serviceOf(slice));
    }
  }

  /** What hangs on the ports that the pod has on its node. */
  private touchNode(pod: PodRow): void {
    for (const address of this.rows.node.get(pod.node)?.addresses ?? pod.addresses) this.touchAddress(address);
  }

  private time(wall: number | undefined): bigint | undefined {
    return wall === undefined ? undefined : this.bootTime(wall);
  }

  private endOf(row: Row): bigint | undefined {
    return this.time(row.type === "pod" ? row.endedAt : undefined);
  }

  private isMine(pod: PodRow): boolean {
    return this.node === undefined || pod.node === this.node;
  }

  private isIgnored(row: OwningRow): boolean {
    return row.type === "pod" && (row.ignored === true || this.ignored.includes(row.namespace));
  }

  private ownerOf(row: OwningRow): Owner {
    const { type, name } = row;
    switch (type) {
      case "pod": {
        const mine = this.isMine(row);
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

  private claim(address: string, row: Row, at: bigint): void {
    if (row.type === "slice") return;
    const claim = { row, owner: this.names.owner(this.ownerOf(row)) };
    const claims = this.claimsOn(address);
    const index = claims.findIndex((other) => isSame(other.row, row));
    if (index < 0) claims.push(claim);
    else claims[index] = claim;
    this.settle(address, claims, at);
  }

  private withdraw(address: string, row: Row, at: bigint): void {
    const holding = this.holdings.get(address);
    if (holding === undefined || row.type === "slice") return;
    if (isSame(holding.row, row)) holding.row = row;
    const others = this.claimsOn(address).filter((claim) => !isSame(claim.row, row));
    this.settle(address, others, at);
  }

  /** In the order in which they came. */
  private claimsOn(address: string): Claim[] {
    const holding = this.holdings.get(address);
    return holding === undefined ? [] : [...(holding.claims ?? [{ row: holding.row, owner: holding.owner }])];
  }

  /** Tells the core who has the address by these claims, where that is another than before. */
  private settle(address: string, claims: Claim[], at: bigint): void {
    const [first, ...others] = claims;
    const next = first && others.reduce((best, claim) => (beats(claim.row, best.row) ? claim : best), first);
    const several = others.length > 0 ? claims : undefined;
    const holding = this.holdings.get(address);
    if (next !== undefined && holding?.owner === next.owner) {
      // A pod made again elsewhere, of which both objects are known, may have kept its name and its address.
      if (nodeOf(next.row) !== nodeOf(holding.row)) this.assign(address, next, holding.since);
      holding.row = next.row;
      holding.claims = several;
      return;
    }
    if (holding !== undefined) {
      const ready = next?.row.type === "pod" ? next.row.readyAt : undefined;
      // By the end of the second that Kubernetes names: in it, the core tells the two apart by what it sees.
      const taken = this.time(ready === undefined ? undefined : ready + 1000);
      const end = latest(earliest(at, this.endOf(holding.row), taken), holding.since);
      this.holdings.delete(address);
      this.remember(address, end);
      this.names.release(toBytes(address), end);
      this.moved(address, holding.row);
    }
    if (next === undefined) return;
    const end = this.ends.get(address);
    // A kubelet's clock may be ahead of ours; that the pod has the address now is certain.
    const since = end === undefined ? 0n : latest(earliest(latest(end, this.time(startOf(next.row))), at), end);
    this.holdings.set(address, { row: next.row, owner: next.owner, since, claims: several });
    this.assign(address, next, since);
    this.moved(address, next.row);
  }

  private assign(address: string, { row, owner }: Claim, since: bigint): void {
    const node = nodeOf(row);
    this.names.assign(toBytes(address), owner, since, node === "" ? undefined : this.nodeOwner(node));
  }

  /** An address has come to this object, or gone from it. */
  private moved(address: string, row: OwningRow): void {
    this.touchAddress(address);
    if (row.type === "node") this.unselected.add("");
    else this.touch(row);
  }

  private remember(address: string, end: bigint): void {
    this.ends.delete(address);
    this.ends.set(address, end);
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
    for (const key of this.dirty) {
      if (seen > most) break;
      this.dirty.delete(key);
      this.untold.add(key);
      const row = this.rows.service.get(key);
      seen += 1;
      if (this.leaving.has(key)) for (const pair of this.pairsOf(key)) this.changed(ownerOfPair(pair), portOf(pair));
      else seen += this.serve(key, row === undefined ? [] : find(row));
    }
    for (const owner of this.stale) {
      this.stale.delete(owner);
      this.tellPortsOf(owner);
    }
    // After all of them: whether a backend has one Service is known only now.
    for (const key of this.untold) {
      this.untold.delete(key);
      this.tellService(key);
    }
    this.tellNodePorts();
    return this.dirty.size === 0;
  }

  private touchUnselected(): void {
    if (this.unselected.size === 0) return;
    const all = this.unselected.has("");
    for (const { key, namespace } of this.rows.service.values()) {
      if ((all || this.unselected.has(namespace)) && !this.slices.has(key)) this.dirty.add(key);
    }
    this.unselected.clear();
  }

  /**
   * Notes what a Service leads to, and whose ports that changes.
   *
   * @returns how many backends it has
   */
  private serve(key: string, targets: Target[]): number {
    const before = new Set(this.pairsOf(key));
    const after = new Set(targets.flatMap(({ pairs }) => pairs));
    for (const pair of before) if (!after.has(pair)) this.unlink(pair, key);
    for (const pair of after) if (!before.has(pair)) this.link(pair, key);
    if (targets.length > 0) this.targets.set(key, targets);
    else this.targets.delete(key);
    return after.size;
  }

  private link(pair: number, key: string): void {
    const owner = ownerOfPair(pair);
    const port = portOf(pair);
    this.changed(owner, port);
    this.servedBy.set(owner, { port, key, next: this.servedBy.get(owner) });
  }

  private unlink(pair: number, key: string): void {
    const owner = ownerOfPair(pair);
    const port = portOf(pair);
    const was = this.servedBy.get(owner);
    this.servedBy.delete(owner);
    for (let served = was; served !== undefined; served = served.next) {
      if (served.port === port && served.key === key) continue;
      this.servedBy.set(owner, { ...served, next: this.servedBy.get(owner) });
    }
    this.changed(owner, port);
  }

  /** Others that lead to the port are alone no more, or alone again. */
  private changed(owner: number, port: number): void {
    this.stale.add(owner);
    const onHost = this.onHosts.get(owner);
    if (onHost !== undefined) this.stale.add(this.nodeOwner(onHost.node));
    for (let served = this.servedBy.get(owner); served !== undefined; served = served.next) {
      if (served.port === port) this.untold.add(served.key);
    }
  }

  private tellPortsOf(owner: number): void {
    this.names.dropPorts(owner);
    const row = this.telling.get(owner);
    for (const { port } of row?.ports ?? []) if (isEphemeral(port)) this.names.port(owner, port, owner, port, "");
    const ports = new Set<number>(); // several Services may lead to one
    for (let served = this.servedBy.get(owner); served !== undefined; served = served.next) ports.add(served.port);
    for (const port of ports) {
      const service = this.onlyService(owner, port);
      if (service !== "" || isEphemeral(port)) this.names.port(owner, port, owner, port, service);
    }
    for (const port of this.hostPorts.get(owner)?.keys() ?? []) {
      const pod = this.onHostPort(owner, port);
      if (pod) this.names.port(owner, port, pod.owner, pod.port, this.onlyService(pod.owner, pod.port));
    }
    if (!row?.hostNetwork) for (const port of row?.probes ?? []) this.names.probe(owner, port);
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
    for (let served = this.servedBy.get(owner); served !== undefined; served = served.next) {
      if (served.port !== port) continue;
      const { key } = served;
      if (this.leaving.has(key)) {
        left = left === undefined ? key.slice(key.indexOf("/") + 1) : "";
        continue;
      }
      if (found !== "") return "";
      found = this.rows.service.get(key)?.name ?? "";
    }
    return found || (left ?? "");
  }

  /** A Service's addresses belong to an owner of its own, whose ports lead to what is behind it. */
  private tellService(key: string): void {
    const row = this.rows.service.get(key);
    if (row === undefined) {
      this.forgetService(key);
      return;
    }
    const owner = this.names.owner(this.ownerOf(row));
    const dialled = (target: Target) => row.addresses.length > 0 || target.nodePort !== undefined;
    const ports = (this.targets.get(key) ?? []).filter(dialled).map(({ port, nodePort, fallback, pairs, behind }) => {
      const numbers = new Set<number>();
      // The same name as the backends' own side gives, so that both sides' rows carry equal labels.
      let alone = true;
      for (const pair of pairs) {
        numbers.add(portOf(pair));
        alone &&= this.onlyService(ownerOfPair(pair), portOf(pair)) === row.name;
      }
      const [number = fallback] = numbers;
      const lead: Lead = [this.names.owner(behind), numbers.size > 1 ? port : number, alone ? row.name : ""];
      return { port, nodePort, lead };
    });
    const told = { owner, ports: JSON.stringify(ports) };
    const before = this.told.get(key);
    if (before?.owner === owner && before.ports === told.ports) return;
    this.forgetService(key);
    for (const { port, nodePort, lead } of ports) {
      if (row.addresses.length > 0) this.names.port(owner, port, ...lead);
      if (nodePort === undefined) continue;
      this.nodePorts.set(nodePort, { key, lead });
      this.nodePortsChanged = true;
    }
    if (ports.length > 0) this.told.set(key, told);
  }

  private forgetService(key: string): void {
    const told = this.told.get(key);
    if (told === undefined) return;
    for (const { nodePort } of JSON.parse(told.ports) as { nodePort?: number }[]) {
      if (nodePort === undefined || this.nodePorts.get(nodePort)?.key !== key) continue;
      this.nodePorts.delete(nodePort);
      this.nodePortsChanged = true;
    }
    // Its address is its own only for what dialled it before.
    if (!this.leaving.has(key)) this.dropService(key, told.owner);
  }

  private dropService(key: string, owner: number): void {
    this.names.dropPorts(owner);
    this.told.delete(key);
  }

  /** The Service with the labels of the workload behind it, where it is one; ignored where all behind it is. */
  private workloadBehind(row: ServiceRow, backends: OwningRow[]): Owner {
    const own = this.ownerOf(row);
    if (backends.length > 0 && backends.every((backend) => this.isIgnored(backend))) own.ignored = true;
    let found: Owner | undefined;
    for (const backend of backends) {
      if (found !== undefined && backend.type === "pod" && isOf(backend, found)) continue;
      const as = this.ownerOf(backend);
      found ??= as;
      if (as.namespace !== found.namespace || as.workload !== found.workload || as.kind !== found.kind) {
        return own;
      }
    }
    if (found === undefined) return own;
    const { namespace, workload, kind } = found;
    return { ...own, namespace, workload, kind };
  }

  /** What a Service's ports lead to, by its EndpointSlices, else by its selector. */
  private finder(): (row: ServiceRow) => Target[] {
    let pods: Map<string, PodRow[]> | undefined;
    const byLabel = new Map<string, Map<string, PodRow[]>>();
    /** A Service looks only at the pods that have its rarest label. */
    const select = ({ namespace, selector }: ServiceRow): PodRow[] => {
      if (selector.length === 0) return [];
      pods ??= Map.groupBy(this.rows.pod.values(), (pod) => pod.namespace);
      const labels = byLabel.get(namespace) ?? groupByLabel(pods.get(namespace) ?? []);
      byLabel.set(namespace, labels);
      const [rarest = []] = selector.map((label) => labels.get(label) ?? []).sort((a, b) => a.length - b.length);
      return rarest.filter((pod) => selector.every((label) => pod.labels.includes(label)));
    };
    return (row) => {
      const own = this.slices.get(row.key);
      const selected = own === undefined ? select(row).filter((pod) => !pod.finished) : [];
      return row.ports.map(({ name, port, target, nodePort }) => {
        const backends = new Map<number, OwningRow>();
        const add = (addresses: string[], number: number | undefined) => {
          if (number === undefined) return;
          for (const address of addresses) {
            const holding = this.holdings.get(address);
            if (holding === undefined || holding.row.type === "service") continue;
            const onHost = this.onHostPort(holding.owner, number);
            if (onHost === undefined) backends.set(pairOf(holding.owner, number), holding.row);
            else backends.set(pairOf(onHost.owner, onHost.port), onHost.row);
          }
        };
        for (const slice of own ?? []) add(slice.addresses, slice.ports.find((p) => p.name === name)?.port);
        for (const pod of selected) add(pod.addresses, numberOf(target, pod));
        const fallback = typeof target === "number" ? target : port;
        const behind = this.workloadBehind(row, [...backends.values()]);
        return { port, nodePort, fallback, pairs: [...backends.keys()], behind };
      });
    };
  }
}

const pairOf = (owner: number, port: number): number => owner * 65536 + port;
const ownerOfPair = (pair: number): number => Math.floor(pair / 65536);
const portOf = (pair: number): number => pair % 65536;
const isOf = (pod: PodRow, { namespace, workload, kind }: Owner): boolean =>
  pod.workload === workload && pod.namespace === namespace && pod.kind === kind;

const serviceOf = (slice: EndpointSliceRow): string => `${slice.namespace}/${slice.service}`;
const isSame = (a: Row, b: Row): boolean => a.key === b.key && a.type === b.type;
const startOf = (row: OwningRow): number | undefined =>
  row.type === "pod" ? (row.readyAt ?? row.startedAt) : undefined;

/** The name of the node that an object is on, or "". */
const nodeOf = (row: OwningRow): string => (row.type === "pod" ? row.node : row.type === "node" ? row.name : "");

function groupByLabel(pods: PodRow[]): Map<string, PodRow[]> {
  const groups = new Map<string, PodRow[]>();
  for (const pod of pods) {
    for (const label of pod.labels) {
      const group = groups.get(label);
      if (group === undefined) groups.set(label, [pod]);
      else group.push(pod);
    }
  }
  return groups;
}

/** A Service's target port as this pod has it. */
function numberOf(target: number | string, pod: PodRow): number | undefined {
  return typeof target === "number" ? target : pod.ports.find(({ name }) => name === target)?.port;
}

function addressesOf(row: Row): string[] {
  if (row.type === "slice") return [];
  // A pod on the host's network has its node's addresses.
  return row.type === "pod" && (row.finished || row.hostNetwork) ? [] : row.addresses;
}

/** It has probes, or declares a port that else would be taken for an ephemeral one. */
function rangesOf(row: NodeRow): Range[] {
  return row.ranges.map(rangeOf).filter((range) => range !== undefined);
}

/** Whether a claim that came later wins. */
function beats(later: OwningRow, best: OwningRow): boolean {
  if (RANK[later.type] !== RANK[best.type]) return RANK[later.type] > RANK[best.type];
  const [start, bestStart] = [startOf(later), startOf(best)];
  if (start === undefined || bestStart === undefined) return bestStart === undefined;
  return start >= bestStart;
}

function earliest(first: bigint, ...others: (bigint | undefined)[]): bigint {
  return others.reduce<bigint>((least, time) => (time !== undefined && time < least ? time : least), first);
}

function latest(first: bigint, second: bigint | undefined): bigint {
  return second !== undefined && second > first ? second : first;
}
