/**
 * The kernel side, loaded and attached: picks a backend by trying, finds older connections, sweeps.
 */
import { existsSync, readFileSync } from "node:fs";
import { RingsideError, Unsupported } from "../errors.ts";
import * as abi from "./abi.ts";
import { type BpfIterator, BpfObject, KernelTypes, mapShared, pageSize, trimMemory, unmap } from "./libbpf.ts";
import { objects } from "./objects.ts";
import { Ring, type Sink } from "./ring.ts";

/** In the order in which they are tried: the cheapest first. */
export const backends = ["fentry", "tracepoint", "kprobe"] as const;
export type Backend = (typeof backends)[number];

interface Hook {
  program: string;
  /** The kernel function or tracepoint that it hangs on. */
  target: string;
  type: "fentry" | "tracepoint" | "kprobe";
  /** What takes its place where the kernel lacks the target: another program, or nothing at all. */
  else?: Hook | null;
}

const common: Hook[] = [
  { program: "ringside_state", target: "inet_sock_set_state", type: "tracepoint" },
  { program: "ringside_destroy", target: "tcp_destroy_sock", type: "tracepoint" },
];
const receive: Hook = { program: "ringside_receive", target: "tcp_rcv_space_adjust", type: "tracepoint" };
/** Both halves of a send; the second is gone from 6.5 on, where the first does its work. */
const sends = (type: "fentry" | "kprobe"): Hook[] => [
  { program: "ringside_send", target: "tcp_sendmsg_locked", type },
  { program: "ringside_sendpage", target: "tcp_sendpage_locked", type, else: null },
];
/** The tracepoint is there from 6.16 on. */
const sendTracepoint: Hook = {
  program: "ringside_send",
  target: "tcp_sendmsg_locked",
  type: "tracepoint",
  else: { program: "ringside_queue", target: "net_dev_queue", type: "tracepoint" },
};

const hooks: Record<Backend, Hook[]> = {
  fentry: [...common, ...sends("fentry"), receive],
  tracepoint: [...common, sendTracepoint, receive],
  kprobe: [...common, ...sends("kprobe"), { ...receive, target: "tcp_cleanup_rbuf", type: "kprobe" }],
};

/** A clean connection is written again every so many sweeps, so that the core knows it to be alive. */
export const REFRESH = 8;

export interface ProbeOptions {
  backend: Backend | "auto";
  /** Connections whose state may live in the kernel at once. */
  maxConnections: number;
  /** Bytes, a power of two. */
  ringSize: number;
}

export interface HookStats extends Pick<Hook, "target" | "type"> {
  runs: number;
  runSeconds: number;
  /** Runs that the kernel skipped, for the same program was already running on that CPU. */
  missed: number;
}

export type ProbeCounters = Record<Exclude<keyof typeof abi.counters, "size">, bigint>;

/** What every backend needs, told before libbpf's own errors would. */
function refuseEarly(): void {
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
  if (!existsSync("/sys/kernel/btf/vmlinux")) {
    throw new Unsupported(
      "load the BPF programs",
      "/sys/kernel/btf/vmlinux is missing",
      "Use a kernel built with CONFIG_DEBUG_INFO_BTF=y, 5.10 or newer, and mount /sys.",
    );
  }
}

/** The hooks to attach on this kernel, and the programs to leave out. */
function plan(backend: Backend, kernel: KernelTypes): { attach: Hook[]; omit: string[] } {
  const attach: Hook[] = [];
  const omit: string[] = [];
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
      omit.push(hook.program);
      hook = hook.else;
    }
    if (hook) attach.push(hook);
    for (let rest = hook?.else; rest; rest = rest.else) omit.push(rest.program);
  }
  return { attach, omit };
}

export class Probe {
  private readonly ring: Ring;
  private readonly sweeper: BpfIterator;
  private readonly control: DataView;
  private readonly counted: DataView;
  /** Sweeps so far. */
  sweeps = 0;

