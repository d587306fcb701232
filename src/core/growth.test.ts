import { describe, expect, test } from "bun:test";
import { address, feed, load, pod, type Snapshot, samples, second, stride, write } from "./fixture.ts";

const ip = (i: number): string => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;

describe("every table grows", () => {
  test("to 100,000 connections between 20,000 addresses, and forgets them all", async () => {
    const addresses = 20_000;
    const count = 100_000;
    const core = await load();
    for (let i = 0; i < addresses; i++) {
      const owner = core.owner(pod(`w${i % 3000}-${i}`));
      core.assign(address(ip(i)), owner, 0n);
      for (let port = 0; port < 3; port++) core.port(owner, 8000 + port, owner, 8000 + port, `s${i % 500}`);
    }
    const snapshot = (i: number, more: Partial<Snapshot>): Snapshot => ({
      id: (BigInt(i) << 8n) | BigInt(i & 3),
      role: "client",
      bornAt: second,
      local: `${ip(i % addresses)}:40000`,
      remote: `${ip((i * 7) % addresses)}:${8000 + (i % 3)}`,
      ...more,
    });
    const batch = (more: (i: number) => Partial<Snapshot>) => {
      const span = core.batch(count * stride).fill(0);
      for (let i = 0; i < count; i++) write(span, i * stride, snapshot(i, more(i)));
      core.ingest(count * stride);
    };
    batch((i) => ({ sent: i, exchanges: 1, buckets: { [i % 18]: 1 } }));
    const looped = Array.from({ length: count }, (_, i) => i).filter((i) => i % addresses === (i * 7) % addresses);
    expect(core.counters()).toMatchObject({
      connections: count,
      settling: count - looped.length,
      loopback: looped.length,
    });
    core.settle(3n * second, 1);

    let sum = 0;
    for (let i = 0; i < count; i++) sum += i;
    for (const i of looped) sum -= i;
    const total = () => core.links().reduce((all, { sent }) => all + sent, 0);
    expect(total()).toBe(sum);
    expect(core.counters().links).toBe(
      new Set(core.links().map((link) => JSON.stringify([link.source, link.destination, link.port]))).size,
    );

    batch((i) => ({ kind: "final", sent: 2 * i, exchanges: 1 }));
    expect(total()).toBe(2 * sum);
    core.settle(4n * second, 2);
    core.settle(5n * second, 3);
    expect(core.counters()).toMatchObject({ connections: 0, settling: 0, links: core.links().length });

    // A row that is forgotten is a new one when its id comes again.
    batch(() => ({ sent: 1 }));
    expect(core.counters()).toMatchObject({ connections: count });

    const lines = samples(core, 6n * second, 2n ** 64n - 1n);
    const shown = lines
      .filter((line) => line.startsWith("kube_ebpf_transmitted"))
      .map((line) => BigInt(line.replace(/^.*} /, "")));
    expect(shown.reduce((all, one) => all + one, 0n)).toBe(BigInt(2 * sum));
  });

  test("to a batch of 32 MiB, and a view asked for before names is still good to read", async () => {
    const core = await load();
    const first = core.batch(stride);
    expect(first.length).toBe(stride);
    const large = core.batch(32 << 20);
    expect(large.length).toBe(32 << 20);
    large.fill(0);
    core.assign(address("10.0.0.1"), core.owner(pod("web-1")), 0n);
    feed(core, { id: 1, role: "client", local: "10.0.0.1:1", remote: "1.1.1.1:443", sent: 4 });
    core.settle(2n * second, 1);
    expect(core.links()[0]?.sent).toBe(4);
  });
});
