import { afterAll, beforeAll, expect, test } from "bun:test";
import { runTraffic, trafficEnds } from "../truth/traffic.ts";
import { compareDurations, compareLinks, compareLosses, compareMetrics, type TruthLine } from "../truth/truth.ts";
import { type Agent, settled, startAgent } from "./agent.ts";

const options = { name: "live", net: 71 };
const ends = trafficEnds(options);
let agent: Agent;
let lines: TruthLine[];

beforeAll(async () => {
  agent = await startAgent(ends);
  lines = await runTraffic(options);
}, 120_000);

afterAll(() => agent?.stop());

test("every byte and exchange of every scenario is in the links, at both ends", async () => {
  expect(lines.length).toBeGreaterThan(20);
  expect(await settled(async () => compareLinks(lines, await agent.links(), ends))).toEqual([]);
}, 30_000);

test("the exposition says the same", async () => {
  // Rows are born at zero: two scrapes have to be seen first.
  expect(await settled(async () => compareMetrics(lines, await agent.metrics(), ends))).toEqual([]);
}, 30_000);

test("durations are those that the programs measured", async () => {
  expect(compareDurations(lines, await agent.links(), ends, 300_000)).toEqual([]);
});

test("a server that sleeps 20 ms is in the bucket of 15.6 to 31.3 ms", async () => {
  const truth = lines.filter(({ scenario, role }) => scenario === "slow" && role === "server");
  const row = (await agent.links()).find((l) => l.reporter === "server" && l.port === truth[0]?.local_port);
  const exchanges = truth.reduce((sum, line) => sum + line.exchanges, 0);
  expect(exchanges).toBeGreaterThan(50);
  // Bounds are 2^-14 s, 2^-13 s, ...: the tenth is 2^-5 s. It never sleeps less; a busy machine may wake it late.
  expect(row?.buckets.slice(0, 9).every((count) => count === "0")).toBe(true);
  expect(Number(row?.buckets[9])).toBeGreaterThan(exchanges * 0.9);
});

test("nothing was lost, refused or clamped", async () => {
  expect(compareLosses(await agent.metrics())).toEqual([]);
});
