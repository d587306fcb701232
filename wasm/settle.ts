import {
  assign,
  dropRange,
  generationAt,
  hostOf,
  isContested,
  isExternal,
  isLoopback,
  isPublic,
  prefixKnown,
  rangeAt,
  release,
  setExternal,
  setHost,
  setRange,
  uncontest,
} from "./addresses";
import { cgroupOf, NAMELESS, NO_POD, OF_POD, tellCgroup } from "./cgroups";
import {
  endUnheard,
  forgetEnded,
  isClient,
  isEnded,
  isFailed,
  nextYoung,
  post,
  postLoopback,
  setSettle,
  Unsettled,
} from "./connections";
import { counters } from "./counters";
import { FROM_NODE, forgetLegs, innerOf, legOf, REDIRECTED, SEVERAL } from "./legs";
import { CLIENT, EPHEMERAL, linkOf, PROBE, SERVER, sink } from "./links";
import { bind, netnsOwner, setNetnsOwner } from "./netns";
import { EXTERNAL, NODE, ownerOf, portOf, SERVICE, setZone } from "./owners";
import { scopeOf, UNKNOWN } from "./scope";

/**
 * Who the two ends of a connection are is decided once, some time after its birth, with what the names say by then. An
 * address that nobody has named waits until the names are proven newer than the connection: post late, never take back.
 */

/** No owner yet: ask again. */
const LATER: u32 = 0xffffffff;
/** The names must be known to be complete until this long after the connection's birth, ns. */
const PROOF: u64 = 5_000_000_000;

/** Where a mesh's proxy takes what comes to its pod, whatever the port: Istio's, Linkerd's. */
function isInboundProxy(port: u32): bool {
  return port == 15006 || port == 4143;
}

/** Where Linux takes a port from that nobody chose (ip_local_port_range, unless somebody set it). */
function isEphemeral(port: u32): bool {
  return port >= 32768 && port <= 60999;
}

/** Connections whose local end is not of this node. */
const foreign = sink();
/** Connections of which an end is not to be posted. */
const ignored = sink();

let settleTime: u64 = 0;
let grace: u64 = 0;
let refresh: u32 = 1;
let onlyMine: bool = false;
let postsProbes: bool = false;
let scoped: bool = false;
let freshUntil: u64 = 0;
/** Somebody has been named, as a node's agent cannot do without; and until when nobody was. */
let named: bool = false;
let namelessUntil: u64 = 0;
let lastSweep: u32 = 0;

let firstWaiting: usize = 0;
/** The names changed, so that one that waits may have one now. */
let changed: bool = false;
/** When the first that waits has waited long enough. */
let deadline: u64 = u64.MAX_VALUE;

export function configure(settle: u64, longest: u64, sweeps: u32, mine: bool, probes: bool): void {
  setSettle(settle);
  settleTime = settle;
  grace = longest;
  refresh = sweeps;
  onlyMine = mine;
  named = !mine;
  postsProbes = probes;
}

/** Links say how far they go (scope.ts). */
export function setScope(told: bool): void {
  scoped = told;
}

export function assigned(address: usize, owner: u32, since: u64, node: u32): void {
  assign(address, owner, since, node);
  named = true;
  changed = true;
}

export function zoned(node: u32, zone: u32): void {
  setZone(node, zone);
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

export function ranged(address: usize, bits: u32, owner: u32, waits: u32): void {
  setRange(address, bits, owner, waits);
  changed = true;
}

export function unranged(address: usize, bits: u32): void {
  dropRange(address, bits);
  changed = true;
}

export function cgroupTold(id: u64, told: u32, owner: u32): void {
  tellCgroup(id, told, owner);
  changed = true;
}

export function host(netns: u32, owner: u32): void {
  setNetnsOwner(netns, owner);
  changed = true;
}

/** Decides all that is due at `now` (boot time in ns), after the records of sweep number `sweep` came in. */
export function settle(now: u64, sweep: u32): void {
  forgetEnded();
  forgetLegs(now);
  if (!named) namelessUntil = now;
  if (changed || now >= deadline) retry(now);
  if (now >= settleTime) {
    for (let next = nextYoung(now - settleTime); next; next = nextYoung(now - settleTime)) {
      if (!decide(next, now)) wait(next, now);
    }
  }
  if (sweep != lastSweep) endUnheard(sweep, refresh);
  lastSweep = sweep;
}

function wait(unsettled: Unsettled, now: u64): void {
  unsettled.next = firstWaiting;
  firstWaiting = changetype<usize>(unsettled);
  // One that waits for the first names is looked at now and then, for it may have ended.
  deadline = min(deadline, named ? until(unsettled) : now + grace);
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
    if (!decide(unsettled, now)) wait(unsettled, now);
  }
}

