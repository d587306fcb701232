import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import type { Names } from "../core/names.ts";
import type { RingsideError } from "../errors.ts";
import { IdentitiesFile } from "./file.ts";
import { Resolver } from "./resolve.ts";

let folder = "";
let file = "";
let now = 0n;
let owners: string[] = [];
let calls: string[] = [];
let errors: RingsideError[] = [];
let identities: IdentitiesFile | undefined;

const names: Names = {
  owner: ({ name }) => (owners.includes(name) ? owners.indexOf(name) : owners.push(name) - 1),
  hold: () => {},
  drop: () => {},
  assign: (_, owner, since) => void calls.push(`assign ${owners[owner]} ${since}`),
  release: (_, at) => void calls.push(`release ${at}`),
  port: () => {},
  probe: () => {},
  range: () => {},
  dropRange: () => {},
  cgroup: () => {},
  dropPorts: () => {},
  zone: () => {},
  fresh: (at) => void calls.push(`fresh ${at}`),
};

/** A list of a node per name, each with an address of its own. */
const listOf = (...nodes: string[]) => {
  const item = (name: string) => ({
    apiVersion: "v1",
    kind: "Node",
    metadata: { name },
    status: { addresses: [{ address: `10.0.0.${name.charCodeAt(0)}`, type: "InternalIP" }] },
  });
  return JSON.stringify({ apiVersion: "v1", items: nodes.map(item), kind: "List" });
};

async function open(interval = 1_000_000): Promise<IdentitiesFile> {
  const resolver = new Resolver(names, (wall) => BigInt(wall));
  identities = await IdentitiesFile.open({ file, resolver, now: () => now, onError: (e) => errors.push(e), interval });
  return identities;
}

/** What the core is told by a check at that time. */
async function checkAt(at: bigint): Promise<string[]> {
  now = at;
  await identities!.check();
  return calls.splice(0);
}

beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/ringside-file-`);
  file = `${folder}/names`;
  now = 1n;
  [owners, calls, errors] = [[], [], []];
});

afterEach(() => {
  identities?.close();
  rmSync(folder, { recursive: true });
});

test("reads at the start, and an unchanged file proves the names fresh", async () => {
  writeFileSync(file, listOf("a"));
  await open();
  expect(calls.splice(0)).toEqual(["assign a 0", "fresh 1"]);
  expect(await checkAt(2n)).toEqual(["fresh 2"]);
  expect(identities!.counters()).toEqual({
    reads: 1,
    failures: 0,
    objects: { pod: 0, service: 0, node: 1, slice: 0 },
    age: 0,
  });
});

test("rereads what was changed in place", async () => {
  writeFileSync(file, listOf("a"));
  await open();
  calls = [];
  writeFileSync(file, listOf("a", "b"));
  expect(await checkAt(2n)).toEqual(["assign b 0", "fresh 2"]);
  expect(identities!.counters()).toMatchObject({ reads: 2, failures: 0, age: 0 });
});

test("ends no name's time before the file was read, and is complete until it was looked at", async () => {
  writeFileSync(file, listOf("a"));
  await open();
  calls = [];
  writeFileSync(file, listOf("b"));
  const checked = checkAt(2n);
  now = 7n; // while it is read
  expect(await checked).toEqual(["assign b 0", "release 7", "fresh 2"]);
});

test("rereads what was replaced by one of the same size and time", async () => {
  writeFileSync(file, listOf("a"));
  utimesSync(file, 1e9, 1e9);
  await open();
  calls = [];
  const other = `${folder}/other`;
  writeFileSync(other, listOf("b"));
  utimesSync(other, 1e9, 1e9);
  renameSync(other, file);
  expect(await checkAt(2n)).toEqual(["assign b 0", "release 2", "fresh 2"]);
});

test("rereads when a mounted ConfigMap's link is swapped", async () => {
  mkdirSync(`${folder}/1`);
  mkdirSync(`${folder}/2`);
  writeFileSync(`${folder}/1/names`, listOf("a"));
  writeFileSync(`${folder}/2/names`, listOf("b"));
  symlinkSync("1", `${folder}/..data`);
  symlinkSync("..data/names", file);
  await open();
  calls = [];
  symlinkSync("2", `${folder}/..data_tmp`);
  renameSync(`${folder}/..data_tmp`, `${folder}/..data`);
  expect(await checkAt(2n)).toEqual(["assign b 0", "release 2", "fresh 2"]);
});

test("keeps the last good names over a broken edit, and says so once", async () => {
  writeFileSync(file, listOf("a"));
  await open();
  calls = [];
  writeFileSync(file, `${listOf("b", "c")}}`);
  expect(await checkAt(2n)).toEqual([]);
  expect(await checkAt(3n)).toEqual([]);
  expect(errors.map((error) => error.object)).toEqual([`${file}, near byte ${listOf("b", "c").length}`]);
  expect(identities!.counters()).toMatchObject({ reads: 1, failures: 1, objects: { node: 1 }, age: 2e-9 });
  writeFileSync(file, listOf("a", "b"));
  expect(await checkAt(4n)).toEqual(["assign b 0", "fresh 4"]);
  expect(identities!.counters()).toMatchObject({ reads: 2, failures: 1 });
});

test("keeps the names while the file is gone, and rereads when it is back", async () => {
  writeFileSync(file, listOf("a"));
  await open();
  calls = [];
  renameSync(file, `${file}.away`);
  expect(await checkAt(2n)).toEqual([]);
  expect(await checkAt(3n)).toEqual([]);
  expect(errors.map((error) => error.object)).toEqual([file]);
  renameSync(`${file}.away`, file);
  expect(await checkAt(4n)).toEqual(["fresh 4"]);
  expect(identities!.counters()).toMatchObject({ reads: 2, failures: 1, age: 0 });
});

test("checks by itself until it is closed", async () => {
  writeFileSync(file, listOf("a"));
  await open(5);
  calls = [];
  for (const end = performance.now() + 5000; calls.length < 2 && performance.now() < end; ) await Bun.sleep(5);
  expect(calls.slice(0, 2)).toEqual(["fresh 1", "fresh 1"]);
  identities!.close();
  await Bun.sleep(20);
  calls = [];
  await Bun.sleep(50);
  expect(calls).toEqual([]);
});

test("tells nothing more once it is closed, not even what it was reading", async () => {
  writeFileSync(file, listOf("a"));
  await open();
  calls = [];
  writeFileSync(file, listOf("a", "b"));
  const check = identities!.check();
  identities!.close();
  await check;
  expect(calls).toEqual([]);
});

describe("at the start, refuses", () => {
  const refusal = () => open().then(() => "not refused", String);
  const remedy =
    "Name a file that the agent may read, made by `kubectl get pods,services,nodes,endpointslices -A -o json`.";
  test("a missing file", async () => {
    expect(await refusal()).toBe(
      `RingsideError: cannot read the identities: ${file}: ENOENT: no such file or directory, stat '${file}'. ${remedy}`,
    );
  });
  test("a directory", async () => {
    mkdirSync(file);
    expect(await refusal()).toBe(`RingsideError: cannot read the identities: ${file} is a directory. ${remedy}`);
  });
  test("a pipe", async () => {
    await Bun.$`mkfifo ${file}`;
    expect(await refusal()).toBe(`RingsideError: cannot read the identities: ${file} is not a regular file. ${remedy}`);
  });
  test("a file that cannot be read", async () => {
    // Root may read any file; this one of the kernel's refuses even root.
    file = "/proc/self/mem";
    expect(await refusal()).toStartWith("RingsideError: cannot read the identities: /proc/self/mem: EIO");
  });
  test("an empty file", async () => {
    writeFileSync(file, "");
    expect(await refusal()).toStartWith(`RingsideError: cannot read the identities: ${file} is empty. `);
  });
  test("a file that is broken", async () => {
    writeFileSync(file, "{");
    expect(await refusal()).toStartWith(`RingsideError: cannot read the identities: ${file}, near byte `);
  });
});
