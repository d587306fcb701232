/** The image's files, without an engine: the compiled agent runs from them alone, with nothing but BPF and PERFMON. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { $ } from "bun";
import pkg from "../../package.json" with { type: "json" };
import { type Agent, runToEnd, settled, startAgent } from "../live/agent.ts";
import { runTraffic, trafficEnds } from "../truth/traffic.ts";
import { compareLinks, compareMetrics, type TruthLine } from "../truth/truth.ts";

const top = join(import.meta.dir, "../..");
const program = ["/usr/bin/ringside"];
const traffic = { name: "image", net: 74, scale: 0.05 };
const ends = trafficEnds(traffic);
/** CAP_PERFMON is 38, CAP_BPF 39. */
const BPF_AND_PERFMON = (1n << 38n) | (1n << 39n);

const roots: Record<string, string> = {};
let folder: string;

async function makeRoot(architecture: string): Promise<void> {
  roots[architecture] = join(folder, architecture);
  await $`${top}/hack/image --root ${roots[architecture]} --arch ${architecture}`;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "ringside-image-"));
  for (const architecture of ["amd64", "arm64"]) await makeRoot(architecture);
}, 600_000);

afterAll(() => rm(folder, { recursive: true }));

const files = async (root: string): Promise<string[]> =>
  (await $`find ${root} -not -type d`.text())
    .trim()
    .split("\n")
    .map((path) => relative(root, path));

