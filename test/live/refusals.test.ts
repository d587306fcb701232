/** What the agent refuses: each in one line that names the step, the object and the remedy, and with exit code 1. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KernelTypes } from "../../src/bpf/libbpf.ts";
import { runToEnd } from "./agent.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "ringside-"));
});
afterAll(() => rm(folder, { recursive: true }));

const listen = ["--listen", "127.0.0.1:0"];

/** @returns the one line that it said */
async function refusal(args: string[], wrap: string[] = []): Promise<string> {
  const { code, out, error } = await runToEnd(args, wrap);
  expect({ code, out }).toEqual({ code: 1, out: "" });
  expect(error.trimEnd().split("\n")).toHaveLength(1);
  return error.trimEnd();
}

test("not root", async () => {
  const said = await refusal(["run", ...listen], ["setpriv", "--reuid", "65534", "--clear-groups", "--inh-caps=-all"]);
  expect(said).toBe(
    "ringside: cannot load the BPF programs: uid 65534 lacks the capabilities BPF and PERFMON. " +
      "Run as root, or add BPF and PERFMON to the container's capabilities.",
  );
});

test("root without the capabilities", async () => {
  const said = await refusal(["run", ...listen], ["setpriv", "--bounding-set=-sys_admin,-bpf", "--inh-caps=-all"]);
  expect(said).toContain("uid 0 lacks the capabilities BPF.");
});

test("a kernel without BTF", async () => {
  const hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$@"', "hide"];
  expect(await refusal(["run", ...listen], hide)).toBe(
    "ringside: cannot load the BPF programs: /sys/kernel/btf/vmlinux is missing. " +
      "Use a kernel built with CONFIG_DEBUG_INFO_BTF=y, 5.10 or newer, and mount /sys.",
  );
});

/** All kernels of today have fentry or kprobes, or both; where both are there is nothing to refuse. */
const kprobes = new KernelTypes().has("kprobe", "register_kprobe");
test.skipIf(kprobes)("a backend that this kernel lacks", async () => {
  const said = await refusal(["run", ...listen, "--backend", "kprobe"]);
  expect(said).toStartWith("ringside: cannot attach the BPF programs: kprobe: bpf_program__attach");
  expect(said).toEndWith("Choose another with --backend, or leave it to auto.");
});

test("an unknown backend, flag, command, a bad time, a bad address", async () => {
  const cases: [string[], string][] = [
    [["run", "--backend", "xdp"], "Allowed choices are auto, fentry, tracepoint, kprobe."],
    [["run", "--colour"], "error: unknown option '--colour'"],
    [["walk"], "error: unknown command 'walk'"],
    [["run", "--interval", "often"], "It is a time of at least 10ms, as in 200ms, 2s or 5m."],
    [["run", "--listen", "12020"], "It is HOST:PORT, as in 127.0.0.1:12020."],
    [["run", "--ring-size", "100000"], "It is a power of two, in bytes."],
  ];
  for (const [args, part] of cases) expect(await refusal(args)).toContain(part);
});

test("a port that is taken", async () => {
  const taken = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
  const address = `127.0.0.1:${taken.port}`;
  expect(await refusal(["run", "--listen", address])).toBe(
    `ringside: cannot listen: ${address}: it is taken. Choose an address of this machine and a free port with --listen.`,
  );
  await taken.stop();
});

test("identities that are missing or malformed", async () => {
  const missing = join(folder, "missing.json");
  expect(await refusal(["run", ...listen, "--identities", missing])).toContain(
    `cannot read the identities: ${missing}: ENOENT`,
  );
  const broken = join(folder, "broken.json");
  await writeFile(broken, '{"kind":"List","items":[{"kind":"Pod",');
  expect(await refusal(["run", ...listen, "--identities", broken])).toContain(`cannot read the identities: ${broken}`);
});
