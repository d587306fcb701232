import { sweepLater } from "./links";
import { Area, allocate, free, table } from "./memory";

/**
 * Who can be an end: numbers for owners and for the texts of their labels. Both are given by src/core/core.ts, and are
 * places in a list. A text is {u32 length, bytes}, already escaped.
 */

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
  type: u32;
  mine: u32;
  /** Of a node: the number of its zone's text, 0 where nobody says. */
  zone: u32;
  /** Its connections are not to be posted. */
  ignored: u32;
  namespace: u32;
  name: u32;
  workload: u32;
  kind: u32;
  /** The owner that stands for any of its kind. */
  other: u32;
  ports: usize;
  /** Objects and addresses that are its own: without any it is gone. */
  holds: u32;
  /** It was an end of a link. */
  used: u32;
  /** Something refers to it; how often in a row nothing did (collect.ts). */
  marked: u32;
  old: u32;
}

const owners = changetype<Area>(memory.data(8));
const texts = changetype<Area>(memory.data(8));
export let ownerCount: u32 = 0;
export let textCount: u32 = 0;

function put(list: Area, number: u32, block: usize): void {
  if (<usize>(number + 1) * 4 > list.size) list.reserve(max<usize>(1024, list.size * 2), list.size);
  store<usize>(list.start + number * 4, block);
}

/** Keeps a text of that many bytes by a number that is free: one that was freed, or the next. */
export function addText(number: u32, bytes: usize, length: u32): void {
  const text = allocate(4 + length);
  store<u32>(text, length);
  memory.copy(text + 4, bytes, length);
  put(texts, number, text);
  textCount = max(textCount, number + 1);
}

export function freeText(number: u32): void {
  const text = textOf(number);
  put(texts, number, 0);
  free(text, 4 + load<u32>(text));
}

export function textOf(number: u32): usize {
  return load<usize>(texts.start + number * 4);
}

export function addOwner(
  number: u32,
  type: u32,
  mine: u32,
  ignored: u32,
  namespace: u32,
  name: u32,
  workload: u32,
  kind: u32,
): void {
  const owner = changetype<Owner>(allocate(offsetof<Owner>()));
  owner.type = type;
  owner.mine = mine;
  owner.ignored = ignored;
  owner.namespace = namespace;
  owner.name = name;
  owner.workload = workload;
  owner.kind = kind;
  put(owners, number, changetype<usize>(owner));
  ownerCount = max(ownerCount, number + 1);
}

export function hasOwner(number: u32): bool {
  return load<usize>(owners.start + number * 4) != 0;
}

export function freeOwner(number: u32): void {
  free(changetype<usize>(ownerOf(number)), offsetof<Owner>());
  put(owners, number, 0);
}

export function ownerOf(number: u32): Owner {
  return changetype<Owner>(load<usize>(owners.start + number * 4));
}

/** Says which zone a node is in. */
export function setZone(number: u32, zone: u32): void {
  ownerOf(number).zone = zone;
}

/** Says who stands for any owner of its kind. */
export function setOther(number: u32, other: u32): void {
  ownerOf(number).other = other;
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
