import { dlopen } from "bun:ffi";

const BPF_STATS_RUN_TIME = 0; // linux/bpf.h

/**
 * Has the kernel measure how long BPF programs run, until this process ends, however it ends: that is why it is not
 * `sysctl kernel.bpf_stats_enabled`. A kernel that cannot leaves the figure out.
 */
export function measureHooks(): void {
  const libbpf = dlopen("libbpf.so.1", { bpf_enable_stats: { args: ["i32"], returns: "i32" } });
  libbpf.symbols.bpf_enable_stats(BPF_STATS_RUN_TIME);
}
