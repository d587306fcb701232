import type { Backend } from "./hooks.ts";
import { BpfObject, type KernelTypes, type Walk } from "./libbpf.ts";

/** From 6.1 on hashes have an allocator of BPF's own: programs of all types may use one that grows as it fills. */
const hashesGrow = (kernel: KernelTypes): boolean => kernel.has("kprobe", "bpf_mem_alloc_init");

/**
 * A backend's object, to be configured and loaded. A hash that grows is unsafe in a kprobe before: the kernel warns, and is
 * tainted. There all its memory is taken at once.
 */
export async function openObject(backend: Backend, elf: string, kernel: KernelTypes): Promise<BpfObject> {
  const object = new BpfObject(await Bun.file(elf).bytes());
  if (backend === "kprobe" && !hashesGrow(kernel)) object.preallocate();
  return object;
}

/** What walks a map, as one of an object's programs. */
export interface Walker {
  program: string;
  /** What the kernel calls the way. */
  target: string;
  type: "iterator" | "syscall";
  /** After load. */
  start(object: BpfObject): Walk;
}

/** Socket storage has the kernel's iterator alone. A hash or an array is walked by a program that is run, where that may. */
export function walkerOf(kernel: KernelTypes, iterator: string, map: string, isStorage = false): Walker {
  if (!isStorage && hashesGrow(kernel)) {
    const program = "ringside_walk";
    return { program, target: "bpf_for_each_map_elem", type: "syscall", start: (object) => object.walker(program) };
  }
  const target = isStorage ? "bpf_sk_storage_map" : "bpf_map_elem";
  return { program: iterator, target, type: "iterator", start: (object) => object.attachIterator(iterator, map) };
}
