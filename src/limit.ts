/** How much memory this process may have, as its cgroup says (v2, or v1's memory controller). */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Of kernel memory, for one connection: the state with its bookkeeping in socket storage. */
const CONNECTION_BYTES = 448;
const MOST_CONNECTIONS = 250_000;

/**
 * @param root where /proc and /sys are
 * @returns bytes, or undefined where nothing limits it
 */
export function memoryLimit(root = "/"): number | undefined {
  const read = (path: string): string | undefined => {
    try {
      return readFileSync(join(root, path), "utf8").trim();
    } catch {
      return undefined;
    }
  };
  const groups = read("proc/self/cgroup")?.split("\n") ?? [];
  const pathOf = (controller: string): string | undefined =>
    groups.map((line) => line.split(":")).find(([, names]) => names?.split(",").includes(controller))?.[2];
  // In a container the path may be the host's, and only the top of the hierarchy there.
  const candidates = [
    ...[pathOf(""), "/"].map((path) => path && join("sys/fs/cgroup", path, "memory.max")),
    ...[pathOf("memory"), "/"].map((path) => path && join("sys/fs/cgroup/memory", path, "memory.limit_in_bytes")),
  ];
  for (const candidate of candidates) {
    const limit = Number((candidate && read(candidate)) || Number.NaN);
    // v1 says "none" by a number near 2^63, v2 by "max".
    if (limit > 0 && limit < 2 ** 60) return limit;
  }
  return undefined;
}

/** Connections whose state takes at most a quarter of the memory that we may have. */
export function defaultMaxConnections(limit = memoryLimit()): number {
  return limit === undefined
    ? MOST_CONNECTIONS
    : Math.max(1, Math.min(MOST_CONNECTIONS, Math.floor(limit / 4 / CONNECTION_BYTES)));
}
