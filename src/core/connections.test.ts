import { beforeEach, describe, expect, test } from "bun:test";
import type { Core } from "./core.ts";
import { address, discarded, feed, load, pod, type Snapshot, second, stride, write } from "./fixture.ts";

const client: Snapshot = {
  id: 1,
  local: "10.0.0.1:40000",
  remote: "10.0.0.2:80",
  role: "client",
  bornAt: 10n * second,
  netns: 1,
};

let core: Core;

beforeEach(async () => {
  core = await load();
  core.assign(address("10.0.0.1"), core.owner(pod("web-1")), 0n);
  core.assign(address("10.0.0.2"), core.owner(pod("api-1")), 0n);
});

/** Sent, received, exchanges, connections and active of the only link. */
function totals(): number[] {
  const links = core.links();
  expect(links.length).toBe(1);
  const { sent, received, exchanges, connections, active } = links[0]!;
  return [sent, received, exchanges, connections, active];
}

describe("a connection's totals", () => {
  test("wait for its settle time, exactly", () => {
    feed(core, { ...client, sent: 100, received: 20 });
    core.settle(12n * second - 1n, 1);
    expect(core.links()).toEqual([]);
    expect(core.counters()).toMatchObject({ connections: 1, settling: 1, postedBytes: 0 });
    core.settle(12n * second, 1);
    expect(totals()).toEqual([100, 20, 0, 1, 1]);
    expect(core.counters()).toMatchObject({ connections: 1, settling: 0, postedBytes: 120 });
  });

  test("grow by what a later snapshot has more", () => {
    feed(core, { ...client, sent: 100, received: 20, exchanges: 1 });
    core.settle(12n * second, 1);
    feed(core, { ...client, sent: 150, received: 20, exchanges: 3 });
    expect(totals()).toEqual([150, 20, 3, 1, 1]);
  });

  test("are the same when snapshots are repeated, lost or out of order", () => {
    const step = (n: number): Snapshot => ({
      ...client,
      sent: 100 * n,
      received: 10 * n,
      exchanges: n,
      buckets: { 3: n },
    });
    feed(core, step(2), step(1), step(2));
    core.settle(12n * second, 1);
    expect(totals()).toEqual([200, 20, 2, 1, 1]);
    feed(core, step(7), step(5), step(5), step(7), step(6));
    expect(totals()).toEqual([700, 70, 7, 1, 1]);
    expect(core.links()[0]!.buckets[3]).toBe(7);
  });

  test("of one that closed before it settled are not lost", () => {
    feed(
      core,
      { ...client, sent: 5 },
      { ...client, kind: "closed", sent: 9 },
      { ...client, kind: "final", sent: 9, received: 4 },
    );
    expect(core.counters()).toMatchObject({ connections: 0, settling: 1 });
    core.settle(12n * second, 1);
    expect(totals()).toEqual([9, 4, 0, 1, 0]);
  });

  test("of one whose only record is its final are not lost", () => {
    feed(core, { ...client, kind: "final", sent: 9, received: 4, exchanges: 1, durationNs: 70, buckets: { 17: 1 } });
    core.settle(12n * second, 1);
    expect(totals()).toEqual([9, 4, 1, 1, 0]);
    expect(core.links()[0]).toMatchObject({ durationNs: 70 });
    expect(core.links()[0]!.buckets[17]).toBe(1);
  });

  test("are not doubled by a repeated final, before it settled or after", () => {
    const final: Snapshot = { ...client, kind: "final", sent: 9, received: 4 };
    feed(core, final, final);
    core.settle(12n * second, 1);
    feed(core, final, { ...client, sent: 8 }, final);
    core.settle(13n * second, 2);
    core.settle(14n * second, 3);
    core.settle(20n * second, 3);
    expect(totals()).toEqual([9, 4, 0, 1, 0]);
    expect(core.counters()).toMatchObject({ connections: 0, settling: 0 });
  });

  test("are not doubled by a final that is repeated in the next batch", () => {
    feed(core, { ...client, sent: 9 });
    core.settle(12n * second, 1);
    feed(core, { ...client, kind: "final", sent: 9 });
    core.settle(13n * second, 2);
    feed(core, { ...client, kind: "final", sent: 9 });
    core.settle(14n * second, 3);
    core.settle(20n * second, 4);
    expect(totals()).toEqual([9, 0, 0, 1, 0]);
  });

  test("keep a bucket that a late record has lower", () => {
    feed(core, { ...client, kind: "closed", exchanges: 7, buckets: { 3: 7 } });
    core.settle(12n * second, 1);
    feed(core, { ...client, kind: "closed", exchanges: 5, buckets: { 3: 5 } });
    expect(core.links()[0]!.buckets[3]).toBe(7);
  });

  test("count what is read between close and destruction", () => {
    feed(core, { ...client, received: 10 });
    core.settle(12n * second, 1);
    feed(core, { ...client, kind: "closed", received: 30 });
    expect(totals()).toEqual([0, 30, 0, 1, 1]);
    feed(core, { ...client, kind: "final", received: 44, remote: "0.0.0.0:0", local: "0.0.0.0:0" });
    expect(totals()).toEqual([0, 44, 0, 1, 0]);
  });

  test("make up for buckets that a snapshot caught behind its exchanges", () => {
    feed(core, { ...client, exchanges: 1, buckets: {} });
    core.settle(12n * second, 1);
    feed(core, { ...client, exchanges: 1, buckets: { 4: 1 } });
    expect(core.links()[0]!.buckets[4]).toBe(1);
  });

  test("make up for them at the final too", () => {
    feed(core, { ...client, exchanges: 2, durationNs: 10, buckets: { 4: 2 } });
    core.settle(12n * second, 1);
    feed(core, { ...client, kind: "final", exchanges: 2, durationNs: 10, buckets: { 4: 2, 5: 1 } });
    expect(core.links()[0]!.buckets.slice(4, 6)).toEqual([2, 1]);
  });

  test("pass 2^32 in a bucket", () => {
    for (const exchanges of [2 ** 31 - 1, 2 ** 32 - 2, 2 ** 32 + 3]) {
      feed(core, { ...client, exchanges, buckets: { 0: exchanges >>> 0 } });
      core.settle(12n * second, 1);
    }
    expect(core.links()[0]!.buckets[0]).toBe(2 ** 32 + 3);
  });
});

