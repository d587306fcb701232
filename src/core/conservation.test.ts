import { expect, test } from "bun:test";
import { address, feed, generator, load, pod, type Snapshot, samples, second } from "./fixture.ts";

for (let seed = 1; seed <= 20; seed++) {
  test(`whatever happens, links hold what connections had (history ${seed})`, async () => {
    const random = generator(seed);
    const core = await load({ refresh: 3 });
    const truth = { sent: 0, received: 0, exchanges: 0, durationNs: 0, buckets: 0, connections: 0 };
    const live: Snapshot[] = [];
    const repeats: Snapshot[] = [];
    let id = 0;
    let sweep = 0;
    let lost = 0;

    const add = (to: Snapshot) => {
      const more = random(1000);
      to.sent = Number(to.sent) + more;
      to.received = Number(to.received) + more * 2;
      if (random(2)) {
        to.exchanges = (to.exchanges ?? 0) + 1;
        to.durationNs = Number(to.durationNs) + more;
        const bucket = random(18);
        to.buckets = { ...to.buckets, [bucket]: (to.buckets?.[bucket] ?? 0) + 1 };
      }
    };
    const end = ({ sent, received, exchanges, durationNs, buckets }: Snapshot) => {
      truth.sent += Number(sent);
      truth.received += Number(received);
      truth.exchanges += exchanges ?? 0;
      truth.durationNs += Number(durationNs);
      truth.buckets += Object.values(buckets ?? {}).reduce((sum, count) => sum + count, 0);
      truth.connections++;
    };

    for (let tick = 1; tick <= 150; tick++) {
      const now = BigInt(tick) * second;
      const records: Snapshot[] = [];
      sweep++;
      for (let n = random(4); n > 0 && tick < 80; n--) {
        const netns = random(8);
        live.push({
          id: ++id,
          bornAt: now - BigInt(random(1_000_000_000)),
          role: "client",
          netns: netns + 1,
          local: `10.0.0.${netns}:40000`,
          remote: `10.0.1.${random(12)}:80`,
          sent: 0,
          received: 0,
          exchanges: 0,
          durationNs: 0,
        });
      }
      for (const connection of [...live]) {
        if (random(2)) add(connection);
        const fate = tick > 100 ? 0 : random(12);
        if (fate === 0) {
          live.splice(live.indexOf(connection), 1);
          end(connection);
          // A lost last word is no loss where the sweep has said it all before.
          if (random(4) === 0) {
            records.push({ ...connection, sweep });
            lost++;
          } else {
            records.push({ ...connection, kind: "closed", sweep }, { ...connection, kind: "final", sweep });
            if (random(3) === 0) records.push({ ...connection, kind: "final", sweep });
          }
        } else if (fate < 10 || (connection.sweep ?? 0) + 4 < sweep) {
          connection.sweep = sweep;
          records.push({ ...connection });
          if (random(4) === 0) repeats.push({ ...connection });
        }
      }
      // Late and repeated snapshots of connections that still live.
      while (repeats.length > 5) {
        const late = repeats.splice(random(repeats.length), 1)[0]!;
        if (live.some((connection) => connection.id === late.id)) records.unshift({ ...late, sweep });
      }
      for (let n = random(2); n > 0; n--) {
        const text = `10.0.${random(2)}.${random(12)}`;
        const owner = core.owner(pod(`w${random(5)}-${random(5)}`));
        core.hold(owner); // links go with whoever is gone
        if (random(3)) core.assign(address(text), owner, now);
        else core.release(address(text), now);
      }
      if (random(3) === 0) core.fresh(now - 3n * second);
      feed(core, ...records);
      core.settle(now, sweep);
      if (random(5) === 0) samples(core, now, now - 5n * second);
    }

    core.fresh(2n ** 64n - 1n);
    core.settle(400n * second, sweep);
    const sum = { sent: 0, received: 0, exchanges: 0, durationNs: 0, buckets: 0, connections: 0 };
    for (const link of core.links()) {
      sum.sent += link.sent;
      sum.received += link.received;
      sum.exchanges += link.exchanges;
      sum.durationNs += link.durationNs;
      sum.buckets += link.buckets.reduce((all, count) => all + count, 0);
      sum.connections += link.connections;
    }
    expect(sum).toEqual(truth);
    expect(live).toEqual([]);
    expect(core.links().every(({ active }) => active === 0)).toBe(true);
    expect(core.counters()).toMatchObject({ connections: 0, settling: 0, waiting: 0, finalsMissed: lost });
    expect(core.counters().postedBytes).toBe(truth.sent + truth.received);
    const rows = samples(core, 401n * second, 2n ** 64n - 1n).filter((line) => line.startsWith("kube_ebpf_link_sent"));
    expect(rows.reduce((all, line) => all + Number(line.replace(/^.*} /, "")), 0)).toBe(truth.sent);
  });
}
