import type { Backend } from "./hooks.ts";
import { BpfObject, type KernelTypes } from "./libbpf.ts";

/**
 * A backend's object, to be configured and loaded.
 *
 * A hash that grows as it fills is unsafe in a kprobe until hashes got an allocator of BPF's own, in 6.1: before,
 * the kernel warns, and is tainted. There all its memory is taken at once.
 */
export async function openObject(backend: Backend, elf: string, kernel: KernelTypes): Promise<BpfObject> {
  const object = new BpfObject(await Bun.file(elf).bytes());
  if (backend === "kprobe" && !kernel.has("kprobe", "bpf_mem_alloc_init")) object.preallocate();
  return object;
}