describe("a record", () => {
  test("that was discarded or has another length is skipped and counted", () => {
    const good = new Uint8Array(stride);
    write(good, 0, { ...client, sent: 7 });
    const short = discarded(64);
    new DataView(short.buffer).setUint32(0, 64, true);
    const parts = [discarded(208), good, discarded(13), short, good];
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const span = core.batch(length);
    let at = 0;
    for (const part of parts) {
      span.set(part, at);
      at += part.length;
    }
    core.ingest(length);
    core.settle(12n * second, 1);
    expect(totals()).toEqual([7, 0, 0, 1, 1]);
    expect(core.counters()).toMatchObject({ records: 2, discards: 2, malformed: 1 });
  });

  test("that ends beyond its span is malformed", () => {
    write(core.batch(stride).fill(0), 0, client);
    core.ingest(stride - 8);
    expect(core.counters()).toMatchObject({ records: 0, malformed: 1, connections: 0 });
  });

  test("of a failed connect is a failure of its reason, and no connection", () => {
    const reasons = ["none", "refused", "timedOut", "reset", "unreachable", "other"] as const;
    feed(
      core,
      ...reasons.map(
        (reason, id): Snapshot => ({ ...client, id: 10 + id, kind: "failed", reason, retransmitted: 2, sent: 9 }),
      ),
      { ...client, id: 10, kind: "failed" },
    );
    expect(core.counters()).toMatchObject({ failed: 6, connections: 0, settling: 6 });
    core.settle(12n * second, 1);
    expect(totals()).toEqual([0, 0, 0, 0, 0]);
    expect(core.links()[0]).toMatchObject({
      failures: { aborted: 1, refused: 1, timed_out: 1, reset: 1, unreachable: 1, other: 1 },
      retransmitted: 12,
      resets: 0,
    });
  });

  test("of a failed connect waits for its settle time, and for no name", () => {
    feed(core, { ...client, remote: "10.9.9.9:80", kind: "failed", reason: "timedOut" });
    core.settle(12n * second - 1n, 1);
    expect(core.links()).toEqual([]);
    core.settle(12n * second, 1);
    expect(core.links()).toMatchObject([{ destination: { name: "external" }, failures: { timed_out: 1 } }]);
    // It says nothing of the address: a connection to it still waits.
    feed(core, { ...client, id: 2, bornAt: 12n * second, remote: "10.9.9.9:80", sent: 1 });
    core.settle(14n * second, 2);
    expect(core.counters().waiting).toBe(1);
  });

  test("without ports is a final that nobody can name, counted with its bytes", () => {
    feed(core, { id: 9, kind: "final", sent: 30, received: 4 }, { id: 8, kind: "closed", sent: 5 });
    core.settle(12n * second, 1);
    expect(core.links()).toEqual([]);
    expect(core.counters()).toMatchObject({ unnamedFinals: 1, unnamedBytes: 34, connections: 0 });
  });

  test("that says alive begins no connection", () => {
    feed(core, { id: 9, kind: "alive", sweep: 3 });
    expect(core.counters()).toMatchObject({ records: 1, connections: 0 });
  });
});

