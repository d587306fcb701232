/** The truth table of this kernel: every scenario, under each backend that works here. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type TruthColumn, truthTable } from "../../hack/lib/truth-table.ts";
import { checkMachine } from "../../src/bpf/check.ts";
import { runTraffic, trafficEnds } from "../truth/traffic.ts";
import { compareDurations, compareLinks, compareLosses, compareMetrics, type TruthLine } from "../truth/truth.ts";
import { type Agent, settled, startAgent } from "./agent.ts";

const options = { name: "live", net: 71 };
const ends = trafficEnds(options);
const backends = (await checkMachine()).backends.filter(({ works }) => works).map(({ backend }) => backend);
const columns: TruthColumn[] = [];

afterAll(() => console.log(truthTable(columns)));

test("a backend works here", () => {
  expect(backends).not.toEqual([]);
});

describe.each(backends)("%s", (backend) => {
  let agent: Agent;
  let lines: TruthLine[];
  let column: TruthColumn;

  /** Exactly nothing differs; the table shows the same. */
  function agree(differences: string[]): void {
    column.differences.push(...differences);
    expect(differences).toEqual([]);
  }

  beforeAll(async () => {
    agent = await startAgent(ends, ["--backend", backend]);
    lines = await runTraffic(options);
    column = { name: backend, lines, differences: [] };
    columns.push(column);
  }, 120_000);

  afterAll(() => agent?.stop());

  test("every byte, exchange and connection of every scenario is in the links, at both ends", async () => {
    expect(lines.length).toBeGreaterThan(20_000);
    agree(await settled(async () => compareLinks(lines, await agent.links(), ends)));
  }, 30_000);

  test("the exposition says the same", async () => {
    // Rows are born at zero: two scrapes have to be seen first.
    agree(await settled(async () => compareMetrics(lines, await agent.metrics(), ends)));
  }, 30_000);

  test("durations are those that the programs measured", async () => {
    agree(compareDurations(lines, await agent.links(), ends, 300_000));
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
});

test("what a pod says to itself is counted with --loopback", async () => {
  const pod = ends.server;
  const agent = await startAgent(ends, ["--loopback"]);
  try {
    const lines = await runTraffic({ ...options, only: ["own-address", "loopback"] });
    expect(lines).toHaveLength(4);
    const both = { client: pod, server: pod };
    expect(await settled(async () => compareLinks(lines, await agent.links(), both))).toEqual([]);
  } finally {
    await agent.stop();
  }
}, 60_000);
