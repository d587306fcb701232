import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { defaultMaxConnections, memoryLimit } from "./limit.ts";

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** A root with these files. */
function root(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), "ringside-"));
  folders.push(folder);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return folder;
}

const unlimited = "9223372036854771712\n";

test.each([
  ["v2, by the group's path", { "proc/self/cgroup": "0::/pod\n", "sys/fs/cgroup/pod/memory.max": "1000\n" }, 1000],
  ["v2, the container's own top", { "proc/self/cgroup": "0::/../x\n", "sys/fs/cgroup/memory.max": "2000\n" }, 2000],
  ["v2, none", { "proc/self/cgroup": "0::/pod\n", "sys/fs/cgroup/pod/memory.max": "max\n" }, undefined],
  [
    "v1, by the group's path",
    {
      "proc/self/cgroup": "4:cpu,cpuacct:/a\n3:memory:/pod\n0::/\n",
      "sys/fs/cgroup/memory/pod/memory.limit_in_bytes": "3000\n",
      "sys/fs/cgroup/memory/memory.limit_in_bytes": unlimited,
    },
    3000,
  ],
  [
    "v1, none",
    { "proc/self/cgroup": "3:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": unlimited },
    undefined,
  ],
  ["no cgroups", {}, undefined],
])("%s", (_, files, limit) => {
  expect(memoryLimit(root(files as Record<string, string>))).toBe(limit as number);
});

test("connections take at most a quarter of it, and 250,000 at most", () => {
  expect(defaultMaxConnections(128 << 20)).toBe(74_898);
  expect(defaultMaxConnections(2 ** 40)).toBe(250_000);
  expect(defaultMaxConnections(1)).toBe(1);
});
