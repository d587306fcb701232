import { Area, allocate, free } from "./memory";

/**
 * Who can be an end: numbers for owners and for the texts of their labels. Both are given by src/core/core.ts in order,
 * so that a number is a place in a list. A text is {u32 length, bytes}, already escaped.
 */

export const EXTERNAL: u32 = 0;
export const POD: u32 = 1;

/** What a port of an owner really is. */
@unmanaged
export class Port {
  next: usize;
  port: u32;
  toOwner: u32;
  toPort: u32;
  service: u32;
}

@unmanaged
export class Owner {
  type: u32;
  mine: u32;
  namespace: u32;
  name: u32;
  workload: u32;
  kind: u32;
  ports: usize;
}

const owners = changetype<Area>(memory.data(8));
const texts = changetype<Area>(memory.data(8));
let ownerCount: u32 = 0;
let textCount: u32 = 0;

function append(list: Area, count: u32, block: usize): void {
  if (<usize>(count + 1) * 4 > list.size) list.reserve(max<usize>(1024, list.size * 2), list.size);
  store<usize>(list.start + count * 4, block);
}

/** Keeps a text of that many bytes. */
export function addText(bytes: usize, length: u32): void {
  const text = allocate(4 + length);
  store<u32>(text, length);
  memory.copy(text + 4, bytes, length);
  append(texts, textCount++, text);
}

export function textOf(number: u32): usize {
  return load<usize>(texts.start + number * 4);
}

export function addOwner(type: u32, mine: u32, namespace: u32, name: u32, workload: u32, kind: u32): void {
  const owner = changetype<Owner>(allocate(offsetof<Owner>()));
  owner.type = type;
  owner.mine = mine;
  owner.namespace = namespace;
  owner.name = name;
  owner.workload = workload;
  owner.kind = kind;
  append(owners, ownerCount++, changetype<usize>(owner));
}

export function ownerOf(number: u32): Owner {
  return changetype<Owner>(load<usize>(owners.start + number * 4));
}

/** What `owner`'s port really is, or null. */
export function portOf(owner: u32, port: u32): Port | null {
  let at = ownerOf(owner).ports;
  while (at && changetype<Port>(at).port != port) at = changetype<Port>(at).next;
  return changetype<Port | null>(at);
}

/** Says what `owner`'s port really is; the last word counts. */
export function setPort(owner: u32, port: u32, toOwner: u32, toPort: u32, service: u32): void {
  let entry = portOf(owner, port);
  if (!entry) {
    entry = changetype<Port>(allocate(offsetof<Port>()));
    entry.port = port;
    entry.next = ownerOf(owner).ports;
    ownerOf(owner).ports = changetype<usize>(entry);
  }
  entry.toOwner = toOwner;
  entry.toPort = toPort;
  entry.service = service;
}

export function dropPorts(owner: u32): void {
  const row = ownerOf(owner);
  while (row.ports) {
    const next = changetype<Port>(row.ports).next;
    free(row.ports, offsetof<Port>());
    row.ports = next;
  }
}
