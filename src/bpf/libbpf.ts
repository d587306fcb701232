/**
 * The system's libbpf and the few calls of libc that go with it, by FFI. The only file that knows C
 * signatures; what is returned is plain numbers, views on foreign memory and errors with libbpf's own
 * words.
 */
import {
  CString,
  dlopen,
  type FFIFunction,
  FFIType,
  JSCallback,
  type Pointer,
  ptr,
  read,
  toArrayBuffer,
} from "bun:ffi";
import { RingsideError } from "../errors.ts";

const { i32, i64_fast, u32, u64, u64_fast, pointer, cstring, function: callback, void: nothing } = FFIType;

/** @throws RingsideError where the machine has no such library */
function library<Functions extends Record<string, FFIFunction>>(name: string, functions: Functions) {
  try {
    return dlopen(name, functions).symbols;
  } catch (cause) {
    throw new RingsideError("open the library", name, "Install Debian's libbpf1, or libbpf 1.0 or newer.", { cause });
  }
}

const lib = library("libbpf.so.1", {
  libbpf_set_print: { args: [callback], returns: pointer },
  btf__load_vmlinux_btf: { args: [], returns: pointer },
  btf__find_by_name_kind: { args: [pointer, pointer, u32], returns: i32 },
  btf__free: { args: [pointer], returns: nothing },
  bpf_object__open_mem: { args: [pointer, u64, pointer], returns: pointer },
  bpf_object__load: { args: [pointer], returns: i32 },
  bpf_object__close: { args: [pointer], returns: nothing },
  bpf_object__find_map_by_name: { args: [pointer, pointer], returns: pointer },
  bpf_object__find_program_by_name: { args: [pointer, pointer], returns: pointer },
  bpf_object__next_map: { args: [pointer, pointer], returns: pointer },
  bpf_object__next_program: { args: [pointer, pointer], returns: pointer },
  bpf_map__name: { args: [pointer], returns: cstring },
  bpf_map__fd: { args: [pointer], returns: i32 },
  bpf_map__reuse_fd: { args: [pointer, i32], returns: i32 },
  bpf_map__map_flags: { args: [pointer], returns: u32 },
  bpf_map__set_map_flags: { args: [pointer, u32], returns: i32 },
  bpf_map__set_max_entries: { args: [pointer, u32], returns: i32 },
  bpf_map__initial_value: { args: [pointer, pointer], returns: pointer },
  bpf_program__name: { args: [pointer], returns: cstring },
  bpf_program__fd: { args: [pointer], returns: i32 },
  bpf_program__set_autoload: { args: [pointer, FFIType.bool], returns: i32 },
  bpf_program__attach: { args: [pointer], returns: pointer },
  bpf_program__attach_iter: { args: [pointer, pointer], returns: pointer },
  bpf_link__fd: { args: [pointer], returns: i32 },
  bpf_link__destroy: { args: [pointer], returns: i32 },
  bpf_prog_load: { args: [u32, pointer, pointer, pointer, u64, pointer], returns: i32 },
  bpf_map_create: { args: [u32, pointer, u32, u32, u32, pointer], returns: i32 },
  bpf_iter_create: { args: [i32], returns: i32 },
  bpf_prog_test_run_opts: { args: [i32, pointer], returns: i32 },
  bpf_enable_stats: { args: [i32], returns: i32 },
  bpf_obj_get_info_by_fd: { args: [i32, pointer, pointer], returns: i32 },
});

const libc = library("libc.so.6", {
  __errno_location: { args: [], returns: pointer },
  strerror: { args: [i32], returns: cstring },
  vsnprintf: { args: [pointer, u64, pointer, pointer], returns: i32 },
  read: { args: [i32, pointer, u64], returns: i64_fast },
  close: { args: [i32], returns: i32 },
  mmap: { args: [pointer, u64, i32, i32, i32, u64_fast], returns: pointer },
  munmap: { args: [pointer, u64], returns: i32 },
  sysconf: { args: [i32], returns: i64_fast },
  clock_gettime: { args: [i32, pointer], returns: i32 },
  malloc_trim: { args: [u64], returns: i32 },
});

