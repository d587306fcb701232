/**
 * Real Prometheuses that scrape a real agent beside the shop of hack/demo, as an annotation scrape does and under both
 * settings of honor_labels, answer every query of the dashboards, and evaluate every rule.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $ } from "bun";
import { Agent } from "../../hack/shop/agent.ts";
import { inPod, nodes, pods, tenant } from "../../hack/shop/cluster.ts";
import { refuseSecond } from "../../hack/shop/network.ts";
import { Shop } from "../../hack/shop/shop.ts";
import { settled } from "../live/agent.ts";
import { ask, chosen, dashboards, intervals, ofAnApiServer, type Panel, queriesOf, variablesOf } from "./grafana.ts";
import { Prometheus, type Row } from "./prometheus.ts";
import { type Labels, selector } from "./promtool.ts";

const folder = join(tmpdir(), `ringside-rules-${process.pid}`);
const boards = await dashboards();
const settings = ["honor_labels: true", "honor_labels: false", "native histograms"] as const;
/** Nobody's address, on the second node: outside of the cluster. */
const outside = "203.0.113.7";
const answering = `Bun.listen({ hostname: "${outside}", port: 443, socket: { data: (socket) => socket.write("answer") } })`;
const asking = `
  const socket = await Bun.connect({ hostname: "${outside}", port: 443, socket: { data() {} } });
  setInterval(() => socket.write("question"), 100);
`;

/** A pod of the shop calls somebody outside, until the shop closes. */
async function callOutside(): Promise<void> {
  const { namespace } = nodes[1]!;
  await $`ip -n ${namespace} address add ${outside}/32 dev lo`;
  Bun.spawn(["ip", "netns", "exec", namespace, process.execPath, "-e", answering]);
  await settled(async () => {
    const listening = await $`ip netns exec ${namespace} ss -Hltn sport = :443`.text();
    return listening ? [] : ["nobody listens"];
  });
  Bun.spawn(inPod(pods.web[1], [process.execPath, "-e", asking]));
}

let shop: Shop;
let agent: Agent;
let began: number;
const servers = new Map<(typeof settings)[number], Prometheus>();

beforeAll(async () => {
  refuseSecond();
  const newer = (await $`${join(import.meta.dir, "../../hack/lib/prometheus-3")}`.text()).trim();
  shop = new Shop(folder);
  shop.close();
  await $`mkdir ${folder}`;
  agent = await Agent.start(folder, ["--scope"]);
  const target = new URL(agent.url).host;
  began = Date.now() / 1000;
  servers.set("honor_labels: true", await Prometheus.start("prometheus", target, true));
  servers.set("honor_labels: false", await Prometheus.start("prometheus", target, false));
  servers.set(
    "native histograms",
    await Prometheus.start(newer, target, false, ["--enable-feature=native-histograms"]),
  );
  for (const server of servers.values()) {
    const up = async () =>
      (await server.query("up").catch(() => [])).some(({ values }) => values[0] === 1) ? [] : ["down"];
    expect(await settled(up, 60_000)).toEqual([]);
  }
  await Bun.sleep(4000); // the agent knows its scrapers, and what comes is born at zero
  await shop.open();
  await shop.once();
  await callOutside();
  await Bun.sleep(20_000);
}, 180_000);

afterAll(async () => {
  shop?.close();
  await agent?.stop();
  for (const server of servers.values()) await server.stop();
  await rm(folder, { recursive: true, force: true });
});

/** What a reader of the shop would choose. */
const choice: Labels = { namespace: tenant, workload: "api" };

const queries = boards.flatMap(queriesOf);

/** The label sets of a query's rows, in order. */
const rowsOf = (rows: Row[]): string[] => rows.map(({ metric }) => selector(metric)).sort();

