import { EMPTY, OTHER } from "./labels";
import { sweepLater } from "./links";
import { allocate, free, Numbers, table } from "./memory";

/** Who can be an end: each owner once, by its labels, and by a number. */

/** Types of owners; also the number of the owner that all unnamed addresses have. */
export const EXTERNAL: u32 = 0;
export const POD: u32 = 1;
export const NODE: u32 = 2;
export const SERVICE: u32 = 3;
/** The number of an owner whose ports are every node's. */
const ANY_NODE: u32 = 1;

/** What a port of an owner really is. */
@unmanaged
export class Port {
  owner: u32;
  port: u32;
  toOwner: u32;
  toPort: u32;
  service: u32;
  /** A probe of the kubelet goes there. */
  probed: u32;
  next: usize;
}

const PORT_KEY: usize = 8;
const ports = table();
const portKey = memory.data(8, 8);

@unmanaged
export class Owner {
  namespace: u32;
  name: u32;
  workload: u32;
  kind: u32;
  type: u32;
  mine: u16;
  /** Its connections are not to be posted. */
  ignored: u16;

  number: u32;
  /** Of a node: the number of its zone's text, 0 where nobody says. */
  zone: u32;
  /** The owner that stands for any of its kind. */
  other: u32;
  ports: usize;
  /** Objects and addresses that are its own: without any it is gone. */
  holds: u32;
  /** It was an end of a link. */
  used: u8;
  /** Something refers to it; how often in a row nothing did (collect.ts). */
  marked: u8;
  old: u8;
}

const OWNER_KEY: usize = 24;
const owners = table();
const numbers = changetype<Numbers>(memory.data(offsetof<Numbers>()));
/** Owners that were new since the last collection. */
export let newOwners: u32 = 0;

/** Objects may have kinds that somebody made up; so many are told apart where links share a row. */
const KINDS: usize = 64;
const kinds = memory.data(64 * 4);
let kindCount: usize = 0;

/** The number of an owner; the last four are texts. */
export function ownerNumber(
  type: u32,
  mine: u32,
  ignored: u32,
  namespace: u32,
  name: u32,
  workload: u32,
  kind: u32,
): u32 {
  const draft = changetype<Owner>(memory.data(offsetof<Owner>(), 8));
  draft.namespace = namespace;
  draft.name = name;
  draft.workload = workload;
  draft.kind = kind;
  draft.type = type;
  draft.mine = <u16>mine;
  draft.ignored = <u16>ignored;
  const known = owners.find(changetype<usize>(draft), OWNER_KEY);
  if (known) return changetype<Owner>(known).number;

  const owner = changetype<Owner>(allocate(offsetof<Owner>()));
  memory.copy(changetype<usize>(owner), changetype<usize>(draft), OWNER_KEY);
  owners.add(changetype<usize>(owner), OWNER_KEY);
  const number = numbers.give(changetype<usize>(owner));
  owner.number = number;
  newOwners++;
  if (number > ANY_NODE) setOther(owner);
  if (number == ANY_NODE) {
    setOther(ownerOf(EXTERNAL));
    setOther(owner);
  }
  return number;
}

/** Finds who stands for it where links share a row. */
function setOther(owner: Owner): void {
  const kind = knownKind(owner.kind);
  const named = owner.namespace != EMPTY || owner.name != OTHER || owner.workload != OTHER || owner.kind != kind;
  if (named || owner.mine || owner.ignored) {
    owner.other = ownerNumber(owner.type, 0, 0, EMPTY, OTHER, OTHER, kind);
  } else {
    owner.other = owner.number;
    hold(owner.number);
  }
}

/** The kind, or "other" for one beyond those that are told apart. Their texts stay, for they are of owners that do. */
function knownKind(kind: u32): u32 {
  for (let i: usize = 0; i < kindCount; i++) if (load<u32>(kinds + i * 4) == kind) return kind;
  if (kindCount == KINDS) return OTHER;
  store<u32>(kinds + kindCount++ * 4, kind);
  return kind;
}

export function ownerOf(number: u32): Owner {
  return changetype<Owner>(numbers.at(number));
}

/** Says which zone a node is in. */
export function setZone(number: u32, zone: u32): void {
  ownerOf(number).zone = zone;
}

export function hasOwner(number: u32): bool {
  return numbers.has(number);
}

export function ownerCount(): u32 {
  return owners.count;
}

/** All numbers of owners are below. */
export function ownerLimit(): u32 {
  return numbers.limit;
}

export function freeOwner(number: u32): void {
  const owner = changetype<usize>(ownerOf(number));
  owners.remove(owner, OWNER_KEY);
  numbers.take(number);
  free(owner, offsetof<Owner>());
}

export function countNewOwners(): void {
  newOwners = 0;
}

/** Something is its own. */
export function hold(number: u32): void {
  ownerOf(number).holds++;
}

/** That is its own no more. */
export function drop(number: u32): void {
  const owner = ownerOf(number);
  if (!--owner.holds && owner.used) sweepLater();
}

export function isGone(owner: Owner): bool {
  return !owner.holds;
}

function findPort(owner: u32, port: u32): usize {
  store<u32>(portKey, owner, 0);
  store<u32>(portKey, port, 4);
  return ports.find(portKey, PORT_KEY);
}

/** What `owner`'s port really is, or null. */
export function portOf(owner: u32, port: u32): Port | null {
  let found = findPort(owner, port);
  if (!found && ownerOf(owner).type == NODE) found = findPort(ANY_NODE, port);
  return changetype<Port | null>(found);
}

function madePort(owner: u32, port: u32): Port {
  const found = findPort(owner, port);
  if (found) return changetype<Port>(found);
  const at = allocate(offsetof<Port>());
  memory.copy(at, portKey, PORT_KEY);
  ports.add(at, PORT_KEY);
  const entry = changetype<Port>(at);
  entry.toOwner = owner;
  entry.toPort = port;
  entry.next = ownerOf(owner).ports;
  ownerOf(owner).ports = at;
  return entry;
}

/** Says what `owner`'s port really is; the last word counts. */
export function setPort(owner: u32, port: u32, toOwner: u32, toPort: u32, service: u32): void {
  const entry = madePort(owner, port);
  const before = entry.toOwner;
  if (toOwner != owner) hold(toOwner);
  if (before != owner) drop(before);
  entry.toOwner = toOwner;
  entry.toPort = toPort;
  entry.service = service;
}

/** Says that a probe of the kubelet goes to `owner`'s port. */
export function setProbe(owner: u32, port: u32): void {
  madePort(owner, port).probed = 1;
}

export function dropPorts(owner: u32): void {
  const row = ownerOf(owner);
  while (row.ports) {
    const at = row.ports;
    row.ports = changetype<Port>(at).next;
    if (changetype<Port>(at).toOwner != owner) drop(changetype<Port>(at).toOwner);
    ports.remove(at, PORT_KEY);
    free(at, offsetof<Port>());
  }
}

/** Marks the texts that ports refer to: a byte each. */
export function markPorts(bytes: usize): void {
  for (let slot: u32 = 0; slot <= ports.mask; slot++) {
    const at = ports.at(slot);
    if (at) store<u8>(bytes + changetype<Port>(at).service, 1);
  }
}
