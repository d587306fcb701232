import { expect, test } from "bun:test";
import { podOf } from "./cgroups.ts";

const uid = "0a1b2c3d-1111-4222-8333-444455556666";
const systemd = uid.replaceAll("-", "_");
const id = "ab".repeat(32);

test.each([
  ["containerd, systemd", [`cri-containerd-${id}.scope`, `kubepods-burstable-pod${systemd}.slice`], uid],
  [
    "a pod of guaranteed quality",
    [`cri-containerd-${id}.scope`, `kubepods-pod${systemd}.slice`, "kubepods.slice"],
    uid,
  ],
  ["CRI-O, systemd", [`crio-${id}.scope`, `kubepods-besteffort-pod${systemd}.slice`], uid],
  ["CRI-O with a cgroup beneath", ["container", `crio-${id}.scope`, `kubepods-besteffort-pod${systemd}.slice`], uid],
  ["systemd inside a container", ["init.scope", `cri-containerd-${id}.scope`, `kubepods-pod${systemd}.slice`], uid],
  ["kind's nodes", [`cri-containerd-${id}.scope`, `kubelet-kubepods-burstable-pod${systemd}.slice`], uid],
  ["cgroupfs", [id, `pod${uid}`, "burstable", "kubepods"], uid],
  ["a static pod", [`crio-${id}.scope`, `kubepods-burstable-pod${"9f".repeat(16)}.slice`], "9f".repeat(16)],
  ["a service of the node", ["kubelet.service", "system.slice"], undefined],
  ["the root", [], undefined],
  ["a name that was cut off", [`kubepods-burstable-pod${systemd.slice(0, 30)}`], undefined],
  ["what only looks like one", [`my-tripod${systemd}.slice`, `pod${systemd}.scope`], undefined],
] as const)("%s", (_, names, pod) => {
  expect(podOf(names)).toBe(pod);
});
