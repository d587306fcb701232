/** The compiled BPF objects, as paths that stay true inside a compiled executable. */
import fentry from "../../build/fentry.bpf.o" with { type: "file" };
import kprobe from "../../build/kprobe.bpf.o" with { type: "file" };
import seed from "../../build/seed.bpf.o" with { type: "file" };
import tracepoint from "../../build/tracepoint.bpf.o" with { type: "file" };

export const objects: Record<"fentry" | "tracepoint" | "kprobe" | "seed", string> = {
  fentry,
  kprobe,
  seed,
  tracepoint,
};
