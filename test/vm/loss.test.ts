/** Over a path that loses packets: bytes stay exact, and what is sent again is told as the kernel counts it. */
import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $ } from "bun";
import { checkout, top } from "./checkout.ts";
import type { Lossy } from "./inside-loss.ts";
import { machines } from "./machines.ts";
import { missing } from "./needs.ts";

describe.skipIf(missing !== undefined)("an upload of which 3% of the packets are lost", () => {
  test("has its bytes once, and the kernel's count of what was sent again", async () => {
    const out = await mkdtemp(join(tmpdir(), "ringside-vm-"));
    const { files, bun } = await checkout(machines["6.1"]!);
    await $`${top}/hack/vm ${files} --out ${out} 6.1 ${bun} test/vm/inside-loss.ts`;
    const { truth, sent, segments, retransmitted, kernel }: Lossy = await Bun.file(join(out, "loss.json")).json();
    await rm(out, { recursive: true });

    const clients = truth.filter(({ role }) => role === "client");
    expect(sent).toBe(clients.reduce((all, line) => all + line.sent, 0));
    expect(retransmitted).toBeGreaterThan(10);
    expect(retransmitted).toBe(kernel.retransmitted);
    // The kernel counts handshakes and bare acknowledgements too: some for each connection.
    expect(segments).toBeGreaterThan(sent / 65_536);
    expect(segments).toBeLessThan(kernel.segments + kernel.retransmitted);
    expect(segments).toBeGreaterThan(kernel.segments + kernel.retransmitted - 8 * clients.length);
  }, 200_000);
});
