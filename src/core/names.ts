/** Who an end of a connection is, as the metrics name it. Labels are the raw text: whoever prints them escapes them. */
export interface Owner {
  type: "external" | "pod" | "node" | "service";
  /** Empty for nodes and external addresses. */
  namespace: string;
  name: string;
  /** Of pods: what created them (a Deployment's name); "external" for external addresses. */
  workload: string;
  /** Of the workload: Deployment, DaemonSet, Pod, Node, Service, External, ... */
  kind: string;
  /** It runs on the agent's own node. */
  mine: boolean;
  /** Its connections are not to be posted. */
  ignored?: boolean;
}

/** Whose ports are every node's: a node port. */
export const anyNode: Owner = { type: "node", namespace: "", name: "", workload: "", kind: "Node", mine: false };

/**
 * What the identities tell the core, in the order in which things happen. Addresses are 16 bytes, IPv4 as
 * v4-mapped IPv6, in network order; times are boot time in nanoseconds; an owner is the number that `owner` gave.
 */
export interface Names {
  /** The number of an owner: equal fields, equal number. External is 0, `anyNode` 1. */
  owner(o: Owner): number;
  /** An object has that owner from now on. One that no object and no address has is gone. */
  hold(owner: number): void;
  drop(owner: number): void;
  /** From `since` on the address is that owner's, on that node (external, where that is not known). */
  assign(address: Uint8Array, owner: number, since: bigint, node?: number): void;
  /** The node is in that zone; "" where nobody says. */
  zone(node: number, zone: string): void;
  /** From `at` on the address is nobody's. */
  release(address: Uint8Array, at: bigint): void;
  /** What the owner's port really is: another owner's port behind a Service, and the Service's name ("" if none). */
  port(owner: number, port: number, toOwner: number, toPort: number, service: string): void;
  /** A probe of the kubelet goes to the owner's port. */
  probe(owner: number, port: number): void;
  /** Forgets all ports of the owner. */
  dropPorts(owner: number): void;
  /**
   * The addresses that begin with those `bits` (of 128) are the owner's where nobody has one for himself; the longest
   * such range counts. `waits`: one of them may yet be somebody's own.
   */
  range(address: Uint8Array, bits: number, owner: number, waits: boolean): void;
  dropRange(address: Uint8Array, bits: number): void;
  /** The sockets of a cgroup are that pod's; "none": of no pod; "later": of a pod that has no name yet. */
  cgroup(id: bigint, owner: number | "none" | "later"): void;
  /** The names are complete for everything that happened until `at`; the greatest u64: nothing is left to wait for. */
  fresh(at: bigint): void;
}
