/** What this machine allows: every hook of every backend, loaded and attached by itself, and what a missing one needs. */
import { RingsideError } from "../errors.ts";
import { type Backend, backends, type Hook, hooks } from "./hooks.ts";
import { type BpfObject, EPERM, KernelTypes, LibbpfError } from "./libbpf.ts";
import { refuseEarly } from "./needs.ts";
import { objects } from "./objects.ts";
import { openObject, type Walker, walkerOf } from "./open.ts";

export interface HookCheck {
  /** The kernel function or tracepoint; or by what the sweep walks. */
  hook: string;
  type: Hook["type"] | Walker["type"];
  works: boolean;
  /** Where it does not: why, in the kernel's or libbpf's words, and what would help. */
  why?: string;
  remedy?: string;
}

export interface BackendCheck {
  backend: Backend;
  works: boolean;
  hooks: HookCheck[];
}

export interface MachineCheck {
  /** What `run` takes by itself; null where nothing works. */
  uses: Backend | null;
  backends: BackendCheck[];
  /** What all of them lack. */
  refusal?: string;
}

const ENOENT = 2;
const EACCES = 13;

const add = (capability: string): string => `add the capability ${capability} (extraCapabilities of the chart)`;

function remedyOf(type: HookCheck["type"], error: unknown): string {
  const { code, message } = error instanceof LibbpfError ? error : { code: 0, message: "" };
  if (/(cannot use helper|unknown func) bpf_probe_read/.test(message)) {
    return "This kernel is locked down (lockdown=confidentiality) and allows no probe reads; use another backend.";
  }
  if (code === EPERM && /map '.*': failed to create/.test(message)) {
    return `Before 5.11 maps are locked memory: ${add("SYS_RESOURCE")}, or raise the limit (ulimit -l).`;
  }
  if (type === "kprobe") {
    if (code === ENOENT) return "Boot a kernel built with CONFIG_KPROBES=y, or use another backend.";
    if (code === EACCES || code === EPERM) {
      return `Set sysctl kernel.perf_event_paranoid to 2 or less, or ${add("SYS_ADMIN")}.`;
    }
  }
  if (type === "fentry" && code === EPERM) {
    return "This kernel refuses trampolines to everybody (it is hardened); use another backend.";
  }
  if (type === "fentry" && code !== 0) return "Boot a kernel with direct trampolines: 5.10 on x86-64, 6.4 on arm64.";
  if (type === "iterator" && code === EPERM) {
    return "This kernel refuses iterators over maps to everybody (it is hardened); from 6.1 on there is another way.";
  }
  return "Boot a kernel of 5.10 or newer.";
}

/** Loads one program by itself, and lets it do what it is for. */
async function tryProgram(
  backend: Backend,
  elf: string,
  kernel: KernelTypes,
  { program, target, type }: Pick<Walker, "program" | "target"> & Pick<HookCheck, "type">,
  use: (object: BpfObject) => void,
): Promise<HookCheck> {
  const object = await openObject(backend, elf, kernel);
  try {
    object.keep(program);
    object.load();
    use(object);
    return { hook: target, type, works: true };
  } catch (error) {
    return { hook: target, type, works: false, why: (error as Error).message, remedy: remedyOf(type, error) };
  } finally {
    object.close();
  }
}

/** The first of a backend's objects with which it works, else what the last one says. */
async function tryObjects(backend: Backend, one: (elf: string, isStorage: boolean) => Promise<HookCheck>) {
  const { storage, hash } = objects[backend];
  const first = storage === undefined ? undefined : await one(storage, true);
  return first?.works ? first : one(hash, false);
}

const tryHook = (backend: Backend, hook: Hook, kernel: KernelTypes): Promise<HookCheck> =>
  tryObjects(backend, (elf) => tryProgram(backend, elf, kernel, hook, (object) => object.attach(hook.program)));

/** What the sweep walks all connections by. */
const trySweep = (backend: Backend, kernel: KernelTypes): Promise<HookCheck> =>
  tryObjects(backend, (elf, isStorage) => {
    const walker = walkerOf(kernel, "ringside_sweep", "states", isStorage);
    return tryProgram(backend, elf, kernel, walker, (object) => walker.start(object).run(() => {}));
  });

/** The hook, or the first of those that can take its place; undefined where it may be missing. */
async function tryHooks(backend: Backend, first: Hook, kernel: KernelTypes): Promise<HookCheck | undefined> {
  for (let hook: Hook | null | undefined = first; hook; hook = hook.else) {
    if (kernel.has(hook.type, hook.target)) return tryHook(backend, hook, kernel);
    if (hook.else === null) return undefined;
  }
  const { target, type } = first;
  return { hook: target, type, works: false, why: "this kernel does not have it", remedy: remedyOf(type, undefined) };
}

/** Loads and attaches everything, one after the other, and leaves nothing behind. */
export async function checkMachine(): Promise<MachineCheck> {
  try {
    refuseEarly();
  } catch (error) {
    if (!(error instanceof RingsideError)) throw error;
    return { uses: null, backends: [], refusal: error.message };
  }
  using kernel = new KernelTypes();
  const checked: BackendCheck[] = [];
  for (const backend of backends) {
    const results: HookCheck[] = [];
    for (const hook of hooks[backend]) {
      const result = await tryHooks(backend, hook, kernel);
      if (result) results.push(result);
    }
    results.push(await trySweep(backend, kernel));
    checked.push({ backend, works: results.every(({ works }) => works), hooks: results });
  }
  return { uses: checked.find(({ works }) => works)?.backend ?? null, backends: checked };
}

/** The same for people. */
export function describe({ uses, backends: checked, refusal }: MachineCheck): string {
  const lines = checked.flatMap(({ backend, works, hooks: results }) => [
    `${backend}: ${works ? "works" : "does not work"}`,
    ...results.flatMap(({ hook, type, works, why, remedy }) => [
      `  ${works ? "ok     " : "missing"}  ${type} ${hook}`,
      ...(works ? [] : [`           ${why}`, `           ${remedy}`]),
    ]),
  ]);
  return [...lines, refusal ?? (uses ? `run uses ${uses}` : "no backend works here")].join("\n");
}
