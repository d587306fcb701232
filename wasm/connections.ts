import { generationAt, isLoopback, seenAt } from "./addresses";
import { telling } from "./cgroups";
import { counters } from "./counters";
import { FROM_NODE, noteInner, noteLeg, REDIRECTED } from "./legs";
import { add, Link, markChanged, sink, unuse } from "./links";
import {
  bucketOf,
  CONNECT,
  CONNECT_BUCKETS,
  CONNECTS,
  EXCHANGE_BUCKETS,
  FAILURES,
  hasHistograms,
  REASONS,
  RTT_BUCKETS,
} from "./measures";
import { allocate, free, table } from "./memory";
import { bind, isNodes, netnsOwner } from "./netns";
import { EXTERNAL, NODE, ownerOf } from "./owners";
import {
  BUCKETS,
  KIND_ALIVE,
  KIND_FAILED,
  KIND_FINAL,
  KIND_SNAPSHOT,
  REASON_NONE,
  REASON_REFUSED,
  RECORD_BORN_AT,
  RECORD_BUCKETS,
  RECORD_CGROUP,
  RECORD_CONNECT_US,
  RECORD_DURATION_NS,
  RECORD_EXCHANGES,
  RECORD_FLAGS,
  RECORD_ID,
  RECORD_KIND,
  RECORD_LOCAL,
  RECORD_LOCAL_PORT,
  RECORD_NETNS,
  RECORD_REASON,
  RECORD_RECEIVED,
  RECORD_REMOTE,
  RECORD_REMOTE_PORT,
  RECORD_RESET_RECEIVED,
  RECORD_RESET_SENT,
  RECORD_RETRANSMITTED,
  RECORD_ROLE,
  RECORD_SEEDED,
  RECORD_SEGMENTS,
  RECORD_SENT,
  RECORD_SRTT_US,
  RECORD_SWEEP,
  ROLE_CLIENT,
  ROLE_SERVER,
  ROLE_UNKNOWN,
} from "./record";

/**
 * The totals of each connection. A record only says how far they have come: the greatest seen so far is kept and what
 * it grew by goes to the link, so a record that is late, repeated or lost loses and repeats nothing.
 *
 *   first record -> unsettled (totals only) -> settled (growth goes to its link) -> ended -> forgotten
 *
 * Two cache lines: a snapshot without a new exchange touches the first.
 */
@unmanaged
export class Connection {
  id: u64;
  sent: u64;
  received: u64;
  duration: u64;
  /** The low 32 bits, as of all that is no byte and no time. */
  exchanges: u32;
  segments: u32;
  retransmitted: u32;
  /** 0 until it has settled. */
  link: usize;
  /** Its Unsettled until it has settled; after its end, the connection that ended before it. */
  other: usize;
  sweep: u16;
  /** Exchanges less those in the buckets: not 0 where a record was made between the two. Look at the next one too. */
  behind: u8;
  flags: u8;
  /* u32 buckets[18] */
}

const ENDED: u8 = 1;
/** Its reset was counted. */
const RESET: u8 = 2;
/** It never was established. */
const FAILED: u8 = 4;

const CONNECTION_BUCKETS = offsetof<Connection>();
const CONNECTION_SIZE = CONNECTION_BUCKETS + BUCKETS * 4;

/** What settles a connection: freed as soon as it has. */
@unmanaged
export class Unsettled {
  born: u64;
  local0: u64;
  local1: u64;
  remote0: u64;
  remote1: u64;
  /** 0 where it tells nothing. */
  cgroup: u64;
  next: usize;
  connection: usize;
  netns: u32;
  localPort: u16;
  remotePort: u16;
  role: u8;
  /** Why it failed: its place among the reasons of measures.ts. */
  reason: u8;
  connectUs: u32;
  /** The round-trip time that its last record with new bytes had. */
  rttUs: u32;
  /** Segments that it had sent before it was seen first. */
  segments: u32;
  retransmitted: u32;
}

const connections = table();
/** Connections over loopback, which are counted and not posted. */
const loopback = sink();

/** What one end says is kept until the other has settled, and so much longer, for a sweep may be late: ns. */
const LEG_MARGIN: u64 = 10_000_000_000;
let legLife: u64 = LEG_MARGIN;

let postsLoopback: bool = false;
let firstYoung: usize = 0;
let lastYoung: usize = 0;
/** Those whose end was heard of since the last round, and in the round before. */
let ended: usize = 0;
let endedBefore: usize = 0;
let slotToCheck: u32 = 0;

export function setSettle(time: u64): void {
  legLife = time + LEG_MARGIN;
}

export function setLoopback(posted: bool): void {
  postsLoopback = posted;
}

