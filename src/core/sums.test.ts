/** Two nodes with an agent each, and traffic of every kind: whatever is summed up comes to the truth. */
import { describe, expect, test } from "bun:test";
import { aggregates, type Core } from "./core.ts";
import { address, feed, load, pod, samples, second } from "./fixture.ts";
import type { Owner } from "./names.ts";

const seen = 2n ** 64n - 1n;

/** Pods by address, two on each node: 10.0.1.x are on the first one. */
const addresses = ["10.0.1.1", "10.0.1.2", "10.0.2.1", "10.0.2.2"];
const names = ["web-1", "api-1", "web-2", "db-1"];
const service: Owner = {
  type: "service",
  namespace: "shop",
  name: "api",
  workload: "api",
  kind: "Service",
  mine: false,
};

/** One that somebody has led out of the cluster. */
const outside: Owner = { ...service, name: "kubernetes", workload: "kubernetes" };
/** Where the server is dialled by a Service's address, too. */
const dialled: Record<string, string> = { "10.0.1.2": "10.96.0.1:80", "1.1.1.1": "10.96.0.9:443" };

interface Flow {
  client: string;
  server: string;
  port: number;
  /** Where the client dials a Service. */
  dialled?: string;
  sent: number;
  received: number;
}

/** Each pair of pods, and each pod with the world outside, both ways. */
const flows: Flow[] = [
  ...addresses.flatMap((client) =>
    addresses.filter((server) => server !== client).map((server) => ({ client, server })),
  ),
  ...addresses.flatMap((own) => [
    { client: own, server: "1.1.1.1" },
    { client: "2.2.2.2", server: own },
  ]),
].flatMap((ends, i) => [
  { ...ends, port: 8080, sent: 3 ** (i % 13), received: 7 + i },
  {
    ...ends,
    port: 8080,
    sent: 1000 + i,
    received: 0,
    ...(dialled[ends.server] && { dialled: dialled[ends.server]! }),
  },
  { ...ends, port: 45000 + i, sent: 5 * i, received: 11 },
]);

async function agentOf(node: string, aggregate: (typeof aggregates)[number], maxLinks: number): Promise<Core> {
  const core = await load({ aggregate, maxLinks, onlyMine: true });
  core.fresh(seen);
  addresses.forEach((ip, i) => {
    core.assign(address(ip), core.owner(pod(names[i]!, { mine: ip.startsWith(node) })), 0n);
  });
  const api = core.owner(pod("api-1", { mine: node === "10.0.1." }));
  core.assign(address("10.96.0.1"), core.owner(service), 0n);
  core.port(core.owner(service), 80, core.owner({ ...service, kind: "Deployment" }), 8080, "api");
  core.port(api, 8080, api, 8080, "api");
  core.assign(address("10.96.0.9"), core.owner(outside), 0n);
  core.port(core.owner(outside), 443, core.owner({ ...outside, type: "external" }), 6443, "kubernetes");
  let id = 0;
  // Both nodes share a kernel here: each agent sees all sockets.
  for (const { client, server, port, dialled, sent, received } of flows) {
    const clients = `${client}:${30000 + id}`;
    if (client !== "2.2.2.2") {
      feed(core, { id: ++id, role: "client", local: clients, remote: dialled ?? `${server}:${port}`, sent, received });
    }
    if (server !== "1.1.1.1") {
      feed(core, {
        id: ++id,
        role: "server",
        local: `${server}:${port}`,
        remote: clients,
        sent: received,
        received: sent,
      });
    }
  }
  core.settle(2n * second, 1);
  return core;
}

const sumOf = (all: Iterable<number>): number => [...all].reduce((sum, one) => sum + one, 0);

for (const aggregate of aggregates) {
  for (const maxLinks of [2000, 3, 1]) {
    describe(`by ${aggregate}, in ${maxLinks} rows at most`, async () => {
      const cores = await Promise.all(["10.0.1.", "10.0.2."].map((node) => agentOf(node, aggregate, maxLinks)));
      const lines = cores.flatMap((core) => samples(core, 3n * second, seen));
      const rows = lines.map((line) => {
        const [, family = "", labels = "", value = ""] = /^(\w+)\{(.*)\} (.*)$/.exec(line) ?? [];
        return { family, labels, value: Number(value) };
      });
      const sum = (family: string, ...labels: string[]) =>
        sumOf(
          rows
            .filter((row) => row.family === family && labels.every((l) => row.labels.includes(l)))
            .map((r) => r.value),
        );
      const isPod = (ip: string) => addresses.includes(ip);

      test("rows that count once are all there is, once", () => {
        expect(sum("kube_ebpf_link_sent_bytes_total", 'counted="once"')).toBe(sumOf(flows.map(({ sent }) => sent)));
        expect(sum("kube_ebpf_link_received_bytes_total", 'counted="once"')).toBe(sumOf(flows.map((f) => f.received)));
        expect(sum("kube_ebpf_link_connections_total", 'counted="once"')).toBe(flows.length);
      });

      test("what pods sent is what links' own ends sent, and the truth", () => {
        const truth =
          sumOf(flows.filter(({ client }) => isPod(client)).map(({ sent }) => sent)) +
          sumOf(flows.filter(({ server }) => isPod(server)).map(({ received }) => received));
        expect(sum("kube_ebpf_transmitted_bytes_total")).toBe(truth);
        expect(
          sum("kube_ebpf_link_sent_bytes_total", 'reporter="client"') +
            sum("kube_ebpf_link_received_bytes_total", 'reporter="server"'),
        ).toBe(truth);
        expect(sum("kube_ebpf_acknowledged_bytes_total")).toBe(
          sumOf(flows.filter(({ server }) => isPod(server)).map(({ sent }) => sent)),
        );
      });

      test("both ends of pods' links say the same", () => {
        const ofPods = rows.filter(
          ({ family, labels }) =>
            /^kube_ebpf_link_(sent|received)/.test(family) &&
            !labels.includes("External") &&
            !/reporter="client",counted="once"/.test(labels),
        );
        const by = (reporter: string, counted: string) => {
          const totals = new Map<string, number>();
          for (const { family, labels, value } of ofPods) {
            if (!labels.includes(`reporter="${reporter}"`)) continue;
            expect(labels).toContain(`counted="${counted}"`);
            // Behind a Service the client knows no pod. A connection that found no room is of no workload any more; which one finds it differs.
            const key =
              maxLinks < 2000 ? family : `${family} ${labels.replace(/,reporter=.*|,destination_pod="[^"]*"/g, "")}`;
            totals.set(key, (totals.get(key) ?? 0) + value);
          }
          return Object.fromEntries(totals);
        };
        expect(by("client", "again")).toEqual(by("server", "once"));
        expect(Object.keys(by("client", "again")).length).toBeGreaterThan(1);
      });

      test("there are no more rows than may be", () => {
        for (const core of cores) {
          expect(core.counters().linkRows).toBeLessThanOrEqual(maxLinks);
          expect(core.counters().capped > 0).toBe(maxLinks < 2000);
        }
        expect(new Set(lines.map((line) => line.replace(/ \S+$/, ""))).size).toBeGreaterThan(20);
      });
    });
  }
}
