import { afterAll, beforeAll, expect, test } from "bun:test";
import { runTraffic, trafficEnds } from "../truth/traffic.ts";
import { compareDurations, compareLinks, compareMetrics, type TruthLine } from "../truth/truth.ts";
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

test("nothing was lost, refused, late or clamped", async () => {
  const text = await agent.metrics();
  const counters = text.match(
    /^ringside_(final_snapshots_lost|lost_bytes|connections_refused|connections_late|records_malformed|totals_clamped|hook_missed)_total\S* .*$/gm,
  );
  expect(counters?.length).toBeGreaterThan(8);
  expect(counters?.filter((line) => !line.endsWith(" 0"))).toEqual([]);
});
