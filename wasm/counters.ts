/** What the core counts about itself, in the order in which src/core/core.ts names them. */
@unmanaged
export class Counters {
  records: u64;
  discards: u64;
  malformed: u64;
  /** Connections heard of and not ended. */
  connections: u64;
  /** Connections that wait for their settle time, and for a name. */
  settling: u64;
  waiting: u64;
  failed: u64;
  loopback: u64;
  loopbackBytes: u64;
  foreign: u64;
  foreignBytes: u64;
  /** Connections of which an end is not to be posted. */
  ignored: u64;
  ignoredBytes: u64;
  /** Addresses that have an owner now, and private ones that were waited for in vain. */
  addressesNamed: u64;
  addressesExternal: u64;
  /** A kubelet's probes, which are in no link. */
  probes: u64;
  probeBytes: u64;
  unnamedFinals: u64;
  unnamedBytes: u64;
  finalsMissed: u64;
  links: u64;
  /** Connections whose link had no room, and which count in the row of all others. */
  capped: u64;
  /** Rows of links, and of pairs of pods, as --max-links limits each. */
  linkRows: u64;
  pairRows: u64;
  series: u64;
  seriesHeld: u64;
  postedBytes: u64;
  /** Those of them where an end is external. */
  postedExternalBytes: u64;
}

export const counters = changetype<Counters>(memory.data(8 * 28, 8));