  private constructor(
    readonly backend: Backend,
    private readonly object: BpfObject,
    private readonly attached: Hook[],
    ringSize: number,
  ) {
    this.ring = new Ring(object.mapFd("ring"), ringSize);
    this.sweeper = object.attachIterator("ringside_sweep", "states");
    this.control = new DataView(mapShared(object.mapFd(".data.control"), pageSize, 0, true));
    this.counted = new DataView(mapShared(object.mapFd(".data.counters"), pageSize, 0, true));
  }

  /**
   * Loads and attaches the first backend that this kernel takes, or the one that is asked for. To be seeded next.
   * @throws Unsupported with each backend's reason
   */
  static async attach(options: ProbeOptions): Promise<Probe> {
    refuseEarly();
    const wanted = options.backend === "auto" ? backends : [options.backend];
    const reasons: string[] = [];
    using kernel = new KernelTypes();
    for (const backend of wanted) {
      try {
        return await Probe.tryBackend(backend, kernel, options);
      } catch (cause) {
        if (cause instanceof RingsideError && options.backend !== "auto") throw cause;
        reasons.push(`${backend}: ${(cause as Error).message}`);
      }
    }
    throw new Unsupported(
      "attach the BPF programs",
      reasons.join(" | "),
      options.backend === "auto"
        ? "Ringside needs kernel 5.10 or newer with BTF, and the capabilities BPF and PERFMON."
        : "Choose another with --backend, or leave it to auto.",
    );
  }

  private static async tryBackend(backend: Backend, kernel: KernelTypes, options: ProbeOptions): Promise<Probe> {
    const { attach, omit } = plan(backend, kernel);
    const object = new BpfObject(await Bun.file(objects[backend]).bytes());
    try {
      const config = object.initialValue(".rodata.config");
      config.setUint32(abi.config.maxConnections, options.maxConnections, true);
      config.setUint32(abi.config.ringSize, options.ringSize, true);
      config.setUint32(abi.config.refresh, REFRESH, true);
      object.setMaxEntries("ring", options.ringSize);
      object.setMaxEntries("seeds", options.maxConnections);
      if (backend === "kprobe") object.setMaxEntries("states", options.maxConnections);
      for (const program of omit) object.omit(program);
      object.load();
      for (const hook of attach) object.attach(hook.program);
      return new Probe(backend, object, attach, options.ringSize);
    } catch (cause) {
      object.close();
      throw cause;
    }
  }

  /**
   * Finds the connections that are older, by one walk of the kernel's established sockets.
   * @throws LibbpfError under lockdown=confidentiality, say: older connections then count from their next move on
   */
  async seed(): Promise<void> {
    const seeder = new BpfObject(await Bun.file(objects.seed).bytes());
    try {
      const ours = new Set(this.object.mapNames());
      for (const map of seeder.mapNames()) {
        if (ours.has(map)) seeder.reuseMap(map, this.object.mapFd(map));
      }
      seeder.load();
      seeder.attachIterator("ringside_seed", "hash_buckets").run(() => {});
    } finally {
      seeder.close();
      trimMemory();
    }
  }

  /** Has every changed connection write a snapshot, and drains. */
  sweep(sink: Sink): void {
    this.sweeps++;
    this.control.setUint32(abi.control.sweep, this.sweeps, true);
    this.sweeper.run(() => this.ring.drain(sink));
    this.ring.drain(sink);
  }

  drain(sink: Sink): void {
    this.ring.drain(sink);
  }

  counters(): ProbeCounters {
    const { size, ...offsets } = abi.counters;
    return Object.fromEntries(
      Object.entries(offsets).map(([name, offset]) => [name, this.counted.getBigUint64(offset, true)]),
    ) as ProbeCounters;
  }

  hookStats(): HookStats[] {
    return this.attached.map(({ program, target, type }) => {
      const { runs, runNs, missed } = this.object.programStats(program);
      return { target, type, runs: Number(runs), runSeconds: Number(runNs) / 1e9, missed: Number(missed) };
    });
  }

  /** Detaches all hooks. What the ring still holds is gone: sweep first. */
  close(): void {
    this.ring.close();
    unmap(this.control.buffer as ArrayBuffer);
    unmap(this.counted.buffer as ArrayBuffer);
    this.object.close();
  }
}
