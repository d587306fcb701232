/** What the world outside can make any number of: the core keeps so many, and those that it is asked for. */
import { describe, expect, test } from "bun:test";
import type { Core } from "./core.ts";
import { address, feed, load, pod, type Snapshot, second } from "./fixture.ts";
import type { Owner } from "./names.ts";

const always = 2n ** 64n - 1n;
const node: Owner = { type: "node", namespace: "", name: "node-a", workload: "node-a", kind: "Node", mine: true };
const ROUNDS = 60;
const EACH = 2000;

let ids = 0;
const connection = (more: Partial<Snapshot>): Snapshot => ({
  id: ++ids,
  kind: "final",
  role: "client",
  netns: 1,
  sent: 1,
  ...more,
});
const links = (core: Core) =>
  core.links().map(({ source, destination, port, sent }) => `${source.name} > ${destination.name}:${port} ${sent}`);

/** Runs the rounds; memory after the first third and at the end. */
function churn(core: Core, round: (n: number, now: bigint) => void): [number, number] {
  const sizes: number[] = [];
  for (let n = 1; n <= ROUNDS; n++) {
    const now = BigInt(n) * 100n * second;
    round(n, now);
    for (let after = 3n; after < 6n; after++) core.settle(now + after * second, 1);
    sizes.push(core.memoryBytes);
  }
  return [sizes[ROUNDS / 3]!, sizes.at(-1)!];
}

describe("of 120,000", () => {
  test("cgroups, those that are asked for are known to the last", async () => {
    const core = await load({ refresh: 1000 });
    core.fresh(always);
    core.host(9, core.owner(node));
    core.assign(address("10.0.0.1"), core.owner(pod("web-1")), 0n);
    core.cgroup(5n, core.owner(pod("scraper-1")));
    core.cgroup(6n, core.owner(pod("idle-1")));
    const dial = (cgroup: number, now: bigint, port: number) =>
      feed(core, connection({ local: "172.30.0.2:1", remote: `10.0.0.1:${port}`, netns: 9, cgroup, bornAt: now }));
    const [before, after] = churn(core, (n, now) => {
      for (let i = 0; i < EACH; i++) core.cgroup(BigInt(n * EACH + i), "none");
      dial(5, now, 80);
    });
    expect(after).toBe(before);
    dial(6, 10_000n * second, 81);
    core.settle(10_010n * second, 1);
    // One that nobody asked for in all the time is forgotten: it is the node's, as one that nobody named.
    expect(links(core)).toEqual([`scraper-1 > web-1:80 ${ROUNDS}`, "node-a > web-1:81 1"]);
  });

  test("private addresses that nobody has, those that are dialled are waited for once", async () => {
    const core = await load({ refresh: 1000, grace: 20n * second });
    core.assign(address("10.0.0.1"), core.owner(pod("web-1")), 0n);
    const dial = (to: string, now: bigint, sent: number) =>
      feed(core, connection({ local: "10.0.0.1:1", remote: `${to}:80`, bornAt: now, sent }));
    const waited: number[] = [];
    const [before, after] = churn(core, (n, now) => {
      for (let i = 0; i < EACH; i++) dial(`10.${100 + (n >> 1)}.${((n & 1) << 7) + (i >> 8)}.${i & 255}`, now, 1);
      dial("192.168.0.1", now, 1000);
      core.settle(now + 2n * second, 1);
      waited.push(core.counters().waiting);
      core.fresh(now + 5n * second);
    });
    expect(after).toBe(before);
    expect(waited).toEqual([EACH + 1, ...Array(ROUNDS - 1).fill(EACH)]);
    expect(core.counters()).toMatchObject({ addressesNamed: 1, addressesExternal: 16_384 });
    expect(links(core)).toEqual([`web-1 > external:80 ${ROUNDS * (EACH + 1000)}`]);
    // The first of them is waited for again, the last is not; one that somebody has had is.
    const again = (to: string, now: bigint): number => {
      dial(to, now, 0);
      core.settle(now + 2n * second, 1);
      const { waiting } = core.counters();
      core.settle(now + 30n * second, 1);
      return waiting;
    };
    expect([again("10.100.128.0", 7000n * second), again("10.130.0.7", 7100n * second)]).toEqual([1, 0]);
    core.assign(address("192.168.0.1"), core.owner(pod("db-1")), 7200n * second);
    expect(core.counters()).toMatchObject({ addressesNamed: 2, addressesExternal: 16_383 });
    core.release(address("192.168.0.1"), 7210n * second);
    expect(core.counters()).toMatchObject({ addressesNamed: 1, addressesExternal: 16_383 });
    expect(again("192.168.0.1", 7300n * second)).toBe(1);
  });

  test("pods with a sidecar, the ports behind those that are called are known", async () => {
    const core = await load({ refresh: 1000, grace: 20n * second });
    core.fresh(always);
    core.assign(address("10.0.0.2"), core.owner(pod("api-1")), 0n);
    const inner = (ip: string, netns: number) =>
      feed(core, connection({ role: "server", local: `${ip}:8080`, remote: "127.0.0.6:5", netns, sent: 0 }));
    inner("10.0.0.2", 2);
    const [before, after] = churn(core, (n, now) => {
      for (let i = 0; i < EACH; i++) inner(`10.${100 + n}.${i >> 8}.${i & 255}`, 1000 + n * EACH + i);
      const proxied = { local: "10.0.0.2:15006", remote: "1.1.1.1:7", netns: 2, bornAt: now };
      feed(core, connection({ role: "server", ...proxied }));
    });
    expect(after).toBe(before);
    expect(links(core)).toEqual([`external > api-1:8080 0`]);
    expect(core.links()[0]?.received).toBe(ROUNDS);
  });
});
