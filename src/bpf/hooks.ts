/** Which programs hang on which function or tracepoint of the kernel, for each backend. */
import { version } from "node:os";
import { Unsupported } from "../errors.ts";
import type { KernelTypes } from "./libbpf.ts";

/** In the order in which they are tried: the cheapest first. */
export const backends = ["fentry", "tracepoint", "kprobe"] as const;
export type Backend = (typeof backends)[number];

export interface Hook {
  program: string;
  /** The kernel function or tracepoint that it hangs on. */
  target: string;
  type: "fentry" | "tracepoint" | "kprobe";
  /**
   * How the kernel may come to it a second time while its program runs on that CPU. It skips the program then, so there
   * are several alike (bpf/state.h).
   */
  reentered: "by interrupts" | "by preemption" | "never";
  /** What takes its place where the kernel lacks the target: another program, or nothing at all. */
  else?: Hook | null;
}

const common: Hook[] = [
  { program: "ringside_state", target: "inet_sock_set_state", type: "tracepoint", reentered: "by interrupts" },
  { program: "ringside_send_reset", target: "tcp_send_reset", type: "tracepoint", reentered: "by interrupts" },
  { program: "ringside_receive_reset", target: "tcp_receive_reset", type: "tracepoint", reentered: "by interrupts" },
  { program: "ringside_destroy", target: "tcp_destroy_sock", type: "tracepoint", reentered: "by interrupts" },
];
const receive: Hook = {
  program: "ringside_receive",
  target: "tcp_rcv_space_adjust",
  type: "tracepoint",
  reentered: "by preemption",
};
/** Both halves of a send; the second, of sendfile and splice, is gone from 6.5 on, where the first does its work. */
const sends = (type: "fentry" | "kprobe", reentered: Hook["reentered"]): Hook[] => [
  { program: "ringside_send", target: "tcp_sendmsg_locked", type, reentered },
  { program: "ringside_sendpage", target: "do_tcp_sendpages", type, reentered, else: null },
];
/** The tracepoint is there from 6.16 on. */
const sendTracepoint: Hook = {
  program: "ringside_send",
  target: "tcp_sendmsg_locked",
  type: "tracepoint",
  reentered: "by preemption",
  // By interrupts, too: what is missed then, the next receive makes up for.
  else: { program: "ringside_queue", target: "net_dev_queue", type: "tracepoint", reentered: "by preemption" },
};

export const hooks: Record<Backend, Hook[]> = {
  fentry: [...common, ...sends("fentry", "by preemption"), receive],
  tracepoint: [...common, sendTracepoint, receive],
  // A kprobe's handler is not preempted, and no interrupt sends or reads.
  kprobe: [
    ...common,
    ...sends("kprobe", "never"),
    { ...receive, target: "tcp_cleanup_rbuf", type: "kprobe", reentered: "never" },
  ],
};

/** May a task be preempted while it runs a program? Such a kernel's version says so ("SMP PREEMPT_DYNAMIC"). */
const preemptible = version().includes("PREEMPT");

/** Programs alike on what a kernel comes to again by preemption: sends and receives. */
export const moveCopies = (backend: Backend): number => (backend !== "kprobe" && preemptible ? 3 : 1);

/**
 * The programs alike that hang on a hook. What is come to again by interrupts is rare, and costs a connection: it has as
 * many as bpf/state.h has copies.
 */
export function programsOf({ program, reentered }: Hook, backend: Backend): string[] {
  const copies = { "by interrupts": 4, "by preemption": moveCopies(backend), never: 1 }[reentered];
  return [program, `${program}_2`, `${program}_3`, `${program}_4`].slice(0, copies);
}

/** In which they are to be attached, so that they run one after the other: what is attached to a function last runs first. */
export function inOrder(hook: Hook, backend: Backend): string[] {
  const programs = programsOf(hook, backend);
  return hook.type === "fentry" ? programs.reverse() : programs;
}

/** The hooks to attach on this kernel. */
export function plan(backend: Backend, kernel: KernelTypes): Hook[] {
  const attach: Hook[] = [];
  for (const first of hooks[backend]) {
    let hook: Hook | null | undefined = first;
    while (hook && !kernel.has(hook.type, hook.target)) {
      if (hook.else === undefined) {
        throw new Unsupported(
          `use the ${backend} backend`,
          `this kernel has no ${hook.target}`,
          "Choose another with --backend, or leave it to auto.",
        );
      }
      hook = hook.else;
    }
    if (hook) attach.push(hook);
  }
  return attach;
}
