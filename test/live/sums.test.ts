/** Whatever is summed up comes to the truth: by every level, with room for its rows and without, of both ends and of one. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { aggregates } from "../../src/core/core.ts";
import { runTraffic, trafficEnds } from "../truth/traffic.ts";
import { isWithin, parseMetrics, podList, type Role, type TruthLine } from "../truth/truth.ts";
import { type Agent, settled, startAgent } from "./agent.ts";

const options = { name: "sums", net: 76, scale: 0.1 };
const ends = trafficEnds(options);

interface Case {
  /** Whose names the agent has: these ends are of its own node, and another is external. */
  roles: Role[];
  aggregate: (typeof aggregates)[number];
  maxLinks: number;
}

const both: Role[] = ["client", "server"];
const cases: Case[] = [2000, 1].flatMap((maxLinks) => [
  ...aggregates.map((aggregate) => ({ roles: both, aggregate, maxLinks })),
  ...both.map((role) => ({ roles: [role], aggregate: "workload" as const, maxLinks })),
]);

const agents = new Map<Case, Agent>();
let lines: TruthLine[];

beforeAll(async () => {
  for (const one of cases) {
    const flags = ["--node", "truth", "--aggregate", one.aggregate, "--max-links", String(one.maxLinks)];
    agents.set(one, await startAgent(podList(one.roles.map((role) => ends[role])), flags));
  }
  lines = (await runTraffic(options)).filter((line) => !line.skipped && !isWithin(line));
}, 180_000);

afterAll(async () => {
  await Promise.all([...agents.values()].map((agent) => agent.stop()));
});

/** What the programs of that role moved, each as it saw it. */
function truthOf(role: Role): Record<"sent" | "received" | "requests" | "connections", number> {
  const own = lines.filter((line) => line.role === role);
  const sum = (of: (line: TruthLine) => number) => own.reduce((all, line) => all + of(line), 0);
  return {
    sent: sum((line) => line.sent),
    received: sum((line) => line.received),
    requests: sum((line) => line.exchanges),
    connections: sum((line) => (line.failed ? 0 : 1)),
  };
}

/** What the families say, from the client's point of view and the server's; 0 for a role that the agent does not know. */
function saidBy(text: string): Record<string, number> {
  const samples = [...parseMetrics(text)];
  const sum = (family: string, ...labels: string[]) =>
    samples
      .filter(([key]) => key.startsWith(`kube_ebpf_${family}_total{`) && labels.every((label) => key.includes(label)))
      .reduce((all, [, value]) => all + Number(value), 0);
  const link = (prefix: string, ...labels: string[]) => ({
    [`${prefix} sent`]: sum("link_sent_bytes", ...labels),
    [`${prefix} received`]: sum("link_received_bytes", ...labels),
    [`${prefix} requests`]: sum("link_requests", ...labels),
    [`${prefix} connections`]: sum("link_connections", ...labels),
  });
  return {
    ...link("once", 'counted="once"'),
    ...link("by the client", 'reporter="client"'),
    ...link("by the server", 'reporter="server"'),
    "pods sent": sum("transmitted_bytes"),
    "pods' servers received": sum("acknowledged_bytes"),
    "pods' exchanges as clients": sum("requests_sent"),
    "pods' exchanges as servers": sum("requests_received"),
  };
}

/** The same from the truth. */
function expectedOf(roles: Role[]): Record<string, number> {
  const nothing = { sent: 0, received: 0, requests: 0, connections: 0 };
  const asClient = roles.includes("client") ? truthOf("client") : nothing;
  const seen = roles.includes("server") ? truthOf("server") : nothing;
  const asServer = { ...seen, sent: seen.received, received: seen.sent };
  const link = (prefix: string, of: typeof nothing) =>
    Object.fromEntries(Object.entries(of).map(([what, count]) => [`${prefix} ${what}`, count]));
  return {
    ...link("once", roles.includes("server") ? asServer : asClient),
    ...link("by the client", asClient),
    ...link("by the server", asServer),
    "pods sent": asClient.sent + asServer.received,
    "pods' servers received": asServer.sent,
    "pods' exchanges as clients": asClient.requests,
    "pods' exchanges as servers": asServer.requests,
  };
}

const differencesOf = (text: string, roles: Role[]): string[] => {
  const said = saidBy(text);
  return Object.entries(expectedOf(roles)).flatMap(([what, count]) =>
    said[what] === count ? [] : [`${what}: expected ${count}, got ${said[what]}`],
  );
};

test("the traffic is large", () => {
  expect(truthOf("server").received).toBeGreaterThan(5e7);
  expect(truthOf("client").connections).toBeGreaterThan(1000);
});

describe.each(cases)("names of $roles, by $aggregate, $maxLinks rows", (one) => {
  const metrics = () => agents.get(one)!.metrics();

  test("sums of links are sums of pods, and the truth", async () => {
    expect(await settled(async () => differencesOf(await metrics(), one.roles))).toEqual([]);
  }, 30_000);

  test("there are as many rows as may be, and the rest is capped", async () => {
    const samples = parseMetrics(await metrics());
    expect(Number(samples.get("ringside_connections_capped_total{}")) > 0).toBe(one.maxLinks === 1);
    expect(Number(samples.get('ringside_link_rows{rows="links"}'))).toBeLessThanOrEqual(one.maxLinks);
  });
});
