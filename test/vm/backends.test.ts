/** The backends on kernels that this machine does not run, in emulated machines. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { $ } from "bun";
import pkg from "../../package.json" with { type: "json" };
import { buildTraffic, trafficEnds } from "../truth/traffic.ts";
import { compareDurations, compareLinks, compareLosses, compareMetrics } from "../truth/truth.ts";
import { buildWitness, witnessExcess } from "../witness/witness.ts";
import type { Observed } from "./inside.ts";
import { missing } from "./needs.ts";

const top = join(import.meta.dir, "../..");
const ends = trafficEnds();
/** Kernel series -> the backends that must work there. */
const machines = { "6.1": ["kprobe", "fentry", "tracepoint"] };

/** The modules that a program with these dependencies loads. */
async function modules(dependencies: Record<string, string>, found = new Set<string>()): Promise<Set<string>> {
  for (const name of Object.keys(dependencies)) {
    if (found.has(name)) continue;
    found.add(name);
    const { dependencies = {} } = await Bun.file(join(top, "node_modules", name, "package.json")).json();
    await modules(dependencies, found);
  }
  return found;
}

/** All that an agent and its tests need to run from source. */
async function checkout(): Promise<string[]> {
  await $`${top}/hack/build`;
  const objects = (await $`ls ${top}/build`.text()).split("\n").filter((file) => /\.(o|wasm)$/.test(file));
  return [
    ...["package.json", "src", "test/live", "test/truth", "test/vm", "test/witness"].map((path) => join(top, path)),
    ...[...(await modules(pkg.dependencies))].map((name) => join(top, "node_modules", name)),
    ...objects.map((file) => join(top, "build", file)),
    await buildTraffic(),
    await buildWitness(),
    process.execPath,
  ];
}

describe.skipIf(missing !== undefined).each(Object.entries(machines))("kernel %s", (kernel, backends) => {
  const byBackend = new Map<string, Observed>();
  let out: string;

  function observed(backend: string): Observed {
    const found = byBackend.get(backend);
    if (found === undefined) throw new Error(`the machine printed why there is nothing of ${backend}`);
    return found;
  }

  beforeAll(async () => {
    out = await mkdtemp(join(tmpdir(), "ringside-vm-"));
    const files = (await checkout()).flatMap((file) => ["--file", file]);
    const place = relative(top, process.execPath);
    const bun = place.startsWith("..") ? `./${basename(place)}` : place;
    await $`${top}/hack/vm ${files} --out ${out} ${kernel} ${bun} test/vm/inside.ts ${backends}`;
    for (const backend of backends) {
      const said = Bun.file(join(out, `${backend}.json`));
      if (await said.exists()) byBackend.set(backend, await said.json());
    }
  }, 340_000);

  afterAll(() => rm(out, { recursive: true }));

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
    expect(compareLosses(observed(backend).metrics)).toEqual([]);
  });

  test.each(backends)("%s times exchanges as the programs do", (backend) => {
    const { truth, links } = observed(backend);
    expect(compareDurations(truth, links, ends, 5_000_000)).toEqual([]);
  });

  test("all backends give the same bytes and counts", () => {
    const counts = backends.map((backend) =>
      observed(backend)
        .links.map(({ reporter, port, sent, received, requests, connections }) =>
          [reporter, port, sent, received, requests, connections].join(" "),
        )
        .sort(),
    );
    expect(counts[0]!.length).toBeGreaterThan(30);
    for (const other of counts) expect(other).toEqual(counts[0]!);
  });

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
});
