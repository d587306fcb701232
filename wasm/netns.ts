import { Generation } from "./addresses";
import { allocate, free, table } from "./memory";
import { EXTERNAL, NODE, ownerOf } from "./owners";

/** Whose a network namespace is: its loopback's owner, and, of a node's, the owner of every address in it. */

@unmanaged
class Netns {
  netns: u64;
  owner: u32;
}

const owners = table();
const key = memory.data(8, 8);

/** The owner of a network namespace; external for one that nobody was seen to have. */
export function netnsOwner(netns: u32): u32 {
  store<u64>(key, netns);
  const row = owners.find(key, 8);
  return row ? changetype<Netns>(row).owner : EXTERNAL;
}

export function isNodes(netns: u32): bool {
  return ownerOf(netnsOwner(netns)).type == NODE;
}

export function setNetnsOwner(netns: u32, owner: u32): void {
  store<u64>(key, netns);
  let row = owners.find(key, 8);
  if (!row) {
    row = allocate(offsetof<Netns>());
    changetype<Netns>(row).netns = netns;
    owners.add(row, 8);
  }
  changetype<Netns>(row).owner = owner;
}

/** The generation is seen to live there. A proxy on a node may speak from a pod's address: a node's stays a node's. */
export function bind(generation: Generation, netns: u32): void {
  generation.netns = netns;
  if (ownerOf(generation.owner).type == NODE || !isNodes(netns)) setNetnsOwner(netns, generation.owner);
}

/** Forgets the network namespaces of owners that are about to go (collect.ts). */
export function dropNetns(): void {
  for (let slot: u32 = 0; slot <= owners.mask; slot++) {
    for (let at = owners.at(slot); at && ownerOf(changetype<Netns>(at).owner).old > 1; at = owners.at(slot)) {
      owners.remove(at, 8);
      free(at, offsetof<Netns>());
    }
  }
}
