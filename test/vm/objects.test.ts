/** What the objects that run under lockdown=confidentiality must not ask for. */
import { expect, test } from "bun:test";
import { basename, join } from "node:path";
import { $ } from "bun";
import { top } from "./checkout.ts";

/** linux/bpf.h: bpf_probe_read, _str, _user, _kernel, _user_str and _kernel_str */
const probeReads = [4, 45, 112, 113, 114, 115];

await $`${top}/hack/build`;
const built = (await $`ls ${join(top, "build")}`.text()).split("\n").filter((file) => file.endsWith(".bpf.o"));

/** Numbers of the helpers that an object's programs call. */
async function helpers(object: string): Promise<Set<number>> {
  const code = await $`llvm-objdump --disassemble --no-show-raw-insn ${join(top, "build", object)}`.text();
  return new Set([...code.matchAll(/\bcall (0x[0-9a-f]+|\d+)$/gm)].map(([, number]) => Number(number)));
}

/** What an object's programs hang on: "fentry", "tp_btf", ... */
async function attachments(object: string): Promise<Set<string>> {
  const sections = await $`llvm-objdump --section-headers ${join(top, "build", object)}`.text();
  return new Set(
    [...sections.matchAll(/^\s*\d+ (\w+)\/\S+\s+[0-9a-f]+ [0-9a-f]+ TEXT/gm)].map(([, kind]) => kind as string),
  );
}

/** "kprobe" for kprobe.bpf.o and for the one that the image has for another machine, kprobe-arm64.bpf.o. */
const variant = (object: string) => basename(object, ".bpf.o").split("-")[0] as string;
const mayProbe = (object: string) => /^(kprobe|seed|\w+_hash)$/.test(variant(object));

test.each(built)("%s reads by probes only where the kernel checks no types", async (object) => {
  const called = await helpers(object);
  expect(called.size).toBeGreaterThan(2);
  expect(probeReads.some((helper) => called.has(helper))).toBe(mayProbe(object));
});

test.each(built)("%s needs perf_event_open only for kprobes", async (object) => {
  const kinds = await attachments(object);
  expect(kinds).toContain("iter");
  // libbpf opens a perf event for all but these.
  const others = [...kinds].filter((kind) => !["fentry", "tp_btf", "iter"].includes(kind));
  expect(others).toEqual(variant(object) === "kprobe" ? ["kprobe"] : []);
});
