/** A cgroup's names come up from the kernel, where probe reads are refused, too. */
import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $ } from "bun";
import { checkout, top } from "./checkout.ts";
import type { Told } from "./inside-cgroups.ts";
import { machines } from "./machines.ts";
import { missing } from "./needs.ts";

const pod = "kubepods-besteffort-pod0a1b2c3d_1111_4222_8333_444455556666.slice";
const container = `cri-containerd-${"ab".repeat(32)}.scope`;

describe.skipIf(missing !== undefined)("a cgroup", () => {
  test.each([
    ["5.10", []],
    ["6.1", ["lockdown=confidentiality"]],
  ])(
    "on %s %p",
    async (kernel, boot) => {
      const out = await mkdtemp(join(tmpdir(), "ringside-vm-"));
      const { files, bun } = await checkout(machines[kernel]!);
      const words = boot.flatMap((word) => ["--boot", word]);
      await $`${top}/hack/vm ${files} ${words} --out ${out} ${kernel} ${bun} test/vm/inside-cgroups.ts ${pod} ${container}`;
      const told: Told = await Bun.file(join(out, "cgroups.json")).json();
      await rm(out, { recursive: true });
      // Before 5.15 a socket's cgroup cannot be read. The name is cut to what the record has room for.
      const expected = { id: told.inode, names: [container.slice(0, 79), pod, "kubepods.slice"] };
      expect(told.cgroups).toEqual(kernel === "5.10" ? [] : [expected]);
    },
    600_000,
  );
});
