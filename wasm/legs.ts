import { allocate, free, table } from "./memory";
import { recent } from "./recent";

/**
 * What this kernel's other sockets say of a connection: endpoints that are noted at first sight and looked up as it
 * settles.
 *
 *   a sidecar's redirect, out:  the application's socket says 10.0.0.1:40000 -> the Service, its proxy's own end
 *                               127.0.0.1:15001 <- 10.0.0.1:40000: the same bytes, inside the pod
 *   a sidecar's redirect, in:   the proxy's socket says 10.0.0.2:15006 <- the client, the application's
 *                               10.0.0.2:8080 <- 127.0.0.6 or 10.0.0.2 itself: that is the port that was dialled
 *   from the node to its pod:   the pod's socket says 10.0.0.2:8080 <- the node, the node's own socket of which cgroup
 */

/** A client whose connection went to a proxy inside its own network namespace. */
export const REDIRECTED: u32 = 1;
/** A client in a node's network namespace; the value is its cgroup. */
export const FROM_NODE: u32 = 2;

@unmanaged
class Leg {
  high: u64;
  low: u64;
  netns: u32;
  /** The port in the low 16 bits, the kind above. */
  rest: u32;
  until: u64;
  value: u64;
  next: usize;
  /** It was noted again since it was put into the queue. */
  again: u32;
}

const LEG_KEY: usize = 24;
const legs = table();
const key = memory.data(24, 8);
let first: usize = 0;
let last: usize = 0;

function keyOf(kind: u32, address: usize, port: u32, netns: u32): usize {
  memory.copy(key, address, 16);
  store<u32>(key, netns, 16);
  store<u32>(key, (kind << 16) | port, 20);
  return key;
}

function append(leg: usize): void {
  changetype<Leg>(leg).next = 0;
  if (last) changetype<Leg>(last).next = leg;
  else first = leg;
  last = leg;
}

/** Notes an endpoint until then, with a value that is not 0. The network namespace is 0 where it does not matter. */
export function noteLeg(kind: u32, address: usize, port: u32, netns: u32, until: u64, value: u64): void {
  let leg = legs.find(keyOf(kind, address, port, netns), LEG_KEY);
  if (leg) {
    changetype<Leg>(leg).again = 1;
  } else {
    leg = allocate(offsetof<Leg>());
    memory.copy(leg, key, LEG_KEY);
    legs.add(leg, LEG_KEY);
    append(leg);
  }
  changetype<Leg>(leg).until = until;
  changetype<Leg>(leg).value = value;
}

/** What was noted of an endpoint, or 0. */
export function legOf(kind: u32, address: usize, port: u32, netns: u32): u64 {
  if (!legs.count) return 0;
  const leg = legs.find(keyOf(kind, address, port, netns), LEG_KEY);
  return leg ? changetype<Leg>(leg).value : 0;
}

/** Forgets the endpoints whose time is over. */
export function forgetLegs(now: u64): void {
  while (first) {
    const at = first;
    const leg = changetype<Leg>(at);
    if (leg.until > now && !leg.again) break;
    first = leg.next;
    if (!first) last = 0;
    if (leg.until > now) {
      leg.again = 0;
      append(at);
    } else {
      legs.remove(at, LEG_KEY);
      free(at, offsetof<Leg>());
    }
  }
}

/** The port that an inbound proxy hands its connections to. */
@unmanaged
class Inner {
  high: u64;
  low: u64;
  netns: u64;
  private next: usize;
  private prev: usize;
  private asked: u32;
  port: u32;
}

/** A pod's own ports behind its proxy are several: which of them a connection was for is not to be known. */
export const SEVERAL: u32 = 0xffff_ffff;

const inners = recent(24, offsetof<Inner>());

/** A connection from within was accepted at a pod's own address. */
export function noteInner(address: usize, port: u32, netns: u32): void {
  const inner = changetype<Inner>(inners.get(keyOf(0, address, 0, netns)));
  inner.port = inner.port && inner.port != port ? SEVERAL : port;
}

/** The port behind the proxy at that address: 0 if none was seen yet. */
export function innerOf(address: usize, netns: u32): u32 {
  const found = inners.find(keyOf(0, address, 0, netns));
  return found ? changetype<Inner>(found).port : 0;
}
