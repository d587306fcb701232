/** A cgroup's names come up from the kernel, where probe reads are refused, too; by them pods on the node's network are told apart. */
import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $ } from "bun";
import { checkout, top } from "./checkout.ts";
import type { Told } from "./inside-cgroups.ts";
import { machines } from "./machines.ts";
import { missing } from "./needs.ts";

/** As the kubelet and containerd name them under systemd, on cgroup v2 alone. */
const uids = ["0a1b2c3d-1111-4222-8333-444455556666", "0a1b2c3d-1111-4222-8333-777788889999"];
const pods = uids.map((uid) => `kubepods-besteffort-pod${uid.replaceAll("-", "_")}.slice`);
const container = `cri-containerd-${"ab".repeat(32)}.scope`;
const paths = pods.map((pod) => `kubepods.slice/kubepods-besteffort.slice/${pod}/${container}`);

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
      const inside = [bun, "test/vm/inside-cgroups.ts", ...paths, "system.slice/kubelet.service", ...uids];
      await $`${top}/hack/vm ${files} --file ${Bun.which("ip")} ${words} --out ${out} ${kernel} ${inside}`;
      const told: Told = await Bun.file(join(out, "cgroups.json")).json();
      await rm(out, { recursive: true });
      const tells = kernel !== "5.10";
      // Before 5.15 a socket's cgroup cannot be read. The name is cut to what the record has room for.
      const expected = {
        id: told.inode,
        names: [container.slice(0, 79), ...paths[0]!.split("/").slice(0, 3).toReversed()],
      };
      expect(told.cgroups).toEqual(tells ? [expected] : []);
      const link = (index: number, pod: string) => `${pod} > far:9100 ${1000 + index}/4000`;
      const node = "machine (Node)";
      expect(told.links).toEqual(
        tells ? [link(2, "crawler (Pod)"), link(0, node), link(1, "scraper (Pod)")] : [`${node} > far:9100 3003/12000`],
      );
    },
    600_000,
  );
});