/** The row of the connection that a record is about, or 0. */
export function rowOf(record: usize): usize {
  return connections.find(record + RECORD_ID, 8);
}

/** Brings into the cache what `observe` will need of a row. Returns something of it, so that the loads stay. */
export function fetch(row: usize): u32 {
  const connection = changetype<Connection>(row);
  return load<u32>(row, 64) + load<u32>(connection.link, 64);
}

/** Takes one record; `row` is what rowOf said before the records just before it were taken. */
export function observe(record: usize, row: usize): void {
  counters.records++;
  const kind = load<u8>(record, RECORD_KIND);
  let at = row ? row : rowOf(record);
  if (kind == KIND_ALIVE) {
    if (at) changetype<Connection>(at).sweep = <u16>load<u32>(record, RECORD_SWEEP);
    return;
  }
  if (!at) {
    at = meet(record, kind);
    if (!at) return;
  }

  const connection = changetype<Connection>(at);
  connection.sweep = <u16>load<u32>(record, RECORD_SWEEP);
  let sent = load<u64>(record, RECORD_SENT) - connection.sent;
  let received = load<u64>(record, RECORD_RECEIVED) - connection.received;
  let duration = load<u64>(record, RECORD_DURATION_NS) - connection.duration;
  let exchanges = load<u32>(record, RECORD_EXCHANGES) - connection.exchanges;
  let segments = load<u32>(record, RECORD_SEGMENTS) - connection.segments;
  let retransmitted = load<u32>(record, RECORD_RETRANSMITTED) - connection.retransmitted;
  // What never was established has no bytes.
  if (<i64>sent < 0 || kind == KIND_FAILED) sent = 0;
  if (<i64>received < 0 || kind == KIND_FAILED) received = 0;
  if (<i64>duration < 0) duration = 0;
  if (<i32>exchanges < 0) exchanges = 0;
  if (<i32>segments < 0) segments = 0;
  if (<i32>retransmitted < 0) retransmitted = 0;
  connection.sent += sent;
  connection.received += received;
  connection.duration += duration;
  connection.exchanges += exchanges;
  connection.segments += segments;
  connection.retransmitted += retransmitted;
  // The path was measured by what moved: a record that repeats is no sample.
  const rtt = (sent | received) != 0 ? load<u32>(record, RECORD_SRTT_US) : 0;

  if (connection.link) {
    const link = changetype<Link>(connection.link);
    link.sent += sent;
    link.received += received;
    link.exchanges += exchanges;
    link.duration += duration;
    link.segments += segments;
    if (retransmitted) link.retransmitted += retransmitted;
    if (rtt) sample(link, rtt);
    if ((sent | received | duration | exchanges | segments | retransmitted) != 0 && !link.changed) markChanged(link);
  } else {
    const unsettled = changetype<Unsettled>(connection.other);
    const role = load<u8>(record, RECORD_ROLE);
    if (role != ROLE_UNKNOWN) unsettled.role = role;
    if (rtt) unsettled.rttUs = rtt;
  }

  connection.behind += <u8>exchanges;
  const reset = load<u8>(record, RECORD_FLAGS) & (RECORD_RESET_SENT | RECORD_RESET_RECEIVED);
  if (connection.behind != 0 || duration != 0 || kind != KIND_SNAPSHOT || reset != 0) {
    observeBuckets(connection, record);
    if (reset && !(connection.flags & (RESET | FAILED))) countReset(connection);
    if (kind == KIND_FINAL || kind == KIND_FAILED) end(connection);
  }
}

/** One round-trip time, us. */
function sample(link: Link, us: u32): void {
  link.rtt += us;
  link.rtts++;
  if (hasHistograms()) add(link, RTT_BUCKETS + bucketOf(us), 1);
}

function countReset(connection: Connection): void {
  connection.flags |= RESET;
  if (!connection.link) return;
  const link = changetype<Link>(connection.link);
  link.resets++;
  if (!link.changed) markChanged(link);
}

function observeBuckets(connection: Connection, record: usize): void {
  const own = changetype<usize>(connection) + CONNECTION_BUCKETS;
  const seen = record + RECORD_BUCKETS;
  // Two at a time: of most connections one bucket grew.
  for (let i: usize = 0; i < BUCKETS; i += 2) {
    if (load<u64>(seen + i * 4) == load<u64>(own + i * 4)) continue;
    raiseBucket(connection, i, load<u32>(seen + i * 4));
    raiseBucket(connection, i + 1, load<u32>(seen + i * 4, 4));
  }
}

