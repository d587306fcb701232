import {
  assign,
  Generation,
  generationAt,
  isHost,
  isLoopback,
  isPublic,
  prefixKnown,
  release,
  setHost,
} from "./addresses";
import { endUnheard, forgetEnded, isClient, nextYoung, post, Unsettled } from "./connections";
import { counters } from "./counters";
import { CLIENT, Link, linkOf, SERVER, sink } from "./links";
import { allocate, table } from "./memory";
import { EXTERNAL, ownerOf, portOf } from "./owners";

/**
 * Who the two ends of a connection are is decided once, some time after its birth, with what the names say by then. An
 * address that nobody has named waits until the names are proven newer than the connection: post late, never take back.
 */

/** No owner yet: ask again. */
const LATER: u32 = 0xffffffff;
/** The names must be known to be complete until this long after the connection's birth, ns. */
const PROOF: u64 = 5_000_000_000;

@unmanaged
class Netns {
  netns: u64;
  owner: u32;
}

const netnsOwners = table();
const netnsKey = memory.data(8, 8);
/** Connections whose local end is not of this node. */
const foreign = sink();

let settleTime: u64 = 0;
let grace: u64 = 0;
let refresh: u32 = 1;
let onlyMine: bool = false;
let freshUntil: u64 = 0;
let hostNetns: u32 = 0;
let hostOwner: u32 = EXTERNAL;
let lastSweep: u32 = 0;

let firstWaiting: usize = 0;
/** The names changed, so that one that waits may have one now. */
let changed: bool = false;
/** When the first that waits has waited long enough. */
let deadline: u64 = u64.MAX_VALUE;

export function configure(settle: u64, longest: u64, sweeps: u32, mine: bool): void {
  settleTime = settle;
  grace = longest;
  refresh = sweeps;
  onlyMine = mine;
}

export function assigned(address: usize, owner: u32, since: u64): void {
  assign(address, owner, since);
  changed = true;
}

export function released(address: usize, at: u64): void {
  release(address, at);
  changed = true;
}

export function fresh(at: u64): void {
  freshUntil = at;
  changed = true;
}

export function host(netns: u32, owner: u32): void {
  hostNetns = netns;
  hostOwner = owner;
  changed = true;
}

/** Decides all that is due at `now` (boot time in ns), after the records of sweep number `sweep` came in. */
export function settle(now: u64, sweep: u32): void {
  forgetEnded();
  if (changed || now >= deadline) retry(now);
  if (now >= settleTime) {
    for (let next = nextYoung(now - settleTime); next; next = nextYoung(now - settleTime)) {
      if (!decide(next, now)) wait(next);
    }
  }
  if (sweep != lastSweep) endUnheard(sweep, refresh);
  lastSweep = sweep;
}

function wait(unsettled: Unsettled): void {
  unsettled.next = firstWaiting;
  firstWaiting = changetype<usize>(unsettled);
  deadline = min(deadline, unsettled.born + grace);
  counters.waiting++;
}

function retry(now: u64): void {
  let at = firstWaiting;
  firstWaiting = 0;
  deadline = u64.MAX_VALUE;
  changed = false;
  counters.waiting = 0;
  while (at) {
    const unsettled = changetype<Unsettled>(at);
    at = unsettled.next;
    if (!decide(unsettled, now)) wait(unsettled);
  }
}

/** Posts the connection if both its ends are known. */
function decide(unsettled: Unsettled, now: u64): bool {
  const local = localOwner(unsettled, now);
  if (local == LATER) return false;
  if (onlyMine && !ownerOf(local).mine) {
    counters.foreign++;
    post(unsettled, foreign);
    return true;
  }
  const remote = remoteOwner(unsettled, local, now);
  if (remote == LATER) return false;

  const client = isClient(unsettled);
  const source = client ? local : remote;
  let destination = client ? remote : local;
  let port: u32 = client ? unsettled.remotePort : unsettled.localPort;
  let service: u32 = 0;
  const real = portOf(destination, port);
  if (real) {
    destination = real.toOwner;
    port = real.toPort;
    service = real.service;
  }
  post(unsettled, linkOf(source, destination, port, client ? CLIENT : SERVER, service, now));
  return true;
}

function localOwner(unsettled: Unsettled, now: u64): u32 {
  const address = changetype<usize>(unsettled) + offsetof<Unsettled>("local0");
  if (isLoopback(address)) return netnsOwner(unsettled.netns);
  const generation = generationAt(address, unsettled.born);
  if (generation) {
    if (generation.netns != unsettled.netns && unsettled.netns) {
      // Another namespace has the address now and the names have not said so: only names newer than that may insist.
      if (generation.netns && freshUntil < unsettled.born + PROOF) {
        return now < unsettled.born + grace ? LATER : EXTERNAL;
      }
      bind(generation, unsettled.netns);
    }
    return generation.owner;
  }
  if (hostNetns && unsettled.netns == hostNetns) {
    if (!isHost(address)) {
      setHost(address);
      changed = true;
    }
    return hostOwner;
  }
  return unknownOwner(address, unsettled, now);
}

function remoteOwner(unsettled: Unsettled, local: u32, now: u64): u32 {
  const address = changetype<usize>(unsettled) + offsetof<Unsettled>("remote0");
  if (isLoopback(address)) return local;
  const generation = generationAt(address, unsettled.born);
  return generation ? generation.owner : unknownOwner(address, unsettled, now);
}

function unknownOwner(address: usize, unsettled: Unsettled, now: u64): u32 {
  if (isHost(address)) return hostOwner;
  if (freshUntil >= unsettled.born + PROOF || now >= unsettled.born + grace) return EXTERNAL;
  return isPublic(address) && !prefixKnown(address) ? EXTERNAL : LATER;
}

/** The generation is seen to live in that network namespace, whose loopback is its owner's too. */
function bind(generation: Generation, netns: u32): void {
  generation.netns = netns;
  store<u64>(netnsKey, netns);
  let row = netnsOwners.find(netnsKey, 8);
  if (!row) {
    row = allocate(offsetof<Netns>());
    changetype<Netns>(row).netns = netns;
    netnsOwners.add(row, 8);
  }
  changetype<Netns>(row).owner = generation.owner;
}

function netnsOwner(netns: u32): u32 {
  if (hostNetns && netns == hostNetns) return hostOwner;
  store<u64>(netnsKey, netns);
  const row = netnsOwners.find(netnsKey, 8);
  return row ? changetype<Netns>(row).owner : EXTERNAL;
}

export function countForeign(): void {
  counters.foreignBytes = foreign.sent + foreign.received;
}