describe("the path of a connection", () => {
  const link = () => core.links()[0]!;

  test("adds up segments, also past 2^32", () => {
    feed(core, { ...client, segments: 10, retransmitted: 1 });
    core.settle(12n * second, 1);
    feed(core, { ...client, segments: 2 ** 31, retransmitted: 4 }, { ...client, segments: 7, retransmitted: 0 });
    feed(core, { ...client, segments: 2 ** 32 - 1, retransmitted: 4 }, { ...client, segments: 3, retransmitted: 4 });
    expect(link()).toMatchObject({ segments: 2 ** 32 + 3, retransmitted: 4 });
  });

  test("of one older than the agent begins at first sight", () => {
    feed(core, { ...client, flags: ["seeded"], segments: 1000, retransmitted: 50 });
    core.settle(12n * second, 1);
    feed(core, { ...client, flags: ["seeded"], segments: 1004, retransmitted: 51, sent: 1 });
    expect(link()).toMatchObject({ segments: 4, retransmitted: 1, connections: 1, connects: 0 });
  });

  test("counts a reset once, whenever it was", () => {
    feed(core, { ...client, flags: ["resetSent"] }, { ...client, flags: ["resetSent", "resetReceived"] });
    feed(core, { ...client, id: 2 });
    core.settle(12n * second, 1);
    feed(core, { ...client, kind: "final", flags: ["resetSent"] }, { ...client, id: 2, flags: ["resetReceived"] });
    feed(core, { ...client, id: 2, kind: "final", flags: ["resetReceived"] });
    expect(link()).toMatchObject({ resets: 2, connections: 2, active: 0 });
  });

  test("is sampled as it settles, and then by each snapshot with new bytes", () => {
    feed(core, { ...client, sent: 1, srttUs: 900 }, { ...client, sent: 2, srttUs: 300 }, { ...client, srttUs: 5 });
    core.settle(12n * second, 1);
    expect(link()).toMatchObject({ rttUs: 300, rtts: 1 });
    feed(core, { ...client, sent: 2, srttUs: 77 }, { ...client, sent: 3, srttUs: 50 });
    feed(core, { ...client, received: 3, sent: 3, kind: "final", srttUs: 40 }, { ...client, sent: 3, srttUs: 1 });
    expect(link()).toMatchObject({ rttUs: 390, rtts: 3 });
  });

  test("tells how long a client's connect took, and no server's", () => {
    feed(core, { ...client, connectUs: 1234 });
    feed(core, { ...client, id: 2, role: "server", connectUs: 9 });
    core.settle(12n * second, 1);
    feed(core, { ...client, connectUs: 1234, sent: 1 });
    expect(core.links().map(({ connectUs, connects }) => [connectUs, connects])).toEqual([
      [1234, 1],
      [0, 0],
    ]);
  });
});

describe("a connection that is not heard of", () => {
  beforeEach(async () => {
    core = await load({ refresh: 4 });
  });

  /** The sweep in which it ends, when only `heard` sweeps name it. */
  function endsAt(heard: (sweep: number) => Partial<Snapshot> | undefined): number {
    for (let sweep = 1; sweep < 60; sweep++) {
      const record = heard(sweep);
      if (record) feed(core, { ...client, sweep, ...record });
      core.settle(second * BigInt(100 + sweep), sweep);
      if (core.counters().finalsMissed) return sweep;
    }
    return 0;
  }

  test("for two complete rounds of sweeps has lost its final", () => {
    core.fresh(2n ** 64n - 1n);
    const ended = endsAt((sweep) => (sweep === 1 ? { sent: 10 } : undefined));
    expect(ended).toBeGreaterThan(1 + 2 * 4);
    expect(ended).toBeLessThanOrEqual(1 + 3 * 4);
    expect(totals()).toEqual([10, 0, 0, 1, 0]);
    expect(core.counters()).toMatchObject({ finalsMissed: 1, connections: 0 });
  });

  test("but refreshed in each round stays", () => {
    expect(endsAt((sweep) => (sweep % 4 === 1 ? {} : undefined))).toBe(0);
  });

  test("but is said to be alive stays", () => {
    feed(core, client);
    expect(endsAt((sweep) => (sweep % 4 === 1 ? { kind: "alive" } : undefined))).toBe(0);
    expect(core.counters().connections).toBe(1);
  });

  test("and waits for a name is posted when it has one", () => {
    const ended = endsAt((sweep) => (sweep === 1 ? { bornAt: second * 101n, sent: 10 } : undefined));
    expect(ended).toBeGreaterThan(0);
    expect(core.links()).toEqual([]);
    core.assign(address("10.0.0.1"), core.owner(pod("web-1")), 0n);
    core.assign(address("10.0.0.2"), core.owner(pod("api-1")), 0n);
    core.settle(130n * second, 20);
    expect(totals()).toEqual([10, 0, 0, 1, 0]);
  });
});
