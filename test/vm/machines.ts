/** The emulated machines, and what must work on each. */
import type { Backend } from "../../src/bpf/hooks.ts";

export interface Machine {
  /** As hack/vm names it. */
  kernel: string;
  /** Added to the kernel's command line. */
  boot: string[];
  backends: Backend[];
  /** Are there kprobes for the witness (compiled for x86-64), and may they read? */
  witness: boolean;
  /** Seconds. */
  limit: number;
}

const machine = (kernel: string, change: Partial<Machine> = {}): Machine => ({
  kernel,
  boot: [],
  backends: ["fentry", "tracepoint", "kprobe"],
  witness: true,
  limit: 900,
  ...change,
});
const locked = (kernel: string) =>
  machine(kernel, { boot: ["lockdown=confidentiality"], backends: ["fentry", "tracepoint"], witness: false });

/**
 * What each is for: 5.10 has no socket storage for programs, kprobes there need preallocated hashes, and sendfile has a
 * way of its own. 6.1 has storage, and packets for the sends of the tracepoint backend. 7.x has the send's tracepoint.
 */
const everyday = {
  "5.10": machine("5.10"),
  "6.1": machine("6.1"),
};
const all: Record<string, Machine> = {
  ...everyday,
  "6.12": machine("6.12"),
  "7.x": machine("7.x"),
  "6.1 locked down": locked("6.1"),
  "6.12 locked down": locked("6.12"),
  // No direct trampolines before 6.4.
  "6.1 arm64": machine("6.1-arm64", { backends: ["tracepoint", "kprobe"], witness: false, limit: 1200 }),
  "6.12 arm64": machine("6.12-arm64", { witness: false, limit: 1200 }),
};

/** `hack/test --all` runs them all. */
export const machines: Record<string, Machine> = process.env.RINGSIDE_TEST_ALL ? all : everyday;
