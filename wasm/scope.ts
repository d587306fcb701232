import { generationAt, hostOf, isLoopback, isPublic } from "./addresses";
import { Unsettled } from "./connections";
import { EXTERNAL, NODE, ownerOf, SERVICE } from "./owners";

/**
 * How far a connection's bytes go, which is what a cloud charges for. The values are in the order of src/core/core.ts; 0
 * stands where nobody asks.
 */

/** A zone is not known, or of a Service's backends not which of them it is, be they in the cluster or out of it. */
export const UNKNOWN: u32 = 1;
/** Both ends are on one node, or on nodes of one zone. */
export const SAME_ZONE: u32 = 2;
export const OTHER_ZONE: u32 = 3;
/** Out of the cluster, to a private address and to a public one. */
export const OUTSIDE: u32 = 4;
export const INTERNET: u32 = 5;

/** `server`: who is behind the port at the server's end. */
export function scopeOf(unsettled: Unsettled, local: u32, remote: u32, server: u32): u32 {
  const localAddress = changetype<usize>(unsettled) + offsetof<Unsettled>("local0");
  const remoteAddress = changetype<usize>(unsettled) + offsetof<Unsettled>("remote0");
  if (isLoopback(localAddress) || isLoopback(remoteAddress)) return SAME_ZONE;
  if (ownerOf(remote).type == EXTERNAL) return isPublic(remoteAddress) ? INTERNET : OUTSIDE;
  if (ownerOf(local).type == EXTERNAL) return isPublic(localAddress) ? INTERNET : OUTSIDE;
  if (ownerOf(server).type == SERVICE || ownerOf(server).type == EXTERNAL) return UNKNOWN;
  const here = nodeOf(localAddress, local, unsettled.born);
  const there = nodeOf(remoteAddress, remote, unsettled.born);
  if (here == there && here != EXTERNAL) return SAME_ZONE;
  const zone = ownerOf(here).zone;
  const other = ownerOf(there).zone;
  return !zone || !other ? UNKNOWN : zone == other ? SAME_ZONE : OTHER_ZONE;
}

/** The node that an end was on then, external where nobody says. */
function nodeOf(address: usize, owner: u32, time: u64): u32 {
  const generation = generationAt(address, time);
  if (generation && ownerOf(generation.owner).type != SERVICE) return generation.node;
  const host = hostOf(address);
  return host == EXTERNAL && ownerOf(owner).type == NODE ? owner : host;
}