function raiseBucket(connection: Connection, bucket: usize, seen: u32): void {
  const own = changetype<usize>(connection) + CONNECTION_BUCKETS + bucket * 4;
  const more = seen - load<u32>(own);
  if (<i32>more <= 0) return;
  store<u32>(own, seen);
  connection.behind -= <u8>more;
  if (!connection.link) return;
  const link = changetype<Link>(connection.link);
  add(link, EXCHANGE_BUCKETS + bucket, more);
  if (!link.changed) markChanged(link);
}

/** First sight of a connection: its row, or 0 where there is nothing to know it by. */
function meet(record: usize, kind: u8): usize {
  if (!load<u16>(record, RECORD_REMOTE_PORT)) {
    // The kernel had cleared the socket: only a final is the last chance to count what is lost.
    if (kind == KIND_FINAL) {
      counters.unnamedFinals++;
      counters.unnamedBytes += load<u64>(record, RECORD_SENT) + load<u64>(record, RECORD_RECEIVED);
    }
    return 0;
  }
  const at = allocate(CONNECTION_SIZE);
  const connection = changetype<Connection>(at);
  connection.id = load<u64>(record, RECORD_ID);
  connections.add(at, 8);
  counters.connections++;
  if (kind == KIND_FAILED) {
    counters.failed++;
    connection.flags = FAILED;
  }

  const local = record + RECORD_LOCAL;
  const remote = record + RECORD_REMOTE;
  const within =
    isLoopback(local) ||
    isLoopback(remote) ||
    (load<u64>(local) == load<u64>(remote) && load<u64>(local, 8) == load<u64>(remote, 8));
  if (within) {
    if (load<u8>(record, RECORD_ROLE) == ROLE_SERVER) noteWithin(record);
    if (!postsLoopback) {
      counters.loopback++;
      connection.link = changetype<usize>(loopback);
      loopback.users++;
      loopback.active++;
      return at;
    }
  }

  const unsettled = changetype<Unsettled>(allocate(offsetof<Unsettled>()));
  unsettled.born = load<u64>(record, RECORD_BORN_AT);
  memory.copy(changetype<usize>(unsettled) + offsetof<Unsettled>("local0"), local, 32);
  unsettled.connection = at;
  unsettled.netns = load<u32>(record, RECORD_NETNS);
  unsettled.localPort = load<u16>(record, RECORD_LOCAL_PORT);
  unsettled.remotePort = load<u16>(record, RECORD_REMOTE_PORT);
  unsettled.reason = reasonOf(load<u8>(record, RECORD_REASON));
  if (load<u8>(record, RECORD_FLAGS) & RECORD_SEEDED) {
    unsettled.segments = load<u32>(record, RECORD_SEGMENTS);
    unsettled.retransmitted = load<u32>(record, RECORD_RETRANSMITTED);
  }
  unsettled.connectUs = load<u32>(record, RECORD_CONNECT_US);
  unsettled.cgroup = telling(load<u64>(record, RECORD_CGROUP));
  if (unsettled.cgroup && load<u8>(record, RECORD_ROLE) == ROLE_CLIENT) noteClient(unsettled);
  if (unsettled.netns && !isNodes(unsettled.netns)) seenAt(local, unsettled.born, unsettled.netns);
  connection.other = changetype<usize>(unsettled);
  if (lastYoung) changetype<Unsettled>(lastYoung).next = changetype<usize>(unsettled);
  else firstYoung = changetype<usize>(unsettled);
  lastYoung = changetype<usize>(unsettled);
  counters.settling++;
  return at;
}

/** What the server's end of a connection inside one network namespace says of its others (legs.ts). */
function noteWithin(record: usize): void {
  const local = record + RECORD_LOCAL;
  const remote = record + RECORD_REMOTE;
  const netns = load<u32>(record, RECORD_NETNS);
  if (!isLoopback(local)) {
    noteInner(local, load<u16>(record, RECORD_LOCAL_PORT), netns);
  } else if (!isLoopback(remote)) {
    const until = load<u64>(record, RECORD_BORN_AT) + legLife;
    noteLeg(REDIRECTED, remote, load<u16>(record, RECORD_REMOTE_PORT), netns, until, 1);
  }
}

/** A client in a node's network namespace: its server's end may be one of the node's own pods. */
function noteClient(unsettled: Unsettled): void {
  const address = changetype<usize>(unsettled) + offsetof<Unsettled>("local0");
  if (netnsOwner(unsettled.netns) == EXTERNAL) {
    const generation = generationAt(address, unsettled.born);
    if (generation && ownerOf(generation.owner).type == NODE) bind(generation, unsettled.netns);
  }
  if (!isNodes(unsettled.netns)) return;
  noteLeg(FROM_NODE, address, unsettled.localPort, 0, unsettled.born + legLife, unsettled.cgroup);
}

