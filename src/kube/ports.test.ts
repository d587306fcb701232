import { expect, test } from "bun:test";
import { generator } from "../core/fixture.ts";
import type { Names, Owner } from "../core/names.ts";
import type { Row } from "./parse.ts";
import { Resolver } from "./resolve.ts";

/** What the core knows of ports by now. */
class Ports implements Names {
  private readonly owners: string[] = [];
  private readonly leads = new Map<string, string>();

  owner({ type, namespace, name, workload, kind, mine }: Owner): number {
    const text = [type, namespace, name, workload, kind, mine].join(" ");
    const index = this.owners.indexOf(text);
    return index < 0 ? this.owners.push(text) - 1 : index;
  }
  port(owner: number, port: number, toOwner: number, toPort: number, service: string): void {
    this.leads.set(`${this.owners[owner]}:${port}`, `${this.owners[toOwner]}:${toPort} "${service}"`);
  }
  dropPorts(owner: number): void {
    for (const key of this.leads.keys()) if (key.startsWith(`${this.owners[owner]}:`)) this.leads.delete(key);
  }
  hold(): void {}
  drop(): void {}
  assign(): void {}
  release(): void {}
  probe(): void {}
  range(): void {}
  dropRange(): void {}
  cgroup(): void {}
  zone(): void {}
  fresh(): void {}

  all(): string[] {
    return [...this.leads].map(([from, to]) => `${from} -> ${to}`).sort();
  }
}

/** Some version of some object: pods that take each other's addresses, slices that share backends, host ports. */
function someRow(random: (below: number) => number, time: number): Row {
  const i = random(6);
  const namespace = `team-${i % 2}`;
  const some = <T>(values: T[]): T[] => values.filter(() => random(3) === 0);
  const addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "172.16.0.0"];
  switch (random(8)) {
    case 0:
      return {
        type: "node",
        key: `node-${i % 2}`,
        name: `node-${i % 2}`,
        addresses: [`172.16.0.${i % 2}`],
        ranges: [],
      };
    case 1:
    case 2: {
      const name = `web-${i}`;
      const ports = some([80, 81]).map((port) => ({ name: `p${port}`, port, target: 8000 + port }));
      return {
        type: "service",
        key: `${namespace}/${name}`,
        namespace,
        name,
        addresses: [`10.96.0.${i}`],
        selector: [],
        ports,
      };
    }
    case 3:
    case 4:
    case 5: {
      const ports = some([80, 81]).map((port) => ({ name: `p${port}`, port: 8000 + random(2) }));
      const service = `web-${random(3) * 2 + (i % 2)}`;
      return { type: "slice", key: `${namespace}/slice-${i}`, namespace, service, addresses: some(addresses), ports };
    }
    default: {
      const hostPorts = random(4) === 0 ? [{ port: 8000, target: 9000 }] : [];
      return {
        type: "pod",
        key: `uid-${i}`,
        namespace,
        name: `pod-${i}`,
        workload: `workload-${random(2)}`,
        kind: "Deployment",
        node: `node-${random(2)}`,
        hostNetwork: false,
        addresses: some(addresses.slice(0, 3)),
        labels: [],
        ports: [],
        finished: random(6) === 0,
        startedAt: time, // so that no two are equal
        ...(hostPorts.length > 0 && { hostPorts }),
      };
    }
  }
}

for (let seed = 1; seed <= 50; seed++) {
  test(`ports that were told bit by bit are those of all rows at once (history ${seed})`, () => {
    const random = generator(seed);
    const ports = new Ports();
    const resolver = new Resolver(ports, (wall) => BigInt(wall), "node-0");
    const rows = new Map<string, Row>();
    let compared = 0;
    for (let time = 1; time <= 300; time++) {
      const row = someRow(random, time);
      const id = `${row.type} ${row.key}`;
      if (random(4) === 0) {
        rows.delete(id);
        resolver.drop(row.type, row.key, BigInt(time));
      } else {
        rows.set(id, row);
        resolver.take(row, BigInt(time));
      }
      if (random(3) === 0) resolver.tellPorts(random(3));
      if (time % 30 > 0) continue;
      while (!resolver.tellPorts(1));
      // Long after: a Service's last connections have settled.
      resolver.fresh(2n ** 63n);
      const anew = new Ports();
      new Resolver(anew, (wall) => BigInt(wall), "node-0").replace([...rows.values()], 0n);
      // What a Service led to before it lost its backends is not in the rows.
      const from = (lead: string) => lead.replace(/ -> .*/, "");
      const isEmpty = (lead: string) => /^(service .+):\d+ -> \1:808\d /.test(lead);
      const empty = new Set(anew.all().filter(isEmpty).map(from));
      const others = (of: Ports) => of.all().filter((lead) => !empty.has(from(lead)));
      expect(others(ports)).toEqual(others(anew));
      compared += others(ports).length;
    }
    expect(compared).toBeGreaterThan(0);
  });
}
