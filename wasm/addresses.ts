import { counters } from "./counters";
import { allocate, free, table } from "./memory";
import { drop, EXTERNAL, hold, ownerOf } from "./owners";
import { PLACE, recent } from "./recent";

/**
 * Who held an address, and when. A generation is an address while one owner held it: [from, until), until 0 while it
 * lasts. Addresses are 16 bytes in network order, IPv4 as v4-mapped IPv6.
 */

@unmanaged
export class Generation {
  from: u64;
  until: u64;
  older: usize;
  owner: u32;
  /** The network namespace that was seen to hold it, 0 before the first. */
  netns: u32;
  /** The node that it is on, external where nobody says. */
  node: u32;
}

@unmanaged
class Address {
  high: u64;
  low: u64;
  newest: usize;
  /** What was seen of its sockets; 0 for most, which are other nodes'. */
  sight: usize;
  /** The node in whose network namespace it was seen, else external. */
  host: u32;
}

@unmanaged
class Sight {
  /** The births of the first and last socket of the network namespace that was seen to have the address last. */
  since: u64;
  latest: u64;
  /** The birth of the last socket that another network namespace had at it before, 0 if none had. */
  before: u64;
  netns: u32;
}

@unmanaged
class Prefix {
  key: u64;
}

/** Addresses that have an owner together, where nobody has one of them for himself. */
@unmanaged
export class Range {
  high: u64;
  low: u64;
  bits: u64;
  owner: u32;
  /** One of them may yet be somebody's own: it is the owner's only once that is known not to be so. */
  waits: u32;
}

const RANGE_KEY: usize = 24;
const ranges = table();
const rangeKey = memory.data(24, 8);
/** Ranges by their length in bits, u32 each. */
const lengths = memory.data(129 * 4);

/** A connection settles within the grace, and no address changes hands so often in it. */
const GENERATIONS: u32 = 4;

const addresses = table();
/** Those that were waited for once, and in vain: just the address. */
const externals = recent(16, 16 + PLACE);
const prefixes = table();
const V4_MAPPED: u64 = 0xffff0000;

function v4(address: usize): bool {
  return !load<u64>(address) && (load<u64>(address, 8) & 0xffffffff) == V4_MAPPED;
}

/** 127/8 or ::1. */
export function isLoopback(address: usize): bool {
  if (load<u64>(address)) return false;
  const low = load<u64>(address, 8);
  return low == 0x0100000000000000 || ((low & 0xffffffff) == V4_MAPPED && load<u8>(address, 12) == 127);
}

/** Not of a range that is private, shared or link-local. */
export function isPublic(address: usize): bool {
  if (v4(address)) {
    const a = load<u8>(address, 12);
    const b = load<u8>(address, 13);
    if (a == 10 || (a == 192 && b == 168) || (a == 169 && b == 254)) return false;
    return !(a == 172 && b >> 4 == 1) && !(a == 100 && b >> 6 == 1);
  }
  const a = load<u8>(address);
  return (a & 0xfe) != 0xfc && !(a == 0xfe && load<u8>(address, 1) >> 6 == 2);
}

const prefixKey = memory.data(8, 8);

/** Its /16 (IPv4) or /48 (IPv6). */
function prefixOf(address: usize): usize {
  store<u64>(
    prefixKey,
    v4(address) ? 0xffff000000000000 | <u64>load<u16>(address, 12) : load<u64>(address) & 0x0000ffffffffffff,
  );
  return prefixKey;
}

/** Whether an address of its prefix was ever anybody's. */
export function prefixKnown(address: usize): bool {
  return prefixes.find(prefixOf(address), 8) != 0;
}

function get(address: usize): Address {
  let row = changetype<Address>(addresses.find(address, 16));
  if (!changetype<usize>(row)) {
    row = changetype<Address>(allocate(offsetof<Address>()));
    memory.copy(changetype<usize>(row), address, 16);
    addresses.add(changetype<usize>(row), 16);
  }
  return row;
}

/** The generation that an address was in at that time, or null. */
export function generationAt(address: usize, time: u64): Generation | null {
  const row = addresses.find(address, 16);
  let at = row ? changetype<Address>(row).newest : 0;
  while (at) {
    const generation = changetype<Generation>(at);
    if (generation.from <= time && (!generation.until || time < generation.until)) break;
    at = generation.older;
  }
  return changetype<Generation | null>(at);
}

