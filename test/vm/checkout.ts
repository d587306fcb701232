import { basename, join, relative } from "node:path";
import { $ } from "bun";
import pkg from "../../package.json" with { type: "json" };
import { buildTraffic } from "../truth/traffic.ts";
import { buildWitness } from "../witness/witness.ts";
import type { Machine } from "./machines.ts";

export const top = join(import.meta.dir, "../..");

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

/** What is compiled for the machine's own architecture: its place there -> the file here. */
async function compiled(arm64: boolean): Promise<Record<string, string>> {
  if (!arm64) {
    const bun = relative(top, process.execPath);
    return {
      [bun.startsWith("..") ? basename(bun) : bun]: process.execPath,
      "build/kprobe.bpf.o": join(top, "build/kprobe.bpf.o"),
      "build/test/traffic": await buildTraffic(),
      "build/test/witness": await buildWitness(),
    };
  }
  await $`${join(import.meta.dir, "arm64")}`;
  const built = join(top, "build/test/arm64");
  return {
    bun: join(built, `bun-${Bun.version}`),
    "build/kprobe.bpf.o": join(built, "kprobe.bpf.o"),
    "build/test/traffic": join(built, "traffic"),
  };
}

/** hack/vm's arguments for all that an agent and its tests need to run from source, and the place of Bun there. */
export async function checkout({ kernel }: Pick<Machine, "kernel">): Promise<{ files: string[]; bun: string }> {
  await $`${top}/hack/build`;
  const objects = (await $`ls ${top}/build`.text()).split("\n").filter((file) => /\.(o|wasm)$/.test(file));
  const own = await compiled(kernel.endsWith("-arm64"));
  const files = [
    ...["package.json", "src", "test/live", "test/truth", "test/vm", "test/witness"].map((path) => join(top, path)),
    ...[...(await modules(pkg.dependencies))].map((name) => join(top, "node_modules", name)),
    ...objects.filter((file) => !(`build/${file}` in own)).map((file) => join(top, "build", file)),
    ...Object.entries(own).map(([place, file]) => `${file}=${place}`),
  ];
  const bun = Object.keys(own)[0] as string;
  return { files: files.flatMap((file) => ["--file", file]), bun: bun.includes("/") ? bun : `./${bun}` };
}
