import { ownerOf } from "./owners";
import { recent } from "./recent";

/** Whose a cgroup is: it tells the pods apart that share their node's network. */

/** What is told of one: no pod's; a pod's that has no name yet; a pod's. */
export const NO_POD: u32 = 1;
export const NAMELESS: u32 = 2;
export const OF_POD: u32 = 3;

@unmanaged
export class Cgroup {
  id: u64;
  private next: usize;
  private prev: usize;
  private asked: u32;
  told: u32;
  /** Where it is a pod's. */
  owner: u32;
}

const cgroups = recent(8, offsetof<Cgroup>());
const key = memory.data(8, 8);
/** Every socket's where cgroups are of version 1: it tells nothing. */
const ROOT: u64 = 1;

/** The id of a cgroup that may tell something, else 0. */
export function telling(id: u64): u64 {
  return id > ROOT ? id : 0;
}

/** What was said of a cgroup, or null. */
export function cgroupOf(id: u64): Cgroup | null {
  store<u64>(key, id);
  return changetype<Cgroup | null>(cgroups.find(key));
}

export function tellCgroup(id: u64, told: u32, owner: u32): void {
  if (!telling(id)) return;
  store<u64>(key, id);
  const cgroup = changetype<Cgroup>(cgroups.get(key));
  cgroup.told = told;
  cgroup.owner = owner;
}

/** Forgets the cgroups of owners that are about to go (collect.ts). */
export function dropCgroups(): void {
  let at = cgroups.first;
  while (at) {
    const cgroup = changetype<Cgroup>(at);
    at = cgroups.next(at);
    if (cgroup.told == OF_POD && ownerOf(cgroup.owner).old > 1) cgroups.remove(changetype<usize>(cgroup));
  }
}