describe.each([...settings])("%s", (setting) => {
  test("every query of every dashboard has rows", async () => {
    const server = servers.get(setting)!;
    const empty: string[] = [];
    for (const board of boards) {
      for (const values of await chosen(server, board, choice)) {
        for (const { panel, target } of queries.filter((query) => query.board === board)) {
          const rows = await ask(server, target, values, began);
          if (!rows.some((row) => row.values.some(Number.isFinite))) empty.push(panel.title);
        }
      }
    }
    expect([...new Set(empty)].sort()).toEqual([ofAnApiServer]);
  }, 60_000);

  test("bytes a minute are there by port and pod, whatever the scrape does to our namespace", async () => {
    const panel = boards.flatMap((board) => board.panels).find(({ title }) => title.startsWith("Bytes a minute"))!;
    const rows = await ask(
      servers.get(setting)!,
      panel.targets![0]!,
      { ...intervals, namespace: `(${tenant})` },
      began,
    );
    const serving = [...pods.web, ...pods.api, ...pods.db];
    expect(rowsOf(rows)).toEqual(
      serving.map(({ name, port }) => selector({ name, namespace: tenant, port: `${port}` })).sort(),
    );
    for (const { values } of rows) expect(Math.max(...values)).toBeGreaterThan(0);
  });

  test("the graph is the shop, and each of its edges has both ends", async () => {
    const panel = boards.flatMap((board) => board.panels).find(({ type }) => type === "nodeGraph")!;
    const [nodes, edges] = await Promise.all(
      ["nodes", "edges"].map((refId) =>
        ask(
          servers.get(setting)!,
          panel.targets!.find((target) => target.refId === refId)!,
          { ...intervals, namespace: `(${tenant})` },
          began,
        ),
      ),
    );
    const ids = nodes!.map(({ metric }) => metric.id!);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { metric } of nodes!) expect(Object.keys(metric).sort()).toEqual(["id", "subtitle", "title"]);
    for (const { metric } of edges!) {
      expect(ids).toContain(metric.source!);
      expect(ids).toContain(metric.target!);
      expect(metric.id).toBe(`${metric.source} ${metric.target}`);
    }
    expect(edges!.map(({ metric }) => metric.id!).sort()).toEqual([
      "shop/api/Deployment shop/db/StatefulSet",
      "shop/load/Deployment shop/web/Deployment",
      "shop/web/Deployment /external/External",
      "shop/web/Deployment shop/api/Deployment",
    ]);
  });

  test("every rule is evaluated, and a link costs the seven series that docs/alerts.md says", async () => {
    const server = servers.get(setting)!;
    const { groups } = await server.get<{
      groups: { rules: { name: string; health: string; lastError?: string }[] }[];
    }>("rules");
    const rules = groups.flatMap(({ rules }) => rules);
    expect(rules.length).toBeGreaterThan(30);
    expect(rules.filter(({ health }) => health !== "ok")).toEqual([]);
    const link = `source_workload="web",destination_workload="api"`;
    const each = await server.query(`count by (__name__) ({__name__=~"link:.+",${link}})`);
    expect(each.map(({ metric, values }) => [metric.__name__!, ...values] as const).sort()).toEqual([
      ["link:kube_ebpf_link_bytes:rate5m", 1],
      ["link:kube_ebpf_link_connects:rate5m", 1],
      ["link:kube_ebpf_link_exchange_seconds:mean5m", 1],
      ["link:kube_ebpf_link_gap_seconds:mean5m", 1],
      ["link:kube_ebpf_link_requests:rate5m", 1],
      ["link:kube_ebpf_link_response_seconds:mean5m", 1],
      ["link:kube_ebpf_link_round_trip_seconds:mean5m", 1],
    ]);
    const mean = async (name: string) =>
      (await server.query(`link:kube_ebpf_link_${name}_seconds:mean5m{${link}}`))[0]!.values[0]!;
    expect(await mean("round_trip")).toBeGreaterThan(await mean("response"));
  });
});

test("traffic between zones is that of the shop's two nodes", async () => {
  const server = servers.get("honor_labels: false")!;
  const { groups } = await server.get<{ groups: { rules: { name: string; query: string }[] }[] }>("rules");
  const alert = groups.flatMap(({ rules }) => rules).find(({ name }) => name === "RingsideCrossZoneTraffic")!;
  const [query, limit] = alert.query.split(" > ");
  expect(Number(limit)).toBe(100e9);
  const rows = await server.query(query!);
  expect(rows.map(({ metric }) => `${metric.source_workload} -> ${metric.destination_workload}`).sort()).toEqual([
    "api -> db",
    "load -> web",
    "report -> db",
    "web -> api",
  ]);
  for (const { values } of rows) expect(values[0]).toBeGreaterThan(0);
});