/**
 * A socket that was born then has the address in that network namespace. Where another one had it before, its owner's
 * time ended between that one's last socket and this one's first, whatever second Kubernetes names.
 */
export function seenAt(address: usize, born: u64, netns: u32): void {
  const row = get(address);
  if (!row.sight) row.sight = allocate(offsetof<Sight>());
  const sight = changetype<Sight>(row.sight);
  let was = boundary(sight);
  if (sight.netns == netns) {
    sight.latest = max(sight.latest, born);
    if (born > sight.before) sight.since = min(sight.since, born);
  } else if (born < sight.since) {
    sight.before = max(sight.before, born);
  } else {
    sight.before = sight.latest;
    sight.netns = netns;
    sight.since = born;
    sight.latest = born;
    was = 0; // another pair of owners
  }
  if (sight.before && boundary(sight) != was) cut(row, sight, was);
}

/** A client is born a moment before its server's end, so the peers of both sockets fall on their own side of the middle. */
function boundary(sight: Sight): u64 {
  return sight.before + (sight.since - sight.before) / 2;
}

/** Ends the generation that was told to end later, or ended at `was` by what had been seen until now. */
function cut(row: Address, sight: Sight, was: u64): void {
  const end = boundary(sight);
  let newer: usize = 0;
  for (let at = row.newest; at; at = changetype<Generation>(at).older) {
    const generation = changetype<Generation>(at);
    const until = generation.until;
    if (until != 0 && hadBoth(sight, generation) && (until == was || until >= sight.since)) {
      if (newer && changetype<Generation>(newer).from == until) changetype<Generation>(newer).from = end;
      generation.until = end;
    }
    newer = at;
  }
}

/** Whether two network namespaces have had the address since it came to its owner. */
function hadBoth(sight: Sight, generation: Generation): bool {
  return sight.before != 0 && generation.from <= sight.before;
}

/** Whether a socket that was born then may be of another owner, whom the names do not know yet. */
export function isContested(address: usize, generation: Generation, born: u64): bool {
  const sight = changetype<Sight | null>(changetype<Address>(addresses.find(address, 16)).sight);
  return sight !== null && hadBoth(sight, generation) && born > sight.before && born >= boundary(sight);
}

/** One owner had the address in both network namespaces. */
export function uncontest(address: usize): void {
  changetype<Sight>(get(address).sight).before = 0;
}

/** The node in whose network namespace the address was seen, else external. */
export function hostOf(address: usize): u32 {
  const row = addresses.find(address, 16);
  return row ? changetype<Address>(row).host : EXTERNAL;
}

export function setHost(address: usize, owner: u32): void {
  get(address).host = owner;
}

/** Whether it was waited for, and nobody has had it since. */
export function isExternal(address: usize): bool {
  return externals.find(address) != 0;
}

export function setExternal(address: usize): void {
  externals.get(address);
}

/** The address's first `bits` bits, as a key. */
function rangeOf(address: usize, bits: u32): usize {
  const high = bits >= 64 ? u64.MAX_VALUE : bits ? u64.MAX_VALUE << (64 - bits) : 0;
  const low = bits > 64 ? u64.MAX_VALUE << (128 - bits) : 0;
  store<u64>(rangeKey, load<u64>(address) & bswap<u64>(high), 0);
  store<u64>(rangeKey, load<u64>(address, 8) & bswap<u64>(low), 8);
  store<u64>(rangeKey, bits, 16);
  return rangeKey;
}

export function setRange(address: usize, bits: u32, owner: u32, waits: u32): void {
  let row = ranges.find(rangeOf(address, bits), RANGE_KEY);
  if (!row) {
    row = allocate(offsetof<Range>());
    memory.copy(row, rangeKey, RANGE_KEY);
    ranges.add(row, RANGE_KEY);
    store<u32>(lengths + bits * 4, load<u32>(lengths + bits * 4) + 1);
  } else {
    drop(changetype<Range>(row).owner);
  }
  hold(owner);
  changetype<Range>(row).owner = owner;
  changetype<Range>(row).waits = waits;
}