const EAGAIN = 11;
export const EPERM = 1;
export const ENOMEM = 12;
export const EINVAL = 22;
const SC_PAGESIZE = 30;
const CLOCK_BOOTTIME = 7;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;

/** linux/bpf.h, flags of maps */
const BPF_F_NO_PREALLOC = 1;
/** linux/bpf.h, enum bpf_stats_type */
const BPF_STATS_RUN_TIME = 0;
/** linux/btf.h */
const BTF_KIND_TYPEDEF = 8;
const BTF_KIND_FUNC = 12;

/** linux/bpf.h, enum bpf_prog_type, and of enum bpf_attach_type what such a program may be for */
const BPF_PROG_TYPE_TRACING = 26;
const ATTACH_TYPES = { fentry: 24, iterator: 28 };
/** `r0 = 0; exit`, as linux/bpf.h encodes instructions */
const NOTHING = Uint8Array.of(0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0);

const LICENSE = Buffer.from("GPL\0");

/** linux/bpf.h, enum bpf_map_type */
const BPF_MAP_TYPE_ARRAY = 2;

const errno = (): number => read.i32(libc.__errno_location() as Pointer, 0);
const errorText = (code: number): string => String(libc.strerror(code));
const c = (text: string): Uint8Array => Buffer.from(`${text}\0`);

/** libbpf's warnings since the last failure, for the next one's message. */
let words: string[] = [];
const line = new Uint8Array(4096);
const print = new JSCallback(
  (level: number, format: Pointer, args: Pointer) => {
    if (level === 0 && words.length < 64) {
      libc.vsnprintf(ptr(line), line.length, format, args);
      words.push(new CString(ptr(line)).toString().trimEnd());
    }
    return 0;
  },
  { args: [i32, pointer, pointer], returns: i32 },
);
lib.libbpf_set_print(print);

/** What libbpf answered: the system's error and, of its own words, those that explain. */
export class LibbpfError extends Error {
  constructor(
    call: string,
    readonly code: number,
  ) {
    // libbpf meets any EPERM with advice about ulimits, which is wrong since 5.11; the verifier's log is pages.
    const said = words
      .flatMap((w) => (w.includes("BEGIN PROG LOAD LOG") ? w.split("\n").slice(-5, -1) : [w]))
      .filter((w) => !/ulimit|END PROG LOAD LOG|^processed |failed to load/.test(w))
      .map((w) => w.replace(/^libbpf: /, "").trim());
    words = [];
    super([`${call}: ${errorText(code)}`, ...said.slice(-4)].join("; "));
    this.name = "LibbpfError";
  }
}

function check(call: string, result: number): number {
  if (result < 0) throw new LibbpfError(call, -result);
  return result;
}

function checkPointer(call: string, result: Pointer | bigint | null): Pointer {
  if (typeof result !== "number") throw new LibbpfError(call, errno());
  return result;
}

/** What the running kernel's BTF says it has. */
export class KernelTypes {
  private readonly btf = checkPointer("btf__load_vmlinux_btf", lib.btf__load_vmlinux_btf());

  has(type: "fentry" | "tracepoint" | "kprobe", name: string): boolean {
    // A tracepoint leaves the type of its probe behind; the others hang on functions.
    const [symbol, kind] = type === "tracepoint" ? [`btf_trace_${name}`, BTF_KIND_TYPEDEF] : [name, BTF_KIND_FUNC];
    return this.find(symbol, kind) > 0;
  }

  /**
   * Tries whether the kernel takes programs for that function, or iterator, at all: some refuse them to everybody. To try
   * costs nothing; an object that is loaded in vain costs 100 ms, and some megabytes.
   * @throws LibbpfError
   */
  try(type: "fentry" | "iterator", name: string): void {
    const options = new Uint32Array(10); // struct bpf_prog_load_opts: its size, ...
    options[0] = options.byteLength;
    options[3] = ATTACH_TYPES[type]; // expected_attach_type
    options[8] = this.find(type === "iterator" ? `bpf_iter_${name}` : name, BTF_KIND_FUNC); // attach_btf_id
    const fd = lib.bpf_prog_load(BPF_PROG_TYPE_TRACING, null, ptr(LICENSE), ptr(NOTHING), 2n, ptr(options));
    libc.close(check(`load any program for ${type} ${name}`, fd));
  }

