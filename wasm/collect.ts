import { markAddresses } from "./addresses";
import { dropCgroups } from "./cgroups";
import { freeTexts, textLimit } from "./labels";
import { firstLink, Link } from "./links";
import { Area } from "./memory";
import { dropNetns } from "./netns";
import {
  countNewOwners,
  dropPorts,
  freeOwner,
  hasOwner,
  markPorts,
  newOwners,
  ownerCount,
  ownerLimit,
  ownerOf,
} from "./owners";
import { firstOf, LINK_ROWS, markRow, PORT_ROWS, Series } from "./series";

/**
 * Gives back the numbers of owners and texts that nothing refers to any more, and their memory: mark and sweep, for they
 * are referred to from everywhere, and go seldom.
 */

/** So many new owners are worth a look for those that are gone. */
const MANY: u32 = 1000;
const MINUTE: u64 = 60_000_000_000;
let collectedAt: u64 = 0;

const marks = changetype<Area>(memory.data(8));

/** An address forgets who had it so long ago, ns: a connection settles within the grace. */
const MEMORY: u64 = 300_000_000_000;

function cleared(bytes: usize): usize {
  const at = marks.reserve(bytes);
  memory.fill(at, 0, bytes);
  return at;
}

/** Where a quarter of the owners is new, but once a minute at most. */
export function collect(now: u64): void {
  if (newOwners < max(MANY, ownerCount() / 4) || now < collectedAt + MINUTE) return;
  collectedAt = now;
  collectOwners(now);
  countNewOwners();
  freeTexts(markTexts());
}

/** An owner goes at the second call that finds it gone and without a trace: what its last connections left has settled. */
function collectOwners(now: u64): void {
  markAddresses(now - min(now, MEMORY));
  for (let at = firstLink; at; at = changetype<Link>(at).next) {
    ownerOf(changetype<Link>(at).source).marked = 1;
    ownerOf(changetype<Link>(at).destination).marked = 1;
  }
  for (let rows: usize = 0; rows <= PORT_ROWS; rows++) {
    for (let at = firstOf(rows); at; at = changetype<Series>(at).next) ownerOf(changetype<Series>(at).owner).marked = 1;
  }
  let dying = false;
  for (let number: u32 = 0; number < ownerLimit(); number++) {
    if (!hasOwner(number)) continue;
    const owner = ownerOf(number);
    const kept = owner.holds || owner.marked;
    owner.marked = 0;
    owner.old = kept ? 0 : owner.old + 1;
    dying = dying || owner.old > 1;
  }
  if (!dying) return;
  dropNetns();
  dropCgroups();
  for (let number: u32 = 0; number < ownerLimit(); number++) {
    if (!hasOwner(number) || ownerOf(number).old <= 1) continue;
    dropPorts(number);
    freeOwner(number);
  }
}

/** A byte for each number of a text: 1 for those that are in use. */
function markTexts(): usize {
  const bytes = cleared(textLimit());
  for (let number: u32 = 0; number < ownerLimit(); number++) {
    if (!hasOwner(number)) continue;
    const owner = ownerOf(number);
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
