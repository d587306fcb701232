import { describe, expect, test } from "bun:test";
import { address, feed, load, pod, samples, second } from "./fixture.ts";

describe("pods that come and go", () => {
  test("leave nothing behind, be they scraped or not", async () => {
    for (const scraped of [true, false]) {
      const core = await load({ refresh: 1000 });
      core.fresh(2n ** 64n - 1n);
      core.assign(address("10.0.0.1"), core.owner(pod("api-0")), 0n);
      const sizes: number[] = [];
      let id = 0;
      for (let round = 1; round <= 300; round++) {
        const now = BigInt(round) * 100n * second;
        const names = Array.from({ length: 100 }, (_, i) => `job${round}-${i}`);
        names.forEach((name, i) => {
          // Addresses that never come again, as of a large range of IPv6.
          const ip = `fd00::${round.toString(16)}:${i.toString(16)}`;
          const netns = round * 1000 + i;
          const owner = core.owner(pod(name, { workload: name }));
          core.assign(address(ip), owner, now);
          core.port(owner, 80, owner, 80, `service-${name}`);
          feed(core, {
            id: ++id,
            role: "client",
            local: `[${ip}]:1`,
            remote: "10.0.0.1:80",
            bornAt: now,
            sent: 1,
            netns,
          });
          feed(core, {
            id: ++id,
            role: "server",
            local: `[${ip}]:80`,
            remote: "10.0.0.1:1",
            bornAt: now,
            sent: 1,
            netns,
          });
          feed(core, { id: id - 1, kind: "final", sent: 2 }, { id, kind: "final", sent: 2 });
          core.release(address(ip), now + second);
          core.dropPorts(owner);
        });
        for (let n = 3n; n < 7n; n++) core.settle(now + n * second, 1);
        const { links } = core.counters();
        expect(links).toBeGreaterThanOrEqual(200);
        if (scraped) for (let n = 7n; n < 12n; n++) samples(core, now + n * second, now + (n - 1n) * second);
        else core.abandon(now + 10n * second);
        expect(core.counters()).toMatchObject({ connections: 0, links: 0, linkRows: 0, series: 0, seriesHeld: 0 });
        sizes.push(core.memoryBytes);
      }
      expect(core.counters().postedBytes).toBe(300 * 100 * 4);
      expect(sizes.at(-1)).toBe(sizes[60]!);
    }
  });

  test("keep their series while they are quiet, and lose them twice scraped", async () => {
    const core = await load();
    core.fresh(2n ** 64n - 1n);
    core.assign(address("10.0.0.1"), core.owner(pod("web-1")), 0n);
    core.assign(address("10.0.0.2"), core.owner(pod("api-1")), 0n);
    feed(core, { id: 1, role: "client", local: "10.0.0.1:1", remote: "10.0.0.2:80", sent: 7, kind: "final" });
    for (let n = 2n; n < 6n; n++) core.settle(n * second, 1);
    const scrape = (at: bigint) =>
      samples(core, at * second, (at - 1n) * second).filter((line) => /ebpf_transmitted|link_sent/.test(line)).length;
    for (let at = 10n; at < 2000n; at++) expect(scrape(at)).toBe(2);
    core.release(address("10.0.0.2"), 2000n * second);
    expect([scrape(2000n), scrape(2001n), scrape(2002n)]).toEqual([2, 2, 1]);
    core.release(address("10.0.0.1"), 2003n * second);
    expect([scrape(2003n), scrape(2004n), scrape(2005n)]).toEqual([1, 1, 0]);
  });

  test("that come again as their series are about to go, and go at once, are scraped to the last", async () => {
    const core = await load();
    core.fresh(2n ** 64n - 1n);
    const live = (id: number, from: bigint) => {
      core.assign(address("10.0.0.1"), core.owner(pod("web-0")), from * second);
      const ends = { local: "10.0.0.1:1", remote: "1.1.1.1:80" };
      feed(core, { id, role: "client", kind: "final", ...ends, bornAt: from * second, sent: 7 });
      for (let n = 2n; n < 6n; n++) core.settle((from + n) * second, 1);
      core.release(address("10.0.0.1"), (from + 6n) * second);
    };
    const scrape = (at: bigint, last: bigint) =>
      samples(core, at * second, last * second)
        .filter((line) => line.startsWith("kube_ebpf_transmitted"))
        .map((line) => line.replace(/^.* /, ""));
    live(1, 1n);
    expect([scrape(10n, 0n), scrape(20n, 10n), scrape(30n, 20n)]).toEqual([["0"], ["7"], ["7"]]);
    live(2, 31n);
    expect([scrape(40n, 30n), scrape(50n, 40n), scrape(60n, 50n)]).toEqual([["14"], ["14"], []]);
  });
});
