/** The agent in a small memory cgroup, with many more connections than it has room for: it lives, and counts what it refused. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Agent, startAgent } from "../live/agent.ts";
import { trafficEnds } from "../truth/traffic.ts";
import { parseMetrics } from "../truth/truth.ts";
import { Sockets } from "./sockets.ts";

const LIMIT = 64 << 20;
const ROOM = 10_000;
const PAIRS = 9_000;
const PROGRAMS = 4;

/** cgroup v1's own tree for memory, or v2's only one. */
const v1 = existsSync("/sys/fs/cgroup/memory");
const root = v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
const group = join(root, "ringside-stress");
const limit = join(group, v1 ? "memory.limit_in_bytes" : "memory.max");
const kills = join(group, v1 ? "memory.oom_control" : "memory.events");

let agent: Agent;
let programs: Sockets[];

beforeAll(async () => {
  await mkdir(group);
  await writeFile(limit, String(LIMIT));
  // A map is charged to the cgroup of its maker.
  const within = ["sh", "-c", `echo $$ >${group}/cgroup.procs && exec "$@"`, "within"];
  const flags = ["--loopback", "--max-connections", String(ROOM)];
  agent = await startAgent(trafficEnds({ name: "memory" }), flags, within);
  programs = await Promise.all(Array.from({ length: PROGRAMS }, () => Sockets.start()));
}, 60_000);

afterAll(async () => {
  await Promise.all(programs?.map((sockets) => sockets.stop()) ?? []);
  await agent?.stop();
  await rmdir(group);
}, 60_000);

test("the agent outlives more connections than its memory has room for", async () => {
  await Promise.all(programs.map((sockets) => sockets.tell(`open ${PAIRS}`)));
  await Promise.all(programs.map((sockets) => sockets.tell(`move 0 ${PAIRS} 1 100 50`)));
  await Bun.sleep(1000);
  const metrics = parseMetrics(await agent.metrics());
  const refused = (reason: string) => Number(metrics.get(`ringside_connections_refused_total{reason="${reason}"}`));
  expect(refused("limit") + refused("memory")).toBeGreaterThanOrEqual(2 * PROGRAMS * PAIRS - ROOM);
  expect(await readFile(kills, "utf8")).toMatch(/^oom_kill 0$/m);
  expect(agent.process.exitCode).toBe(null);
  const [peak] = (await readFile(join(group, v1 ? "memory.max_usage_in_bytes" : "memory.peak"), "utf8")).split("\n");
  console.log(`${Math.round(Number(peak) / 2 ** 20)} MiB of ${LIMIT >> 20} at most`);
}, 60_000);
