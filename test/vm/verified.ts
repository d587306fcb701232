/** How many instructions the verifier walks to prove each program: its own limit is a million. */
import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { backends } from "../../src/bpf/hooks.ts";
import { BpfObject, KernelTypes } from "../../src/bpf/libbpf.ts";
import { objects, seedObject } from "../../src/bpf/objects.ts";
import { openObject } from "../../src/bpf/open.ts";

/** Object -> program -> instructions. */
export type Verified = Record<string, Record<string, number>>;

/** Of the one BPF program that this process holds; kernels tell it from 5.16 on. */
function verified(): number | undefined {
  for (const fd of readdirSync("/proc/self/fdinfo")) {
    try {
      const [, count] = /^verified_insns:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8")) ?? [];
      if (count) return Number(count);
    } catch {} // the directory's own, closed by now
  }
  return undefined;
}

/** Loads every program of every object by itself; what this kernel does not take is left out. */
export async function verifyAll(): Promise<Verified> {
  const found: Verified = {};
  using kernel = new KernelTypes();
  const kinds = backends.flatMap((backend) =>
    Object.values(objects[backend]).map((elf) => ({ elf, open: () => openObject(backend, elf, kernel) })),
  );
  const seed = { elf: seedObject, open: async () => new BpfObject(await Bun.file(seedObject).bytes()) };
  for (const { elf, open } of [...kinds, seed]) {
    const listed = await open();
    const names = listed.programNames();
    const programs: Record<string, number> = {};
    listed.close();
    // Those alike are walked alike.
    for (const name of names.filter((name) => !/_\d$/.test(name))) {
      const object = await open();
      try {
        object.keep(name);
        object.load();
        const count = verified();
        if (count) programs[name.replace("ringside_", "")] = count;
      } catch {
        // Some hooks exist on newer kernels only, and some objects are for older ones.
      } finally {
        object.close();
      }
    }
    found[basename(elf, ".bpf.o")] = programs;
  }
  return found;
}