/** Posts the connection if both its ends are known. */
function decide(unsettled: Unsettled, now: u64): bool {
  const localAddress = changetype<usize>(unsettled) + offsetof<Unsettled>("local0");
  const client = isClient(unsettled);
  if (client && legOf(REDIRECTED, localAddress, unsettled.localPort, unsettled.netns) != 0) {
    postLoopback(unsettled);
    return true;
  }
  const failed = isFailed(unsettled);
  // A node's agent that starts among connections has pods before their Services: all wait until it has all.
  if (onlyMine && !freshUntil && !failed && waits(unsettled, now)) return false;
  let local = localOwner(unsettled, now);
  if (local == LATER) {
    if (!failed) return false;
    local = EXTERNAL;
  }
  if (onlyMine && !ownerOf(local).mine) {
    counters.foreign++;
    post(unsettled, foreign);
    return true;
  }
  let remote = remoteOwner(unsettled, local, now);
  if (remote == LATER) {
    // An alarm about connects that fail is worth more at once than with a better name.
    if (!failed) return false;
    remote = EXTERNAL;
  }

  const source = client ? local : remote;
  let destination = client ? remote : local;
  let port: u32 = client ? unsettled.remotePort : unsettled.localPort;
  if (!client && isInboundProxy(port)) {
    const inner = innerOf(localAddress, unsettled.netns);
    if (!inner && now < until(unsettled)) return false;
    if (inner && inner != SEVERAL) port = inner;
  }
  let service: u32 = 0;
  let reporter = client ? CLIENT : SERVER;
  const real = portOf(destination, port);
  const scope = scoped ? scopeOf(unsettled, local, remote, real ? real.toOwner : destination) : 0;
  // At the start a pod may be told before its node.
  if (scope == UNKNOWN && !failed && !freshUntil && waits(unsettled, now)) return false;
  if (real) {
    if (real.probed && !postsProbes && isNodeItself(unsettled, source, client)) {
      reporter |= PROBE;
      counters.probes++;
    }
    destination = real.toOwner;
    port = real.toPort;
    service = real.service;
  } else if (isEphemeral(port)) {
    port = EPHEMERAL;
  }
  if (ownerOf(source).ignored | ownerOf(destination).ignored) {
    counters.ignored++;
    post(unsettled, ignored);
  } else {
    post(unsettled, linkOf(source, destination, port, reporter, scope, service, now));
  }
  return true;
}

function localOwner(unsettled: Unsettled, now: u64): u32 {
  const address = changetype<usize>(unsettled) + offsetof<Unsettled>("local0");
  if (isLoopback(address)) return byCgroup(netnsOwner(unsettled.netns), unsettled.cgroup, unsettled, now);
  const generation = generationAt(address, unsettled.born);
  // A Service's address is local to a node where IPVS puts it there.
  if (generation && ownerOf(generation.owner).type != SERVICE) {
    if (generation.netns != unsettled.netns && unsettled.netns) {
      const contested = generation.netns != 0 || isContested(address, generation, unsettled.born);
      if (contested && freshUntil < unsettled.born + PROOF) return untold(unsettled, now);
      if (contested) uncontest(address);
      bind(generation, unsettled.netns);
    }
    return byCgroup(generation.owner, unsettled.cgroup, unsettled, now);
  }
  const owner = netnsOwner(unsettled.netns);
  if (ownerOf(owner).type != NODE) return unnamed(address, unsettled, now) ? LATER : hostOf(address);
  const known = hostOf(address);
  if (known != owner && (known == EXTERNAL || ownerOf(owner).mine)) {
    setHost(address, owner);
    changed = true;
  }
  return byCgroup(owner, unsettled.cgroup, unsettled, now);
}

