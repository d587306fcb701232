/** What every backend needs of the machine, told before libbpf's own errors would. */
import { existsSync, readFileSync } from "node:fs";
import { Unsupported } from "../errors.ts";
import { mayCallBpf } from "./libbpf.ts";

/** @throws Unsupported where a capability, the leave of seccomp or the kernel's types are missing */
export function refuseEarly(): void {
  // linux/capability.h: CAP_SYS_ADMIN 21, CAP_PERFMON 38, CAP_BPF 39
  const status = readFileSync("/proc/self/status", "utf8");
  const held = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  const has = (bit: bigint): boolean => ((held >> bit) & 1n) === 1n;
  const missing = [has(39n) ? [] : "BPF", has(38n) ? [] : "PERFMON"].flat();
  if (missing.length > 0 && !has(21n)) {
    throw new Unsupported(
      "load the BPF programs",
      `uid ${process.geteuid?.()} lacks the capabilities ${missing.join(" and ")}`,
      "Run as root, or add BPF and PERFMON to the container's capabilities.",
    );
  }
  // Mode 2 is a filter, which answers EPERM as the kernel does: the capabilities are there, so it is not the kernel.
  if (/^Seccomp:\s*2$/m.test(status) && !mayCallBpf()) {
    throw new Unsupported(
      "load the BPF programs",
      "the capabilities are there, but the seccomp profile forbids bpf()",
      "Use a profile that allows bpf and perf_event_open, as containerd's RuntimeDefault, or Unconfined: in the chart " +
        "seccompProfile.type, or openshift.enabled.",
    );
  }
  if (!existsSync("/sys/kernel/btf/vmlinux")) {
    throw new Unsupported(
      "load the BPF programs",
      "/sys/kernel/btf/vmlinux is missing",
      "Use a kernel built with CONFIG_DEBUG_INFO_BTF=y, 5.10 or newer, and mount /sys.",
    );
  }
}