test("both settings of honor_labels give the same rows", async () => {
  const [yes, no] = [servers.get("honor_labels: true")!, servers.get("honor_labels: false")!];
  for (const board of boards) {
    const [values] = await chosen(yes, board, choice);
    expect(await chosen(no, board, choice).then(([others]) => others)).toEqual(values!);
    for (const { panel, target } of queries.filter((query) => query.board === board)) {
      const rows = [await ask(yes, target, values!, began), await ask(no, target, values!, began)];
      expect(rowsOf(rows[1]!), `${board.title}: ${panel.title}`).toEqual(rowsOf(rows[0]!));
    }
  }
}, 60_000);

test("workloads of one name in two namespaces are two", () => {
  for (const { board, panel, target } of queries) {
    for (const [, list = ""] of target.expr.matchAll(/\bby \(([^)]*)\)/g)) {
      const labels = list.split(", ");
      for (const label of labels.filter((label) => label.endsWith("_workload"))) {
        expect(labels, `${board.title}: ${panel.title}`).toContain(label.replace("workload", "namespace"));
      }
    }
  }
});

const unitsOf = ({ fieldConfig, options }: Panel): (string | undefined)[] => {
  if (options?.nodes) return [options.nodes.mainStatUnit, options.edges?.mainStatUnit];
  if (options?.yAxis) return [options.yAxis.unit];
  const columns = fieldConfig!.overrides.flatMap(({ properties }) => properties.filter(({ id }) => id === "unit"));
  return columns.length > 0 ? columns.map(({ value }) => value) : [fieldConfig!.defaults.unit];
};

test.each(boards)("$file is whole: ids, places, units, variables, data source", (board) => {
  expect(board.schemaVersion).toBeGreaterThanOrEqual(38); // Grafana 10.0
  expect(board.uid).toBe(board.file.replace(".json", ""));
  const { panels, templating } = board;
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)},${y + Math.floor(cell / w)}`),
  );
  expect(new Set(cells).size).toBe(cells.length);
  for (const { gridPos } of panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);

  const known = new Set([...templating.list.map(({ name }) => name), ...Object.keys(intervals)]);
  const used = new Set(variablesOf(JSON.stringify({ panels, list: templating.list })));
  expect([...used].filter((name) => !known.has(name))).toEqual([]);
  expect(templating.list.filter(({ name }) => !used.has(name))).toEqual([]);

  const shown = panels.filter(({ type }) => type !== "row");
  expect(shown.length).toBeGreaterThan(10);
  for (const panel of shown) {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana's
    expect(panel.datasource, panel.title).toEqual({ type: "prometheus", uid: "${datasource}" });
    for (const unit of unitsOf(panel)) expect(unit, panel.title).toBeString();
    const refs = panel.targets!.map(({ refId }) => refId);
    expect(new Set(refs).size).toBe(refs.length);
    if (!panel.targets!.some(({ format }) => format === "table")) continue;
    // Grafana names the value of a table after its query, where a panel has more than one. A table shows it by a new
    // name; the graph wants a field that is really called mainstat, and Grafana joins what still has a time.
    const values = refs.map((refId) => `Value #${refId}`);
    const [first, second] = panel.transformations!.map(({ id, options }) => ({ id, ...options }));
    if (panel.type === "nodeGraph") {
      expect(first).toMatchObject({ id: "organize", excludeByName: { Time: true } });
      expect(second).toMatchObject({ id: "calculateField", alias: "mainstat", reduce: { include: values } });
    } else {
      expect(first).toMatchObject({ id: "merge" });
      expect(Object.keys(second!.renameByName!)).toEqual(expect.arrayContaining(values));
    }
  }
});