  private find(symbol: string, kind: number): number {
    return lib.btf__find_by_name_kind(this.btf, ptr(c(symbol)), kind);
  }

  [Symbol.dispose](): void {
    lib.btf__free(this.btf);
  }
}

/**
 * Has the kernel measure how often and how long BPF programs run, until this process ends, however it ends: a sysctl
 * would stay set.
 */
export function measurePrograms(): void {
  check("bpf_enable_stats", lib.bpf_enable_stats(BPF_STATS_RUN_TIME));
}

/** Gives back what loading took: libbpf reads some 10 MB of kernel types to resolve ours. */
export function trimMemory(): void {
  libc.malloc_trim(0);
}

/** An opened BPF object: configure it, load it once, attach its programs. */
export class BpfObject {
  private readonly handle: Pointer;
  private readonly links: Pointer[] = [];

  /** @param elf the object file's bytes */
  constructor(elf: Uint8Array) {
    words = [];
    this.handle = checkPointer("bpf_object__open_mem", lib.bpf_object__open_mem(ptr(elf), elf.length, null));
  }

  load(): void {
    check("bpf_object__load", lib.bpf_object__load(this.handle));
  }

  /** Detaches what was attached, and frees everything that no other holds. */
  close(): void {
    for (const link of this.links.splice(0)) lib.bpf_link__destroy(link);
    lib.bpf_object__close(this.handle);
  }

  map(name: string): Pointer {
    const map = lib.bpf_object__find_map_by_name(this.handle, ptr(c(name)));
    return checkPointer(`find the map ${name}`, map);
  }

  mapFd(name: string): number {
    return check("bpf_map__fd", lib.bpf_map__fd(this.map(name)));
  }

  mapNames(): string[] {
    const names: string[] = [];
    for (let m = lib.bpf_object__next_map(this.handle, null); m; m = lib.bpf_object__next_map(this.handle, m)) {
      names.push(String(lib.bpf_map__name(m)));
    }
    return names;
  }

  programNames(): string[] {
    const names: string[] = [];
    let p = lib.bpf_object__next_program(this.handle, null);
    for (; p; p = lib.bpf_object__next_program(this.handle, p)) names.push(String(lib.bpf_program__name(p)));
    return names;
  }

  setMaxEntries(map: string, entries: number): void {
    check("bpf_map__set_max_entries", lib.bpf_map__set_max_entries(this.map(map), entries));
  }

  /** Before load: no hash grows as it fills, all its memory is taken at once. */
  preallocate(): void {
    for (const name of this.mapNames()) {
      const map = this.map(name);
      const flags = lib.bpf_map__map_flags(map);
      if (flags & BPF_F_NO_PREALLOC) lib.bpf_map__set_map_flags(map, flags & ~BPF_F_NO_PREALLOC);
    }
  }

  /** Before load: this map is the one that another object holds. */
  reuseMap(name: string, fd: number): void {
    check("bpf_map__reuse_fd", lib.bpf_map__reuse_fd(this.map(name), fd));
  }

  /** Before load: the initial value of a section of global variables, to be written. */
  initialValue(name: string): DataView {
    const size = new BigUint64Array(1);
    const at = checkPointer("bpf_map__initial_value", lib.bpf_map__initial_value(this.map(name), ptr(size)));
    return new DataView(toArrayBuffer(at, 0, Number(size[0])));
  }

  private program(name: string): Pointer {
    const program = lib.bpf_object__find_program_by_name(this.handle, ptr(c(name)));
    return checkPointer(`find the program ${name}`, program);
  }

  /** Before load: leave all others out. */
  keep(...programs: string[]): void {
    for (const name of this.programNames()) {
      if (programs.includes(name)) continue;
      check("bpf_program__set_autoload", lib.bpf_program__set_autoload(this.program(name), false));
    }
  }

  attach(program: string): void {
    this.links.push(checkPointer("bpf_program__attach", lib.bpf_program__attach(this.program(program))));
  }