describe.each(["amd64", "arm64"])("%s", (architecture) => {
  test("is all of that architecture, and small", async () => {
    const root = roots[architecture]!;
    const machine = { amd64: "Advanced Micro Devices X86-64", arm64: "AArch64" }[architecture]!;
    const binaries = (await files(root)).filter((file) => /^usr\/bin\/|\.so\b/.test(file));
    expect(binaries.length).toBeGreaterThan(6);
    for (const file of binaries) {
      expect([file, await $`readelf -h ${join(root, file)}`.text()]).toEqual([file, expect.stringContaining(machine)]);
    }
    expect(Number((await $`du -sb ${root}`.text()).split("\t")[0])).toBeLessThan(150e6);
  });

  test("has the agent and nothing else to run", async () => {
    expect((await files(roots[architecture]!)).filter((file) => /bin\//.test(file))).toEqual(["usr/bin/ringside"]);
  });

  test("its list names each file with its sum, each package, and each module in the executable", async () => {
    const root = roots[architecture]!;
    const own = "usr/share/doc/ringside/sbom.spdx.json";
    const list = await Bun.file(join(root, own)).json();
    const told = new Map<string, string>();
    for (const { fileName, checksums } of list.files) told.set(fileName.slice(2), checksums[1].checksumValue);
    const found = (await files(root)).filter((file) => file !== own);
    expect([...told.keys()].sort()).toEqual(found.sort());
    for (const file of found) {
      const sum = createHash("sha256").update(await readFile(join(root, file)));
      expect([file, told.get(file)]).toEqual([file, sum.digest("hex")]);
    }
    const [image] = list.packages;
    const all = createHash("sha1");
    for (const sum of list.files
      .map(({ checksums }: { checksums: { checksumValue: string }[] }) => checksums[0]!.checksumValue)
      .sort())
      all.update(sum);
    expect([image.filesAnalyzed, image.packageVerificationCode]).toEqual([
      true,
      { packageVerificationCodeValue: all.digest("hex"), packageVerificationCodeExcludedFiles: [`./${own}`] },
    ]);
    const versions = new Map(
      list.packages.map(({ name, versionInfo }: Record<string, string>) => [name, versionInfo]),
    ) as Map<string, string>;
    expect(versions.get("ringside")).toBe(pkg.version);
    expect(versions.get("bun")).toBe(Bun.version);
    for (const [name, version] of Object.entries(pkg.dependencies)) expect(versions.get(name)).toBe(version);
    for (const name of ["libbpf1", "libelf1", "zlib1g", "libc6"]) {
      expect(await Bun.file(join(root, "var/lib/dpkg/status.d", name)).text()).toContain(
        `Version: ${versions.get(name)}\n`,
      );
      expect(found).toContain(`usr/share/doc/${name}/copyright`);
    }
    expect(list.creationInfo.created).toBe(
      (
        await $`git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ`
          .env({ ...process.env, TZ: "UTC" })
          .text()
      ).trim(),
    );
    const ids = [...list.packages, ...list.files].map(({ SPDXID }) => SPDXID);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

test("the same sources give the same files, with their modes and times", async () => {
  const [first, again] = [roots.amd64!, join(folder, "again")];
  await $`${top}/hack/image --root ${again} --arch amd64`;
  const all = async (root: string): Promise<string[]> => {
    const listed = (await $`find . -printf ${"%p %y %m %T@\n"}`.cwd(root).text()).trim().split("\n");
    const sums = (await $`find . -type f -exec sha256sum {} +`.cwd(root).text()).trim().split("\n");
    return [...listed, ...sums].sort();
  };
  const files = await all(first);
  expect(files.length).toBeGreaterThan(40);
  expect(await all(again)).toEqual(files);
}, 600_000);

if (process.env.RINGSIDE_TEST_ALL) {
  test("arm64: check works there, in an emulated machine", async () => {
    const file = `${join(roots.arm64!, "usr/bin/ringside")}=ringside`;
    const said = await $`${top}/hack/vm --file ${file} 6.1-arm64 ./ringside check --json`.text();
    const { uses, backends } = JSON.parse(said.slice(said.indexOf("{")));
    expect(uses).toBe("tracepoint");
    // The one object that is another one there.
    expect(backends.find(({ backend }: { backend: string }) => backend === "kprobe").works).toBe(true);
  }, 600_000);
}

// Another uid as a runtime with ambient capabilities starts it; Kubernetes has none yet.
describe.each([0, 65534])("as uid %d, in a read-only root with BPF and PERFMON alone", (uid) => {
  let bare: string[];
  let agent: Agent;
  let truth: TruthLine[];
  let readyMs: number;

  beforeAll(async () => {
    bare = [join(import.meta.dir, "bare"), roots[process.arch === "x64" ? "amd64" : "arm64"]!, String(uid)];
    const began = performance.now();
    agent = await startAgent(ends, [], bare, program);
    while (!(await fetch(new URL("/readyz", agent.url))).ok) await Bun.sleep(5);
    readyMs = performance.now() - began;
    truth = await runTraffic(traffic);
  }, 60_000);

  afterAll(() => agent?.stop());

  const status = async (name: string): Promise<string> => {
    const text = await Bun.file(`/proc/${agent.process.pid}/status`).text();
    return new RegExp(`^${name}:\\s*(.*)$`, "m").exec(text)?.[1] ?? "";
  };

  test("it is ready within a second", () => expect(readyMs).toBeLessThan(1000));

  test("it holds these two capabilities, and can get no more", async () => {
    expect((await status("Uid")).split("\t")).toEqual(Array(4).fill(String(uid)));
    for (const set of ["CapEff", "CapPrm", "CapBnd"]) {
      expect([set, BigInt(`0x${await status(set)}`)]).toEqual([set, BPF_AND_PERFMON]);
    }
  });

  test("every byte and exchange is in its links and its metrics", async () => {
    expect(truth.length).toBeGreaterThan(1000);
    expect(await settled(async () => compareLinks(truth, await agent.links(), ends))).toEqual([]);
    expect(await settled(async () => compareMetrics(truth, await agent.metrics(), ends))).toEqual([]);
  }, 60_000);

  test("it takes less than 90 MB of memory, and 110 for the moment in which it reads the kernel's types", async () => {
    const kilobytes = async (name: string) => Number.parseInt(await status(name), 10) * 1.024;
    expect(await kilobytes("VmRSS")).toBeLessThan(90_000);
    expect(await kilobytes("VmHWM")).toBeLessThan(110_000);
  });

  test("check says the same as outside", async () => {
    const outside = JSON.parse((await runToEnd(["check", "--json"])).out);
    const { code, out } = await runToEnd(["check", "--json"], bare, program);
    expect(code).toBe(0);
    expect(JSON.parse(out).uses).toBe(outside.uses);
  });

  test("there is no shell, and nothing that it could write to", async () => {
    const shell = await runToEnd([], bare, ["/bin/sh"]);
    expect(shell.error).toContain("execve '/bin/sh' failed");
    const mounts = await Bun.file(`/proc/${agent.process.pid}/mountinfo`).text();
    const writable = mounts.split("\n").filter((line) => / (\/|\/tmp) rw[, ]/.test(line.split(" - ")[0] ?? ""));
    expect(writable).toEqual([]);
  });
});