export function dropRange(address: usize, bits: u32): void {
  const row = ranges.find(rangeOf(address, bits), RANGE_KEY);
  if (!row) return;
  drop(changetype<Range>(row).owner);
  ranges.remove(row, RANGE_KEY);
  free(row, offsetof<Range>());
  store<u32>(lengths + bits * 4, load<u32>(lengths + bits * 4) - 1);
}

/** The longest range that has the address, or null. */
export function rangeAt(address: usize): Range | null {
  const shortest = v4(address) ? 96 : 0;
  for (let bits = 128; bits >= shortest; bits--) {
    if (!load<u32>(lengths + bits * 4)) continue;
    const row = ranges.find(rangeOf(address, bits), RANGE_KEY);
    if (row) return changetype<Range>(row);
  }
  return null;
}

/** From `since` on, or from the end of whoever held it before, the address is the owner's, on that node. */
export function assign(address: usize, owner: u32, since: u64, node: u32): void {
  const row = get(address);
  const external = externals.find(address);
  if (external) externals.remove(external);
  if (!prefixes.find(prefixOf(address), 8)) {
    const prefix = changetype<Prefix>(allocate(offsetof<Prefix>()));
    prefix.key = load<u64>(prefixKey);
    prefixes.add(changetype<usize>(prefix), 8);
  }

  let from = since;
  if (row.newest) {
    const before = changetype<Generation>(row.newest);
    if (!before.until) {
      if (before.owner == owner) {
        before.node = node;
        return;
      }
      release(address, since);
    }
    const sight = changetype<Sight | null>(row.sight);
    const wasCut = sight !== null && hadBoth(sight, before) && before.until == boundary(sight);
    from = wasCut ? before.until : max(since, before.until);
  }
  const generation = changetype<Generation>(allocate(offsetof<Generation>()));
  generation.from = from;
  generation.owner = owner;
  generation.node = node;
  hold(owner);
  counters.addressesNamed++;
  generation.older = row.newest;
  row.newest = changetype<usize>(generation);

  let last = generation;
  for (let kept: u32 = 1; kept < GENERATIONS && last.older; kept++) last = changetype<Generation>(last.older);
  if (last.older) {
    free(last.older, offsetof<Generation>());
    last.older = 0;
  }
}

/** From `at` on the address is nobody's. */
export function release(address: usize, at: u64): void {
  const row = changetype<Address>(addresses.find(address, 16));
  if (!changetype<usize>(row) || !row.newest) return;
  const generation = changetype<Generation>(row.newest);
  if (generation.until) return;
  const sight = changetype<Sight | null>(row.sight);
  const end = sight !== null && hadBoth(sight, generation) ? min(at, boundary(sight)) : at;
  generation.until = max<u64>(max(end, generation.from), 1);
  drop(generation.owner);
  counters.addressesNamed--;
}

export function countExternals(): void {
  counters.addressesExternal = externals.rows.count;
}

/** Marks the owners that addresses refer to, and forgets those that had one last before `time`. */
export function markAddresses(time: u64): void {
  for (let slot: u32 = 0; slot <= addresses.mask; slot++) {
    for (let at = addresses.at(slot); at; at = addresses.at(slot)) {
      const address = changetype<Address>(at);
      forgetBefore(at + offsetof<Address>("newest"), time);
      if (address.newest || address.host != EXTERNAL) {
        mark(address);
        break;
      }
      // Another moves into its slot.
      addresses.remove(at, 16);
      if (address.sight) free(address.sight, offsetof<Sight>());
      free(at, offsetof<Address>());
    }
  }
}

function mark(address: Address): void {
  ownerOf(address.host).marked = 1;
  for (let at = address.newest; at; at = changetype<Generation>(at).older) {
    ownerOf(changetype<Generation>(at).owner).marked = 1;
    ownerOf(changetype<Generation>(at).node).marked = 1;
  }
}

/** Frees the generations that ended before, from the list that begins at `head`. */
function forgetBefore(head: usize, time: u64): void {
  let at = load<usize>(head);
  while (at) {
    const generation = changetype<Generation>(at);
    if (generation.until && generation.until < time) {
      store<usize>(head, generation.older);
      free(at, offsetof<Generation>());
    } else {
      head = at + offsetof<Generation>("older");
    }
    at = load<usize>(head);
  }
}