  /** Attaches an iterator program over a map. */
  attachIterator(program: string, map: string): Walk {
    const info = new Uint32Array(4); // union bpf_iter_link_info: map.map_fd first
    info[0] = this.mapFd(map);
    // struct bpf_iter_attach_opts: its size, the info, the info's size
    const options = new BigUint64Array([24n, BigInt(ptr(info)), BigInt(info.byteLength)]);
    const link = lib.bpf_program__attach_iter(this.program(program), ptr(options));
    this.links.push(checkPointer("bpf_program__attach_iter", link));
    return new BpfIterator(check("bpf_link__fd", lib.bpf_link__fd(link)));
  }

  /** A program of the type "syscall" that walks a map by itself, each time that it is run. */
  walker(program: string): Walk {
    return new BpfWalker(check("bpf_program__fd", lib.bpf_program__fd(this.program(program))));
  }

  /** What the kernel measured of a program: all 0 unless it measures programs (kernel.bpf_stats_enabled). */
  programStats(program: string): { runs: bigint; runNs: bigint; missed: bigint } {
    const info = new BigUint64Array(32); // struct bpf_prog_info, and room
    const size = new Uint32Array([info.byteLength]);
    const fd = lib.bpf_program__fd(this.program(program));
    check("bpf_obj_get_info_by_fd", lib.bpf_obj_get_info_by_fd(fd, ptr(info), ptr(size)));
    // run_time_ns, run_cnt and recursion_misses stand at 192, 200 and 208
    return { runNs: info[24] as bigint, runs: info[25] as bigint, missed: info[26] as bigint };
  }
}

/** Each run walks a map once. */
export interface Walk {
  /** @param full called when the program asks for a pause by returning 1; the walk then goes on. */
  run(full: () => void): void;
}

/** An attached iterator. */
class BpfIterator implements Walk {
  private readonly output = new Uint8Array(64);

  constructor(private readonly linkFd: number) {}

  run(full: () => void): void {
    const fd = check("bpf_iter_create", lib.bpf_iter_create(this.linkFd));
    try {
      for (;;) {
        const n = libc.read(fd, ptr(this.output), this.output.length) as number;
        if (n === 0) return;
        if (n > 0) continue;
        const code = errno();
        if (code !== EAGAIN) throw new LibbpfError("read the iterator", code);
        full();
      }
    } finally {
      libc.close(fd);
    }
  }
}

/** A program that is run; it knows by itself where it goes on. */
class BpfWalker implements Walk {
  /** struct bpf_test_run_opts: its size first, and at 56 what the program returned. */
  private readonly options = new Uint32Array(20);

  constructor(private readonly fd: number) {
    this.options[0] = this.options.byteLength;
  }

  run(full: () => void): void {
    for (;;) {
      check("bpf_prog_test_run_opts", lib.bpf_prog_test_run_opts(this.fd, ptr(this.options)));
      if (this.options[14] === 0) return;
      full();
    }
  }
}

export const pageSize = libc.sysconf(SC_PAGESIZE) as number;

/** Maps `length` bytes of a BPF map, shared with the kernel; `unmap` gives them back. */
export function mapShared(fd: number, length: number, offset: number, writable: boolean): ArrayBuffer {
  const protection = PROT_READ | (writable ? PROT_WRITE : 0);
  const at = libc.mmap(null, length, protection, MAP_SHARED, fd, offset);
  // MAP_FAILED comes back as a BigInt
  if (typeof at !== "number") throw new LibbpfError("mmap", errno());
  return toArrayBuffer(at, 0, length);
}

export function unmap(buffer: ArrayBuffer): void {
  libc.munmap(ptr(buffer), buffer.byteLength);
}

const timespec = new BigInt64Array(2);

/** Nanoseconds since boot, as bpf_ktime_get_boot_ns tells them. */
export function bootNs(): bigint {
  libc.clock_gettime(CLOCK_BOOTTIME, ptr(timespec));
  return (timespec[0] as bigint) * 1_000_000_000n + (timespec[1] as bigint);
}

/** Whether the system call bpf() comes through at all: a map of one number is made, and is gone. */
export function mayCallBpf(): boolean {
  const fd = lib.bpf_map_create(BPF_MAP_TYPE_ARRAY, null, 4, 4, 1, null);
  if (fd >= 0) libc.close(fd);
  return fd >= 0;
}
