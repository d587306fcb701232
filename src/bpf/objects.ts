/** The compiled BPF objects, as paths that stay true inside a compiled executable. */
import fentry from "../../build/fentry.bpf.o" with { type: "file" };
import fentryHash from "../../build/fentry_hash.bpf.o" with { type: "file" };
import kprobe from "../../build/kprobe.bpf.o" with { type: "file" };
import seed from "../../build/seed.bpf.o" with { type: "file" };
import tracepoint from "../../build/tracepoint.bpf.o" with { type: "file" };
import tracepointHash from "../../build/tracepoint_hash.bpf.o" with { type: "file" };

export const seedObject: string = seed;

/** Where the state is: in the sockets' own storage, or, where programs have none, in a hash of ours. */
export const objects: Record<"fentry" | "tracepoint" | "kprobe", { storage?: string; hash: string }> = {
  fentry: { storage: fentry, hash: fentryHash },
  tracepoint: { storage: tracepoint, hash: tracepointHash },
  kprobe: { hash: kprobe },
};