/** Takes the first connection born until `time` off the queue, or null. They come in the order of their first records. */
export function nextYoung(time: u64): Unsettled | null {
  const unsettled = changetype<Unsettled>(firstYoung);
  if (!firstYoung || unsettled.born > time) return null;
  firstYoung = unsettled.next;
  if (!firstYoung) lastYoung = 0;
  unsettled.next = 0;
  counters.settling--;
  return unsettled;
}

/** Whether our end is the client's. Where nobody knows, the lower port is the server's: clients' are ephemeral. */
export function isClient(unsettled: Unsettled): bool {
  if (unsettled.role == ROLE_CLIENT) return true;
  if (unsettled.role == ROLE_SERVER) return false;
  return unsettled.localPort >= unsettled.remotePort;
}

/** Leaves a connection out, for it is inside one network namespace. */
export function postLoopback(unsettled: Unsettled): void {
  counters.loopback++;
  post(unsettled, loopback);
}

/** The place of a connect's failure among the reasons; the last is that its own application gave it up. */
function reasonOf(reason: u8): u8 {
  return reason == REASON_NONE ? <u8>REASONS - 1 : reason - REASON_REFUSED;
}

export function isEnded(unsettled: Unsettled): bool {
  return (changetype<Connection>(unsettled.connection).flags & ENDED) != 0;
}

export function isFailed(unsettled: Unsettled): bool {
  return (changetype<Connection>(unsettled.connection).flags & FAILED) != 0;
}

/** Gives a connection its link, and the link all that the connection has had so far. */
export function post(unsettled: Unsettled, link: Link): void {
  const connection = changetype<Connection>(unsettled.connection);
  link.sent += connection.sent;
  link.received += connection.received;
  link.exchanges += connection.exchanges;
  link.duration += connection.duration;
  link.segments += connection.segments - unsettled.segments;
  link.retransmitted += connection.retransmitted - unsettled.retransmitted;
  for (let i: usize = 0; i < BUCKETS; i++) {
    add(link, EXCHANGE_BUCKETS + i, load<u32>(changetype<usize>(connection) + CONNECTION_BUCKETS + i * 4));
  }
  if (connection.flags & RESET) link.resets++;
  if (unsettled.rttUs) sample(link, unsettled.rttUs);
  if (connection.flags & FAILED) add(link, FAILURES + min<usize>(unsettled.reason, REASONS - 1), 1);
  else postConnect(unsettled, link);
  if (!link.changed) markChanged(link);

  free(changetype<usize>(unsettled), offsetof<Unsettled>());
  connection.link = changetype<usize>(link);
  connection.other = 0;
  link.users++;
  link.active++;
  if (connection.flags & ENDED) leave(connection);
}

/** An established connection, and how long a client waited for it. */
function postConnect(unsettled: Unsettled, link: Link): void {
  link.connections++;
  const us = unsettled.connectUs;
  if (unsettled.role != ROLE_CLIENT || !us) return;
  add(link, CONNECT, us);
  add(link, CONNECTS, 1);
  if (hasHistograms()) add(link, CONNECT_BUCKETS + bucketOf(us), 1);
}

/** Its last word was heard, or will not come. One that has not settled yet stays until it has. */
function end(connection: Connection): void {
  if (connection.flags & ENDED) return;
  connection.flags |= ENDED;
  counters.connections--;
  if (connection.link) leave(connection);
}

function leave(connection: Connection): void {
  const link = changetype<Link>(connection.link);
  link.active--;
  if (!link.changed) markChanged(link);
  connection.other = ended;
  ended = changetype<usize>(connection);
}

/** Forgets what ended before the last call: until then a repeated last word is known for what it is. */
export function forgetEnded(): void {
  while (endedBefore) {
    const at = endedBefore;
    endedBefore = changetype<Connection>(at).other;
    unuse(changetype<Link>(changetype<Connection>(at).link));
    connections.remove(at, 8);
    free(at, CONNECTION_SIZE);
  }
  endedBefore = ended;
  ended = 0;
}

/**
 * Ends connections that two complete rounds of refreshing sweeps did not name. Looks at one part of the table in
 * `refresh`, so a whole round of sweeps looks at all of it.
 */
export function endUnheard(sweep: u32, refresh: u32): void {
  const mask = connections.mask;
  for (let n = mask / refresh + 1; n > 0; n--) {
    slotToCheck = (slotToCheck + 1) & mask;
    const at = connections.at(slotToCheck);
    if (!at) continue;
    const connection = changetype<Connection>(at);
    if (connection.flags & ENDED || <i32>(<i16>(<u16>sweep - connection.sweep)) <= <i32>(2 * refresh)) continue;
    counters.finalsMissed++;
    end(connection);
  }
}

export function countLoopback(): void {
  counters.loopbackBytes = loopback.sent + loopback.received;
}
