/** What the agent can do with no capabilities but BPF and PERFMON, and what else it asks for where that is not enough. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $ } from "bun";
import { checkout, top } from "./checkout.ts";
import type { Seen } from "./inside-capabilities.ts";
import { machines } from "./machines.ts";
import { missing } from "./needs.ts";

const kernels = process.env.RINGSIDE_TEST_ALL ? ["6.1", "5.10"] : ["6.1"];

describe.skipIf(missing !== undefined).each(kernels)("with BPF and PERFMON alone, kernel %s", (name) => {
  let out: string;
  let seen: Seen;

  beforeAll(async () => {
    const machine = machines[name]!;
    out = await mkdtemp(join(tmpdir(), "ringside-vm-"));
    const { files, bun } = await checkout(machine);
    const setpriv = ["--file", Bun.which("setpriv")];
    await $`${top}/hack/vm ${files} ${setpriv} --out ${out} ${name} ${bun} test/vm/inside-capabilities.ts`;
    seen = await Bun.file(join(out, "capabilities.json")).json();
  }, 600_000);

  afterAll(() => rm(out, { recursive: true }));

  const working = (user: string) => seen.checks[user]!.backends.flatMap(({ backend, works }) => (works ? backend : []));
  const remedies = (user: string) =>
    new Set(seen.checks[user]!.backends.flatMap(({ hooks }) => hooks.flatMap(({ remedy }) => remedy ?? [])));

  if (name === "5.10") {
    test("nothing works for want of locked memory, and SYS_RESOURCE is the remedy", () => {
      expect(working("uid 0")).toEqual([]);
      expect(seen.checks["uid 0"]!.uses).toBeNull();
      expect([...remedies("uid 0")]).toEqual([
        "Before 5.11 maps are locked memory: add the capability SYS_RESOURCE (extraCapabilities of the chart), or raise the " +
          "limit (ulimit -l).",
      ]);
      expect(working("uid 0, SYS_RESOURCE")).toEqual(["fentry", "tracepoint"]);
    });
    return;
  }

  test.each(["uid 0", "uid 65534"])("as %s fentry and tracepoint work, and kprobe says what it needs", (user) => {
    expect(working(user)).toEqual(["fentry", "tracepoint"]);
    expect([...remedies(user)]).toEqual([
      "Set sysctl kernel.perf_event_paranoid to 2 or less, or add the capability SYS_ADMIN (extraCapabilities of the chart).",
    ]);
  });

  test.each(["uid 0, SYS_ADMIN", "uid 0, paranoid 2"])("each remedy for kprobe is enough: %s", (user) => {
    expect(working(user)).toEqual(["fentry", "tracepoint", "kprobe"]);
  });

  test("every byte and exchange is counted", () => {
    expect(seen.differences).toEqual({
      "fentry uid 0": [],
      "fentry uid 65534": [],
      "tracepoint uid 0": [],
      "tracepoint uid 65534": [],
    });
  });
});
