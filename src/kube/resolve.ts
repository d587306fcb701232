import { anyNode, type Names, type Owner } from "../core/names.ts";
import { type Range, rangeOf, toBytes } from "./address.ts";
import { podOf } from "./cgroups.ts";
import { type EndpointSliceRow, isEphemeral, type NodeRow, type PodRow, type Row, type ServiceRow } from "./parse.ts";

type RowType = Row["type"];

/** An object says that an address is its own. Of several, the highest rank wins, then the latest start. */
interface Claim {
  /** Type and key of the row. */
  by: string;
  rank: number;
  owner: number;
  as: Owner;
  /** All times are boot time in ns. From some moment after `start`; from `ready` on for certain; until `end`. */
  start: bigint | undefined;
  ready: bigint | undefined;
  end: bigint | undefined;
}

interface Holding {
  claim: Claim;
  since: bigint;
}

/** What a Service's port leads to: its own numbers, and the owners and ports behind it. */
interface Target {
  port: number;
  nodePort: number | undefined;
  /** The container's port while no backend is known. */
  fallback: number;
  /** By owner and port in one number. */
  backends: Map<number, { as: Owner; owner: number; port: number }>;
}

/** A node's address stays its own, whatever Service's load balancer or old pod names it, too. */
const RANK = { node: 2, pod: 1, service: 0 };
/** Past owners' ends are kept for so many addresses: enough for each that a /16 has, and some 10 MB at most. */
const ENDS_KEPT = 65_536;
/** Pods whose cgroups are remembered; a node has some hundred. */
const CGROUPS_KEPT = 4096;

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
  private readonly claims = new Map<string, Claim[]>();
  private readonly holdings = new Map<string, Holding>();
  private readonly ends = new Map<string, bigint>();

  /** Namespaces whose Services may lead elsewhere by now; "" stands for all. */
  private readonly dirty = new Set<string>();
  /** Per Service, its targets as they were told. */
  private readonly targets = new Map<string, Target[]>();
  /** Per Service, the numbers of its own owners and what the core was told of their ports. */
  private readonly told = new Map<string, { owner: number; ports: string }>();
  /** By number, the Service that has the port on every node, and where it leads. */
  private readonly nodePorts = new Map<number, { key: string; lead: Lead }>();
  private nodePortsChanged = false;
  /** Per node's owner and port, the pods that have it. */
  private readonly hostPorts = new Map<number, Map<number, Map<string, { as: Owner; port: number }>>>();
  /** Per pod's owner, its row, where that says something of its ports. */
  private readonly telling = new Map<number, PodRow>();
  /** Owners whose ports are to be told again. */
  private readonly stale = new Set<number>();
  /** The cgroups that were seen of each pod, by the kubelet's uid. */
  private readonly cgroups = new Map<string, bigint[]>();
  /** By the kubelet's uid of a static pod, the key of its mirror. */
  private readonly mirrors = new Map<string, string>();
  /** Per owner and port, the Services that lead to it. */
  private readonly servedBy = new Map<number, Map<number, Set<string>>>();

  /**
   * @param names    who is told
   * @param bootTime wall clock in milliseconds since 1970, to boot time in ns
   * @param node     the own node; undefined: every node is
   */
  constructor(
    private readonly names: Names,
    private readonly bootTime: (wall: number) => bigint,
    private readonly node?: string,
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
    for (const row of rows) if (ended(row)) this.take(row, at);
    for (const row of rows) if (!ended(row)) this.take(row, at);
    for (const type of Object.keys(seen) as RowType[]) {
      for (const key of this.rows[type].keys()) if (!seen[type].has(key)) this.drop(type, key, at);
    }
    this.tellPorts();
  }

  /** A cgroup was seen: its own name, then those of its parents. */
  cgroup(id: bigint, path: readonly string[]): void {
    const uid = podOf(path);
    if (uid === undefined) {
      this.names.cgroup(id, "none");
      return;
    }
    this.cgroups.set(uid, [...(this.cgroups.get(uid) ?? []), id]);
    if (this.cgroups.size > CGROUPS_KEPT) this.cgroups.delete([...this.cgroups.keys()][0] ?? "");
    const row = this.rows.pod.get(this.mirrors.get(uid) ?? uid);
    this.names.cgroup(id, row === undefined ? "later" : this.names.owner(this.ownerOf(row)));
  }

  /** All that happened until then has been told. */
  fresh(at: bigint): void {
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
    const claim = this.claimOf(row);
    const addresses = claim === undefined ? [] : addressesOf(row);
    for (const address of before === undefined ? [] : addressesOf(before)) {
      if (!addresses.includes(address)) this.withdraw(address, row, at); // with the end that it tells now
    }
    if (claim !== undefined) for (const address of addresses) this.claim(address, claim, at);
    if (before !== undefined) this.withdrawRest(before);
    this.claimRest(row);
    this.touch(row);
    if (before !== undefined) this.touch(before);
  }

  /** As `remove`, but ports are told later, by `tellPorts`. */
  drop(type: RowType, key: string, at: bigint): void {
    const row = this.rows[type].get(key);
    if (row === undefined) return;
    this.rows[type].delete(key);
    for (const address of addressesOf(row)) this.withdraw(address, row, at);
    this.withdrawRest(row);
    this.touch(row);
  }

  /** What else than addresses is an object's. */
  private claimRest(row: Row): void {
    if (row.type === "node") {
      const owner = this.nodeOwner(row.name);
      for (const { address, bits } of rangesOf(row)) this.names.range(address, bits, owner, true);
    }
    if (row.type === "service" || row.type === "node") this.names.hold(this.names.owner(this.ownerOf(row)));
    if (row.type !== "pod") return;
    const as = this.ownerOf(row);
    if (row.cgroup !== undefined) this.mirrors.set(row.cgroup, row.key);
    for (const id of this.cgroups.get(row.cgroup ?? row.key) ?? []) this.names.cgroup(id, this.names.owner(as));
    if (row.finished) return;
    const owner = this.names.owner(as);
    this.names.hold(owner);
    if (tellsPorts(row)) {
      this.telling.set(owner, row);
      this.stale.add(owner);
    }
    for (const { port, target } of row.hostPorts ?? []) {
      const node = this.nodeOwner(row.node);
      const ports = this.hostPorts.get(node) ?? new Map<number, Map<string, { as: Owner; port: number }>>();
      const pods = ports.get(port) ?? new Map<string, { as: Owner; port: number }>();
      if (!pods.has(row.key)) this.names.hold(node);
      this.hostPorts.set(node, ports.set(port, pods.set(row.key, { as, port: target })));
      this.stale.add(node);
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
    if (tellsPorts(row)) {
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
      }
      if (pods?.size === 0) ports?.delete(port);
      if (ports?.size === 0) this.hostPorts.delete(node);
    }
  }

  private nodeOwner(name: string): number {
    return this.names.owner(this.ownerOf({ type: "node", key: name, name, addresses: [], ranges: [] }));
  }

  /** The one pod that has a node's port. */
  private onHostPort(node: number, port: number): { as: Owner; owner: number; port: number } | undefined {
    const pods = this.hostPorts.get(node)?.get(port);
    if (pods?.size !== 1) return undefined;
    const [pod] = pods.values();
    return pod && { ...pod, owner: this.names.owner(pod.as) };
  }

  private touch(row: Row): void {
    if (row.type !== "node") this.dirty.add(row.namespace);
  }

  private claimOf(row: Row): Claim | undefined {
    if (row.type === "slice") return undefined;
    const as = this.ownerOf(row);
    const pod = row.type === "pod" ? row : undefined;
    return {
      by: `${row.type} ${row.key}`,
      rank: RANK[row.type],
      owner: this.names.owner(as),
      as,
      start: this.time(pod?.readyAt ?? pod?.startedAt),
      ready: this.time(pod?.readyAt),
      end: this.endOf(row),
    };
  }

  private time(wall: number | undefined): bigint | undefined {
    return wall === undefined ? undefined : this.bootTime(wall);
  }

  private endOf(row: Row): bigint | undefined {
    return this.time(row.type === "pod" ? row.endedAt : undefined);
  }

  private ownerOf(row: Exclude<Row, { type: "slice" }>): Owner {
    const { type, name } = row;
    switch (type) {
      case "pod": {
        const mine = this.node === undefined || row.node === this.node;
        const { namespace, workload, kind, ignored } = row;
        return { type, namespace, name, workload, kind, mine, ...(ignored && { ignored }) };
      }
      case "node": {
        const mine = this.node === undefined || name === this.node;
        return { type, namespace: "", name, workload: name, kind: "Node", mine };
      }
      case "service":
        return { type, namespace: row.namespace, name, workload: name, kind: "Service", mine: this.node === undefined };
    }
  }

  private claim(address: string, claim: Claim, at: bigint): void {
    const claims = this.claims.get(address) ?? [];
    const index = claims.findIndex(({ by }) => by === claim.by);
    if (index < 0) claims.push(claim);
    else claims[index] = claim;
    this.claims.set(address, claims);
    this.settle(address, at);
  }

  private withdraw(address: string, row: Row, at: bigint): void {
    const claims = this.claims.get(address) ?? [];
    const index = claims.findIndex(({ by }) => by === `${row.type} ${row.key}`);
    if (index < 0) return;
    const [claim] = claims.splice(index, 1);
    const holding = this.holdings.get(address);
    if (claim !== undefined && holding?.claim === claim) holding.claim = { ...claim, end: this.endOf(row) };
    if (claims.length === 0) this.claims.delete(address);
    this.settle(address, at);
  }

  /** Tells the core who has the address, where that is another than before. */
  private settle(address: string, at: bigint): void {
    const next = this.claims.get(address)?.reduce((best, claim) => (beats(claim, best) ? claim : best));
    const holding = this.holdings.get(address);
    if (next !== undefined && holding?.claim.owner === next.owner) {
      holding.claim = next;
      return;
    }
    if (holding !== undefined) {
      const end = latest(earliest(at, holding.claim.end, next?.ready), holding.since);
      this.holdings.delete(address);
      this.remember(address, end);
      this.names.release(toBytes(address), end);
      this.dirty.add(holding.claim.as.namespace);
    }
    if (next === undefined) return;
    const end = this.ends.get(address);
    // A kubelet's clock may be ahead of ours; that the pod has the address now is certain.
    const since = end === undefined ? 0n : latest(earliest(latest(end, next.start), at), end);
    this.holdings.set(address, { claim: next, since });
    this.names.assign(toBytes(address), next.owner, since);
    this.dirty.add(next.as.namespace);
  }

  private remember(address: string, end: bigint): void {
    this.ends.delete(address);
    this.ends.set(address, end);
    if (this.ends.size > ENDS_KEPT) for (const [oldest] of this.ends) return void this.ends.delete(oldest);
  }

  /** Tells the core the ports of whoever's have changed, looking again at all Services of the namespaces concerned. */
  tellPorts(): void {
    if (this.dirty.size === 0 && this.stale.size === 0) return;
    const isDirty = (namespace: string) => this.dirty.has("") || this.dirty.has(namespace);
    const services = [...this.rows.service.values()].filter((row) => isDirty(row.namespace));
    const find = this.finder();
    const owners = this.stale;
    for (const key of [...this.targets.keys()]) {
      if (!this.rows.service.has(key)) this.serve(key, [], owners);
    }
    for (const row of services) this.serve(row.key, find(row), owners);
    for (const owner of owners) this.tellPortsOf(owner);
    // After all of them: whether a backend has one Service is known only now.
    for (const key of [...this.told.keys()]) {
      if (!this.rows.service.has(key)) this.forgetService(key);
    }
    for (const row of services) this.tellService(row);
    this.tellNodePorts();
    this.dirty.clear();
    this.stale.clear();
  }

  /** Notes what a Service leads to, and whose ports that changes. */
  private serve(key: string, targets: Target[], changed: Set<number>): void {
    const pairs = (list: Target[]) => new Map(list.flatMap(({ backends }) => [...backends]));
    const before = pairs(this.targets.get(key) ?? []);
    const after = pairs(targets);
    for (const [pair, { owner, port }] of before) {
      if (after.has(pair)) continue;
      changed.add(owner);
      const ports = this.servedBy.get(owner);
      const users = ports?.get(port);
      users?.delete(key);
      if (users?.size === 0) ports?.delete(port);
      if (ports?.size === 0) this.servedBy.delete(owner);
    }
    for (const [pair, { owner, port }] of after) {
      if (before.has(pair)) continue;
      changed.add(owner);
      const ports = this.servedBy.get(owner) ?? new Map<number, Set<string>>();
      this.servedBy.set(owner, ports.set(port, (ports.get(port) ?? new Set()).add(key)));
    }
    if (targets.length > 0) this.targets.set(key, targets);
    else this.targets.delete(key);
  }

  private tellPortsOf(owner: number): void {
    this.names.dropPorts(owner);
    const row = this.telling.get(owner);
    for (const { port } of row?.ports ?? []) if (isEphemeral(port)) this.names.port(owner, port, owner, port, "");
    for (const port of this.servedBy.get(owner)?.keys() ?? []) {
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

  /** The name of the one Service that leads to an owner's port, else "". */
  private onlyService(owner: number, port: number): string {
    const users = this.servedBy.get(owner)?.get(port);
    if (users?.size !== 1) return "";
    const [key = ""] = users;
    return this.rows.service.get(key)?.name ?? "";
  }

  /** A Service's addresses belong to an owner of its own, whose ports lead to what is behind it. */
  private tellService(row: ServiceRow): void {
    const owner = this.names.owner(this.ownerOf(row));
    const dialled = (target: Target) => row.addresses.length > 0 || target.nodePort !== undefined;
    const ports = (this.targets.get(row.key) ?? []).filter(dialled).map(({ port, nodePort, fallback, backends }) => {
      const behind = [...backends.values()];
      const numbers = new Set(behind.map((backend) => backend.port));
      const [number = fallback] = numbers;
      // The same name as the backends' own side gives, so that both sides' rows carry equal labels.
      const alone = behind.every((backend) => this.onlyService(backend.owner, backend.port) === row.name);
      const lead: Lead = [this.workloadBehind(row, behind), numbers.size > 1 ? port : number, alone ? row.name : ""];
      return { port, nodePort, lead };
    });
    const told = { owner, ports: JSON.stringify(ports) };
    const before = this.told.get(row.key);
    if (before?.owner === owner && before.ports === told.ports) return;
    this.forgetService(row.key);
    for (const { port, nodePort, lead } of ports) {
      if (row.addresses.length > 0) this.names.port(owner, port, ...lead);
      if (nodePort === undefined) continue;
      this.nodePorts.set(nodePort, { key: row.key, lead });
      this.nodePortsChanged = true;
    }
    if (ports.length > 0) this.told.set(row.key, told);
  }

  private forgetService(key: string): void {
    const told = this.told.get(key);
    if (told === undefined) return;
    this.names.dropPorts(told.owner);
    for (const { nodePort } of JSON.parse(told.ports) as { nodePort?: number }[]) {
      if (nodePort === undefined || this.nodePorts.get(nodePort)?.key !== key) continue;
      this.nodePorts.delete(nodePort);
      this.nodePortsChanged = true;
    }
    this.told.delete(key);
  }

  /** An owner with the labels of the workload behind the Service, where it is one; else the Service itself. */
  private workloadBehind(row: ServiceRow, backends: { as: Owner }[]): number {
    const own = this.ownerOf(row);
    const [first, ...others] = backends;
    if (first === undefined) return this.names.owner(own);
    const { namespace, workload, kind } = first.as;
    const same = others.every(({ as }) => as.namespace === namespace && as.workload === workload && as.kind === kind);
    return this.names.owner(same ? { ...own, namespace, workload, kind } : own);
  }

  /** What a Service's ports lead to, by its EndpointSlices, else by its selector. */
  private finder(): (row: ServiceRow) => Target[] {
    const slices = Map.groupBy(this.rows.slice.values(), ({ namespace, service }) => `${namespace}/${service}`);
    const pods = Map.groupBy(this.rows.pod.values(), ({ namespace }) => namespace);
    const byLabel = new Map<string, Map<string, PodRow[]>>();
    /** A Service looks only at the pods that have its rarest label. */
    const select = ({ namespace, selector }: ServiceRow): PodRow[] => {
      if (selector.length === 0) return [];
      const labels = byLabel.get(namespace) ?? groupByLabel(pods.get(namespace) ?? []);
      byLabel.set(namespace, labels);
      const [rarest = []] = selector.map((label) => labels.get(label) ?? []).sort((a, b) => a.length - b.length);
      return rarest.filter((pod) => selector.every((label) => pod.labels.includes(label)));
    };
    return (row) => {
      const own = slices.get(row.key);
      const selected = own === undefined ? select(row).filter((pod) => !pod.finished) : [];
      return row.ports.map(({ name, port, target, nodePort }) => {
        const backends: Target["backends"] = new Map();
        const add = (addresses: string[], number: number | undefined) => {
          if (number === undefined) return;
          for (const address of addresses) {
            const claim = this.holdings.get(address)?.claim;
            if (claim === undefined || claim.as.type === "service") continue;
            const { as, owner } = claim;
            const backend = this.onHostPort(owner, number) ?? { as, owner, port: number };
            backends.set(backend.owner * 65536 + backend.port, backend);
          }
        };
        for (const slice of own ?? []) add(slice.addresses, slice.ports.find((p) => p.name === name)?.port);
        for (const pod of selected) add(pod.addresses, numberOf(target, pod));
        return { port, nodePort, fallback: typeof target === "number" ? target : port, backends };
      });
    };
  }
}

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
function tellsPorts({ probes, ports }: PodRow): boolean {
  return probes !== undefined || ports.some(({ port }) => isEphemeral(port));
}

function rangesOf(row: NodeRow): Range[] {
  return row.ranges.map(rangeOf).filter((range) => range !== undefined);
}

/** Whether a claim that came later wins. */
function beats(later: Claim, best: Claim): boolean {
  if (later.rank !== best.rank) return later.rank > best.rank;
  if (later.start === undefined || best.start === undefined) return best.start === undefined;
  return later.start >= best.start;
}

function earliest(first: bigint, ...others: (bigint | undefined)[]): bigint {
  return others.reduce<bigint>((least, time) => (time !== undefined && time < least ? time : least), first);
}

function latest(first: bigint, second: bigint | undefined): bigint {
  return second !== undefined && second > first ? second : first;
}
