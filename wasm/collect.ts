import { markAddresses } from "./addresses";
import { dropCgroups } from "./cgroups";
import { firstLink, Link } from "./links";
import { Area } from "./memory";
import { dropNetns } from "./netns";
import { dropPorts, freeOwner, hasOwner, markPorts, Owner, ownerCount, ownerOf, textCount } from "./owners";
import { firstOf, LINK_ROWS, markRow, PORT_ROWS, Series } from "./series";

/**
 * Gives back the numbers of owners and texts that nothing refers to any more, and their memory: mark and sweep, for they
 * are referred to from everywhere, and go seldom.
 */

const freed = changetype<Area>(memory.data(8));

/** An address forgets who had it so long ago, ns: a connection settles within the grace. */
const MEMORY: u64 = 300_000_000_000;

function cleared(bytes: usize): usize {
  const at = freed.reserve(bytes);
  memory.fill(at, 0, bytes);
  return at;
}

/**
 * A byte for each number of an owner: 1 for those that go now. An owner goes at the second call that finds it gone and
 * without a trace, and calls are a minute apart: what its last connections left has settled by then.
 */
export function collectOwners(now: u64): usize {
  markAddresses(now - min(now, MEMORY));
  for (let at = firstLink; at; at = changetype<Link>(at).next) {
    ownerOf(changetype<Link>(at).source).marked = 1;
    ownerOf(changetype<Link>(at).destination).marked = 1;
  }
  for (let rows: usize = 0; rows <= PORT_ROWS; rows++) {
    for (let at = firstOf(rows); at; at = changetype<Series>(at).next) ownerOf(changetype<Series>(at).owner).marked = 1;
  }
  const bytes = cleared(ownerCount);
  let dying = false;
  for (let number: u32 = 0; number < ownerCount; number++) {
    if (!hasOwner(number)) continue;
    const owner = ownerOf(number);
    const kept = owner.holds || owner.marked;
    owner.marked = 0;
    if (kept) owner.old = 0;
    else if (owner.old++) store<u8>(bytes + number, 1);
    dying = dying || (!kept && owner.old > 1);
  }
  if (!dying) return bytes;
  dropNetns();
  dropCgroups();
  for (let number: u32 = 0; number < ownerCount; number++) {
    if (!load<u8>(bytes + number)) continue;
    dropPorts(number);
    freeOwner(number);
  }
  return bytes;
}

/** A byte for each number of a text: 1 for those that are in use. */
export function markTexts(): usize {
  const bytes = cleared(textCount);
  for (let number: u32 = 0; number < ownerCount; number++) {
    if (!hasOwner(number)) continue;
    const owner: Owner = ownerOf(number);
    store<u8>(bytes + owner.namespace, 1);
    store<u8>(bytes + owner.name, 1);
    store<u8>(bytes + owner.workload, 1);
    store<u8>(bytes + owner.kind, 1);
    store<u8>(bytes + owner.zone, 1);
  }
  markPorts(bytes);
  for (let at = firstLink; at; at = changetype<Link>(at).next) store<u8>(bytes + changetype<Link>(at).service, 1);
  for (let rows: usize = 0; rows <= LINK_ROWS; rows++) {
    for (let at = firstOf(rows); at; at = changetype<Series>(at).next) markRow(at, bytes);
  }
  return bytes;
}
