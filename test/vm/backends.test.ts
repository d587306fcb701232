/** The backends on kernels that this machine does not run, in emulated machines. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $ } from "bun";
import { type Backend, backends as everyBackend } from "../../src/bpf/hooks.ts";
import { trafficEnds } from "../truth/traffic.ts";
import { compareDurations, compareLinks, compareLosses, compareMetrics, unsteady } from "../truth/truth.ts";
import { witnessExcess } from "../witness/witness.ts";
import { checkout, top } from "./checkout.ts";
import { document } from "./document.ts";
import type { Observed, Told } from "./inside.ts";
import { machines } from "./machines.ts";
import { missing } from "./needs.ts";

const ends = trafficEnds();
/** Of the verifier's million instructions. */
const HALF = 500_000;

/** Scenario -> machine -> the initials of the backends that were exact in it. */
const scenarios = new Map<string, Map<string, string>>();

describe.skipIf(missing !== undefined).each(Object.entries(machines))("kernel %s", (name, machine) => {
  const { kernel, boot, backends, witness, limit } = machine;
  const byBackend = new Map<string, Observed>();
  let told: Told;
  let log: string;
  let out: string;

  function observed(backend: string): Observed {
    const found = byBackend.get(backend);
    if (found === undefined) throw new Error(`the machine printed why there is nothing of ${backend}`);
    return found;
  }

  beforeAll(
    async () => {
      out = await mkdtemp(join(tmpdir(), "ringside-vm-"));
      const { files, bun } = await checkout(machine);
      const words = boot.flatMap((word) => ["--boot", word]);
      const messages = join(out, "kernel.log");
      const how = [...files, ...words, "--out", out, "--log", messages, "--timeout", limit];
      const inside = ["test/vm/inside.ts", ...(witness ? ["--witness"] : []), ...backends];
      await $`${top}/hack/vm ${how} ${kernel} ${bun} ${inside}`;
      for (const backend of backends) {
        const said = Bun.file(join(out, `${backend}.json`));
        if (await said.exists()) byBackend.set(backend, await said.json());
      }
      told = await Bun.file(join(out, "machine.json")).json();
      log = await Bun.file(messages).text();
      await keep();
    },
    (limit + 60) * 1000,
  );

  afterAll(() => rm(out, { recursive: true }));

  /** Notes what ran and passed, for the tables that are kept and printed. */
  async function keep(): Promise<void> {
    const results = everyBackend.map((backend) => {
      const seen = byBackend.get(backend);
      if (!seen) return backends.includes(backend) ? "failed" : "–";
      const { truth, links } = seen;
      const differing = compareLinks(truth, links, ends);
      const names = [...new Set(truth.map(({ scenario }) => scenario))];
      const exact = names.filter((scenario) => !differing.some((said) => said.startsWith(`${scenario}: `)));
      for (const scenario of exact) {
        const row = scenarios.get(scenario) ?? new Map<string, string>();
        scenarios.set(scenario, row.set(name, (row.get(name) ?? "") + backend[0]));
      }
      return differing.length === 0 ? "exact" : `${names.length - exact.length} of ${names.length} differ`;
    });
    const { seed, ...ofBackends } = told.verified;
    const of = (backend: Backend) => (backends.includes(backend) ? ofBackends[backend] : {});
    const walked = [...everyBackend.map(of), seed];
    const counts = walked.map((programs = {}) =>
      Object.entries(programs)
        .sort(([, a], [, b]) => b - a)
        .map(([program, count]) => `${program} ${count}`)
        .join(", "),
    );
    await document([
      { columns: ["machine", "kernel", ...everyBackend], row: [name, told.release, ...results] },
      {
        columns: ["machine", ...everyBackend.map((backend) => `of ${backend}`), "of the seed"],
        row: [name, ...counts.map((text) => text || "–")],
      },
    ]);
  }

  test.each(backends)("%s counts every byte and exchange of every scenario at both ends", (backend) => {
    const { truth, links } = observed(backend);
    expect(truth.length).toBeGreaterThan(100);
    expect(compareLinks(truth, links, ends)).toEqual([]);
  });

  test.each(backends)("%s says the same in the exposition", (backend) => {
    const { truth, metrics } = observed(backend);
    expect(compareMetrics(truth, metrics, ends)).toEqual([]);
  });

  test.each(backends)("%s loses nothing", (backend) => {
    // An emulated processor is slow, and so a program is often come to again: at most so many events were missed.
    const losses = compareLosses(observed(backend).metrics).filter((said) => !said.startsWith("ringside_hook_missed"));
    expect(losses).toEqual([]);
  });

  test.each(backends)("%s times exchanges as the programs do", (backend) => {
    const { truth, links } = observed(backend);
    expect(compareDurations(truth, links, ends, 5_000_000, 250_000_000)).toEqual([]);
  });

  test("all backends give the same bytes and counts", () => {
    const counts = backends.map((backend) => {
      const { truth, links } = observed(backend);
      const passed = new Set(
        truth.filter(({ scenario }) => unsteady.includes(scenario)).map((line) => line.remote_port),
      );
      return links
        .filter(({ port }) => !passed.has(port))
        .map(({ reporter, port, sent, received, requests, connections }) =>
          [reporter, port, sent, received, requests, connections].join(" "),
        )
        .sort();
    });
    expect(counts[0]!.length).toBeGreaterThan(30);
    for (const other of counts) expect(other).toEqual(counts[0]!);
  });

  if (witness) {
    test.each(backends)("beside %s the witness has the same bytes sent", (backend) => {
      const { truth, witness } = observed(backend);
      expect(witnessExcess(truth, witness, "sent")).toEqual({});
    });

    test.each(backends)("beside %s the witness takes what is peeked at for received", (backend) => {
      const { truth, witness } = observed(backend);
      const excess = witnessExcess(truth, witness, "received");
      // In each of 10 rounds the client peeks at 500 bytes, and the server at 1000, 1 and 500.
      expect(excess).toMatchObject({ "peek client": 5000, "peek server": 15010 });
      // Elsewhere it may have more too: a read during which packets arrive reports its bytes again.
      expect(Object.values(excess).filter((bytes) => bytes < 0)).toEqual([]);
    });
  }

  test("check finds these backends, and for the others a remedy that is true", () => {
    const works = told.check.backends.filter((backend) => backend.works).map(({ backend }) => backend);
    expect(works).toEqual(backends);
    expect(told.check.uses).toBe(backends[0]!);
    const remedies = told.check.backends.flatMap(({ hooks }) => hooks.flatMap(({ remedy }) => remedy ?? []));
    const expected = boot.length > 0 ? ["locked down"] : backends.length < 3 ? ["direct trampolines"] : [];
    expect(remedies.length > 0).toBe(expected.length > 0);
    for (const remedy of remedies) for (const words of expected) expect(remedy).toContain(words);
  });

  test("the agent finds older connections, or says that it cannot", () => {
    const says = boot.length > 0;
    for (const backend of backends) {
      const { said } = observed(backend);
      expect(said.includes("Connections older than the agent count from their next move on")).toBe(says);
    }
  });

  test("no program needs half of what the verifier walks at most", () => {
    const walked = Object.values(told.verified).flatMap((programs) => Object.values(programs));
    // Told from 5.16 on.
    if (!told.release.startsWith("5.10")) expect(walked.length).toBeGreaterThan(10);
    expect(walked.filter((count) => count > HALF)).toEqual([]);
  });

  test("the kernel has nothing to complain of", () => {
    expect(log.split("\n").filter((line) => /WARNING:|BUG:|Oops|Call Trace|Tainted:|verifier bug/.test(line))).toEqual(
      [],
    );
    expect(told.tainted).toBe("0");
  });
});

afterAll(() => {
  const names = Object.keys(machines);
  const rows = [...scenarios].map(([scenario, row]) => [scenario, ...names.map((name) => row.get(name) ?? "")]);
  if (rows.length === 0) return;
  const lines = [["exact", ...names], ...rows].map((row) =>
    row
      .map((cell) => cell.padEnd(16))
      .join(" ")
      .trimEnd(),
  );
  console.log(`${lines.join("\n")}\nf, t and k: by fentry, tracepoint and kprobe`);
});
