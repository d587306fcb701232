import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $ } from "bun";
import { missing } from "./needs.ts";

const vm = join(import.meta.dir, "../../hack/vm");

describe.skipIf(missing !== undefined)("an emulated machine", () => {
  test("prints what the command prints, hands out its files and ends with its status", async () => {
    const out = await mkdtemp(join(tmpdir(), "ringside-vm-"));
    const ended =
      await $`${vm} --file ${import.meta.path} --out ${out} 6.1 sh -c ${"uname -r; ls test/vm; id -u >out/uid; exit 7"}`
        .quiet()
        .nothrow();
    expect(ended.exitCode).toBe(7);
    expect(ended.stdout.toString()).toMatch(/^6\.1\.0-\d+-cloud-amd64\nmachine\.test\.ts\n$/);
    expect(await Bun.file(join(out, "uid")).text()).toBe("0\n");
    await rm(out, { recursive: true });
  }, 600_000);

  test("that hangs is ended, with the end of its log", async () => {
    const ended = await $`${vm} --timeout 40 6.1 sleep 1000`.quiet().nothrow();
    expect(ended.exitCode).toBe(125);
    expect(ended.stderr.toString()).toMatch(/it did not end within 40 s; the end of its log:\n.*\[ +\d+\.\d+\] /s);
  }, 600_000);

  test("that panics has died, with the end of its log", async () => {
    const ended = await $`${vm} 6.1 sh -c ${"echo c >/proc/sysrq-trigger"}`.quiet().nothrow();
    expect(ended.exitCode).toBe(125);
    expect(ended.stderr.toString()).toMatch(/it died; the end of its log:\n.*sysrq_handle_crash/s);
  }, 600_000);
});
