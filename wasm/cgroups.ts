import { allocate, table } from "./memory";
import { ownerOf } from "./owners";

/** Whose a cgroup is: it tells the pods apart that share their node's network. */

/** Nobody has said; no pod's; a pod's that has no name yet; a pod's. */
export const UNTOLD: u32 = 0;
export const NO_POD: u32 = 1;
export const NAMELESS: u32 = 2;
export const OF_POD: u32 = 3;

@unmanaged
export class Cgroup {
  id: u64;
  told: u32;
  /** Where it is a pod's. */
  owner: u32;
}

const cgroups = table();
const key = memory.data(8, 8);
/** Every socket's where cgroups are of version 1: it tells nothing. */
const ROOT: u64 = 1;

/** The row of a cgroup, or 0 for one that tells nothing. */
export function cgroupOf(id: u64): usize {
  if (id <= ROOT) return 0;
  store<u64>(key, id);
  const found = cgroups.find(key, 8);
  if (found) return found;
  const row = allocate(offsetof<Cgroup>());
  changetype<Cgroup>(row).id = id;
  cgroups.add(row, 8);
  return row;
}

export function tellCgroup(id: u64, told: u32, owner: u32): void {
  const row = cgroupOf(id);
  if (!row) return;
  changetype<Cgroup>(row).told = told;
  changetype<Cgroup>(row).owner = owner;
}

/** Forgets whose a cgroup is where the owner is about to go (collect.ts). Others may point at the row: it stays. */
export function dropCgroups(): void {
  for (let slot: u32 = 0; slot <= cgroups.mask; slot++) {
    const cgroup = changetype<Cgroup>(cgroups.at(slot));
    if (!changetype<usize>(cgroup) || cgroup.told != OF_POD || ownerOf(cgroup.owner).old <= 1) continue;
    cgroup.told = UNTOLD;
    cgroup.owner = 0;
  }
}
