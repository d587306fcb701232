/** Over a path that loses packets: bytes stay exact, and what is said of the path is what the kernel's own tools say. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $ } from "bun";
import { checkout, top } from "./checkout.ts";
import type { Live } from "./inside-live.ts";
import type { Lossy } from "./inside-loss.ts";
import { machines } from "./machines.ts";
import { missing } from "./needs.ts";

describe.skipIf(missing !== undefined)("over a path of which 3% of the packets are lost", () => {
  let out: string;

  beforeAll(async () => {
    out = await mkdtemp(join(tmpdir(), "ringside-vm-"));
    const { files, bun } = await checkout(machines["6.1"]!);
    const both = `${bun} test/vm/inside-loss.ts && ${bun} test/vm/inside-live.ts`;
    await $`${top}/hack/vm ${files} --file ${Bun.which("ss")} --out ${out} 6.1 sh -c ${both}`;
  }, 600_000);

  afterAll(() => rm(out, { recursive: true }));

  test("an upload has its bytes once, and the kernel's count of what was sent again", async () => {
    const { truth, sent, segments, retransmitted, kernel }: Lossy = await Bun.file(join(out, "loss.json")).json();
    const clients = truth.filter(({ role }) => role === "client");
    expect(sent).toBe(clients.reduce((all, line) => all + line.sent, 0));
    expect(retransmitted).toBeGreaterThan(10);
    expect(retransmitted).toBe(kernel.retransmitted);
    // The kernel counts handshakes and bare acknowledgements too: some for each connection.
    expect(segments).toBeGreaterThan(sent / 65_536);
    expect(segments).toBeLessThan(kernel.segments + kernel.retransmitted);
    expect(segments).toBeGreaterThan(kernel.segments + kernel.retransmitted - 8 * clients.length);
  });

  test("a connection that stays has the round trip, the segments and the retransmissions that ss shows", async () => {
    const { records, ss }: Live = await Bun.file(join(out, "live.json")).json();
    const byPort = (paths: Live["ss"]) => paths.toSorted((a, b) => a.port - b.port);
    expect(byPort(records)).toEqual(byPort(ss));
    expect(ss).toHaveLength(2);
    // Two ways of 10 ms.
    for (const { rtt } of ss) expect(rtt).toBeGreaterThan(20);
    expect(Math.max(...ss.map(({ retransmitted }) => retransmitted))).toBeGreaterThan(5);
  });
});
