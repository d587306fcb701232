/**
 * The kernel side, loaded and attached: picks a backend by trying, finds older connections, sweeps.
 */
import { RingsideError, Unsupported } from "../errors.ts";
import * as abi from "./abi.ts";
import { type CgroupPath, CgroupReader } from "./cgroups.ts";
import { type Backend, backends, type Hook, inOrder, moveCopies, plan, programsOf } from "./hooks.ts";
import {
  BpfObject,
  EINVAL,
  ENOMEM,
  EPERM,
  KernelTypes,
  LibbpfError,
  mapShared,
  pageSize,
  trimMemory,
  unmap,
  type Walk,
} from "./libbpf.ts";
import { refuseEarly } from "./needs.ts";
import { objects, seedObject } from "./objects.ts";
import { openObject, type Walker, walkerOf } from "./open.ts";
import { Ring, type Sink } from "./ring.ts";

/** An idle connection is written every so many sweeps, so that the core knows it to be alive; a power of two. */
export const REFRESH = 16;

/** Bytes of the ring of cgroups (bpf/cgroup.h). */
const CGROUP_RING = 65_536;

export interface ProbeOptions {
  backend: Backend | "auto";
  /** Connections whose state may live in the kernel at once. */
  maxConnections: number;
  /** Bytes, a power of two. */
  ringSize: number;
}

export interface HookStats extends Pick<Hook, "target" | "type"> {
  /** Alike, on this hook. */
  programs: number;
  /** Of the first of them. */
  runs: number;
  /** Of all. */
  runSeconds: number;
  /** Events that the kernel brought to no program of ours, for all were running on that CPU: at most so many. */
  missed: number;
}

export type ProbeCounters = Record<Exclude<keyof typeof abi.counters, "size">, bigint>;

export class Probe {
  private readonly ring: Ring;
  private readonly cgroupRing: Ring;
  private readonly cgroupReader = new CgroupReader();
  private readonly control: DataView;
  private readonly counted: DataView;
  /** Sweeps so far. */
  sweeps = 0;

  private constructor(
    readonly backend: Backend,
    private readonly object: BpfObject,
    private readonly attached: Hook[],
    private readonly sweeper: Walk,
    private readonly seeder: Walker,
    readonly options: ProbeOptions,
  ) {
    this.ring = new Ring(object.mapFd("ring"), options.ringSize);
    this.cgroupRing = new Ring(object.mapFd("cgroups"), CGROUP_RING);
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
        if (cause instanceof LibbpfError && cause.code === ENOMEM) {
          const remedy = "Give the agent more memory, or lower --max-connections or --ring-size.";
          throw new RingsideError("load the BPF programs", backend, remedy, { cause });
        }
        if (cause instanceof RingsideError && options.backend !== "auto") throw cause;
        reasons.push(`${backend}: ${(cause as Error).message}`);
      }
    }
    throw new Unsupported(
      "attach the BPF programs",
      reasons.join(" | "),
      options.backend === "auto"
        ? "Ringside needs kernel 5.10 or newer with BTF, and the capabilities BPF and PERFMON (before 5.11 SYS_RESOURCE, too)."
        : "Choose another with --backend, or leave it to auto.",
    );
  }

  private static async tryBackend(backend: Backend, kernel: KernelTypes, options: ProbeOptions): Promise<Probe> {
    const { storage, hash } = objects[backend];
    const attach = plan(backend, kernel);
    const trampoline = attach.find(({ type }) => type === "fentry");
    if (trampoline) kernel.try("fentry", trampoline.target);
    try {
      if (storage !== undefined) {
        kernel.try("iterator", "bpf_sk_storage_map");
        return await Probe.load(backend, attach, kernel, options, storage, false);
      }
    } catch (cause) {
      // What 5.10 answers to a program that asks for socket storage, and a hardened kernel to its iterator.
      if (!(cause instanceof LibbpfError && [EINVAL, EPERM].includes(cause.code))) throw cause;
    }
    return Probe.load(backend, attach, kernel, options, hash, true);
  }

  private static async load(
    backend: Backend,
    attach: Hook[],
    kernel: KernelTypes,
    options: ProbeOptions,
    elf: string,
    hashed: boolean,
  ): Promise<Probe> {
    const programs = attach.flatMap((hook) => inOrder(hook, backend));
    const sweeper = walkerOf(kernel, "ringside_sweep", "states", !hashed);
    const object = await openObject(backend, elf, kernel);
    try {
      const config = object.initialValue(".rodata.config");
      config.setUint32(abi.config.maxConnections, options.maxConnections, true);
      config.setUint32(abi.config.ringSize, options.ringSize, true);
      config.setUint32(abi.config.refresh, REFRESH, true);
      config.setUint32(abi.config.packetSends, Number(attach.some(({ target }) => target === "net_dev_queue")), true);
      config.setUint32(abi.config.moveCopies, moveCopies(backend), true);
      object.setMaxEntries("ring", options.ringSize);
      object.setMaxEntries("seeds", options.maxConnections);
      if (hashed) object.setMaxEntries("states", options.maxConnections);
      object.keep(sweeper.program, ...programs);
      object.load();
      for (const program of programs) object.attach(program);
      const seeder = walkerOf(kernel, "ringside_seed", "hash_buckets");
      return new Probe(backend, object, attach, sweeper.start(object), seeder, options);
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
    const seeder = new BpfObject(await Bun.file(seedObject).bytes());
    try {
      const ours = new Set(this.object.mapNames());
      for (const map of seeder.mapNames()) {
        if (ours.has(map)) seeder.reuseMap(map, this.object.mapFd(map));
      }
      seeder.keep(this.seeder.program);
      seeder.load();
      this.seeder.start(seeder).run(() => {});
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

  /** The cgroups that sockets were seen of for the first time since the last call. */
  cgroups(): CgroupPath[] {
    this.cgroupRing.drain(this.cgroupReader);
    return this.cgroupReader.take();
  }

  counters(): ProbeCounters {
    const { size, ...offsets } = abi.counters;
    return Object.fromEntries(
      Object.entries(offsets).map(([name, offset]) => [name, this.counted.getBigUint64(offset, true)]),
    ) as ProbeCounters;
  }

  hookStats(): HookStats[] {
    return this.attached.map((hook) => {
      const { target, type } = hook;
      const stats = programsOf(hook, this.backend).map((program) => this.object.programStats(program));
      const runNs = stats.reduce((sum, program) => sum + program.runNs, 0n);
      const [first] = stats;
      const missed = Math.min(...stats.map((program) => Number(program.missed)));
      return {
        target,
        type,
        programs: stats.length,
        runs: Number(first?.runs),
        runSeconds: Number(runNs) / 1e9,
        missed,
      };
    });
  }

  /** Detaches all hooks. What the ring still holds is gone: sweep first. */
  close(): void {
    this.ring.close();
    this.cgroupRing.close();
    unmap(this.control.buffer as ArrayBuffer);
    unmap(this.counted.buffer as ArrayBuffer);
    this.object.close();
  }
}
