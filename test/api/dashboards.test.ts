/** The panel that is empty in the rules tier, where no API server refuses anything. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Agent, launch, settled } from "../live/agent.ts";
import { dashboards, interpolate, intervals, ofAnApiServer } from "../rules/grafana.ts";
import { Prometheus } from "../rules/prometheus.ts";
import { Cluster, READER } from "./cluster.ts";

let cluster: Cluster;
let agent: Agent;
let prometheus: Prometheus;

beforeAll(async () => {
  cluster = await Cluster.start();
  // It may not see who is behind a Service: those requests fail.
  const account = await cluster.serviceAccount("ringside", READER.slice(0, 1));
  await cluster.node("node-a", "10.0.0.1");
  agent = await launch(["--kubeconfig", cluster.kubeconfig(account), "--node", "node-a"]);
  prometheus = await Prometheus.start("prometheus", new URL(agent.url).host, false);
}, 90_000);

afterAll(async () => {
  await prometheus?.stop();
  await agent?.stop();
  await cluster?.stop();
});

test(`${ofAnApiServer}: by stream and status`, async () => {
  const panels = (await dashboards()).flatMap((board) => board.panels);
  const { expr } = panels.find(({ title }) => title === ofAnApiServer)!.targets![0]!;
  const query = interpolate(expr, { ...intervals, __rate_interval: "1m", instance: ".*" });
  const failing = async () =>
    (await prometheus.query(query).catch(() => [])).flatMap(({ metric, values: [value = 0] }) =>
      value > 0 ? [metric] : [],
    );
  const wanted = [{ instance: new URL(agent.url).host, stream: "endpointslices", status: "403" }];
  await settled(async () => (Bun.deepEquals(await failing(), wanted) ? [] : ["not yet"]), 40_000);
  expect(await failing()).toEqual(wanted);
}, 60_000);