function remoteOwner(unsettled: Unsettled, local: u32, now: u64): u32 {
  const address = changetype<usize>(unsettled) + offsetof<Unsettled>("remote0");
  if (isLoopback(address)) return local;
  const generation = generationAt(address, unsettled.born);
  let owner = EXTERNAL;
  if (generation) {
    const contested = isContested(address, generation, unsettled.born);
    if (contested && freshUntil < unsettled.born + PROOF) return untold(unsettled, now);
    owner = generation.owner;
    if (ownerOf(owner).type == SERVICE && isClient(unsettled) && waits(unsettled, now)) {
      // A Service may be told before what it leads to: its port, and at the start the pods behind it.
      const real = portOf(owner, unsettled.remotePort);
      if (!real) return LATER;
      if (!freshUntil && (real.toOwner == owner || ownerOf(real.toOwner).type == EXTERNAL)) return LATER;
    }
  } else {
    owner = hostOf(address);
    const range = owner == EXTERNAL ? rangeAt(address) : null;
    if (range) {
      if (range.waits && waits(unsettled, now)) return LATER;
      owner = range.owner;
    } else if (owner == EXTERNAL && unnamed(address, unsettled, now)) {
      return LATER;
    }
  }
  if (isClient(unsettled)) return owner;
  return byCgroup(owner, legOf(FROM_NODE, address, unsettled.remotePort, 0), unsettled, now);
}

/** Another network namespace has the address now and the names have not said so: only names newer than that may insist. */
function untold(unsettled: Unsettled, now: u64): u32 {
  return now < until(unsettled) ? LATER : EXTERNAL;
}

/** Whether the names may yet come to know what they do not know of a connection. */
function waits(unsettled: Unsettled, now: u64): bool {
  return freshUntil < unsettled.born + PROOF && now < until(unsettled);
}

/**
 * How long a connection may wait for names: from its birth on, and not before there are any. What lives waits for the
 * first of all without an end, for an API server may be away as long as it likes when its node's agent starts.
 */
function until(unsettled: Unsettled): u64 {
  if (named) return max(unsettled.born, namelessUntil) + grace;
  return isEnded(unsettled) ? unsettled.born + grace : u64.MAX_VALUE;
}

/** Whether an address that nobody has may yet be somebody's. It is waited for once, not by each of its connections. */
function unnamed(address: usize, unsettled: Unsettled, now: u64): bool {
  if (hostOf(address) != EXTERNAL || (isPublic(address) && !prefixKnown(address))) return false;
  if (isExternal(address)) return false;
  if (waits(unsettled, now)) return true;
  setExternal(address);
  return false;
}

/** Pods on the host's network have its addresses: theirs is what a cgroup of theirs says. */
function byCgroup(owner: u32, id: u64, unsettled: Unsettled, now: u64): u32 {
  const cgroup = ownerOf(owner).type == NODE ? cgroupOf(id) : null;
  if (!cgroup) return owner;
  if (cgroup.told == OF_POD) return cgroup.owner;
  return cgroup.told == NAMELESS && waits(unsettled, now) ? LATER : owner;
}

/** Whether the client is the node itself: a socket of its own in no pod's cgroup, not one that it only translates for. */
function isNodeItself(unsettled: Unsettled, source: u32, client: bool): bool {
  if (ownerOf(source).type != NODE) return false;
  const remote = changetype<usize>(unsettled) + offsetof<Unsettled>("remote0");
  const cgroup = cgroupOf(client ? unsettled.cgroup : legOf(FROM_NODE, remote, unsettled.remotePort, 0));
  return cgroup != null && cgroup.told == NO_POD;
}

export function countForeign(): void {
  counters.foreignBytes = foreign.sent + foreign.received;
}

export function countIgnored(): void {
  counters.ignoredBytes = ignored.sent + ignored.received;
}
