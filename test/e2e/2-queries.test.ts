/** What we ship to ask Prometheus with gives the shop, however Prometheus scrapes: the article's query, dashboards, rules. */
import { beforeAll, describe, expect, test } from "bun:test";
import { parse } from "yaml";
import { ask, chosen, dashboards, intervals, ofAnApiServer, queriesOf, type Source } from "../rules/grafana.ts";
import { rulesFile, selector } from "../rules/promtool.ts";
import { list, until } from "./cluster.ts";
import { cgroupsTell, probes, settled } from "./links.ts";
import { get, query, type Server, samples, servers, value } from "./prometheus.ts";
import { namespaces } from "./shop/objects.ts";
import { truth as accounts, go, type Tally } from "./truth.ts";

const all = Object.keys(servers) as Server[];
const boards = await dashboards();
const began = Date.now() / 1000;
let truth: Tally[];

beforeAll(async () => {
  await go();
  await Bun.sleep(15_000);
  ({ truth } = await settled());
  await go();
}, 180_000);

/** One of the servers, as Grafana asks it. */
const source = (server: Server): Source => ({
  get: (path, parameters) => get(path, parameters, server),
  query: async (promql, range) => {
    if (!range)
      return (await query(promql, { server })).map(({ labels, value }) => ({ metric: labels, values: [value] }));
    const [start, end] = range.map(String) as [string, string];
    const { result } = await get<{ result: { metric: Record<string, string>; values: [number, string][] }[] }>(
      "query_range",
      { query: promql, start, end, step: "1" },
      server,
    );
    return result.map(({ metric, values }) => ({ metric, values: values.map(([, value]) => Number(value)) }));
  },
});

const panel = boards.flatMap((board) => board.panels).find(({ title }) => title.startsWith("Bytes a minute"))!;

/** The pods that have served, with their ports. */
const serving = (): string[] => {
  const lines = truth.filter(({ role, kind }) => role === "server" && kind !== "");
  return [
    ...new Set(lines.map(({ namespace, pod, port }) => selector({ name: pod, namespace, port: `${port}` }))),
  ].sort();
};

describe.each(all)("%s", (server) => {
  test("bytes a minute by port and pod are the shop, each pod by its own", async () => {
    const chosenNamespaces = { ...intervals, namespace: `(${namespaces.join("|")})` };
    const rows = await ask(source(server), panel.targets![0]!, chosenNamespaces, began);
    const sorted = rows.map(({ metric: { name, namespace, port } }) =>
      selector({ name: name!, namespace: namespace!, port: port! }),
    );
    expect(sorted.sort()).toEqual(serving());
    expect(sorted.filter((row) => row.includes('"db-0"'))).toHaveLength(2);
    for (const { values } of rows) expect(Math.max(...values)).toBeGreaterThan(0);
  });

  test("every query of every dashboard has rows, but for that of what has failed", async () => {
    const empty: string[] = [];
    for (const board of boards) {
      for (const values of await chosen(source(server), board, { namespace: "shop", workload: "api" })) {
        for (const { panel, target } of queriesOf(board)) {
          const rows = await ask(source(server), target, values, began);
          if (!rows.some((row) => row.values.some(Number.isFinite))) empty.push(panel.title);
        }
      }
    }
    expect([...new Set(empty)]).toEqual([ofAnApiServer]);
  }, 120_000);

  test("recording rules and alerts are loaded and evaluated, and no agent is unwell", async () => {
    const { groups } = await get<{ groups: { rules: { name: string; health: string }[] }[] }>("rules", {}, server);
    const rules = groups.flatMap(({ rules }) => rules);
    const { groups: ours } = parse(await Bun.file(rulesFile).text()) as {
      groups: { rules: { record?: string; alert?: string }[] }[];
    };
    const names = ours.flatMap(({ rules }) => rules.map(({ record, alert }) => record ?? alert!));
    expect(rules.map(({ name }) => name).sort()).toEqual(names.sort());
    expect(rules.filter(({ health }) => health !== "ok")).toEqual([]);
    const firing = await query('ALERTS{alertstate="firing"}', { server });
    expect(firing.map(({ labels }) => labels.alertname!).filter((name) => !name.startsWith("RingsideLink"))).toEqual(
      [],
    );
  });
});

/** Bytes that came to each pod's port, however the server scrapes. */
const named = 'label_replace(kube_ebpf_acknowledged_bytes_total, "namespace", "$1", "exported_namespace", "(.+)")';

test("all three have of each pod the bytes that its program says, the kubelet's probes beside them", async () => {
  await settled();
  /** By pod and port: the bytes of all but probes, and how many probes of how many bytes. */
  const told = async () => {
    const found = new Map<string, { bytes: number; probes: number; size: number }>();
    const underWay = ({ peer, received, requests }: Tally) => peer === "probe" && received % requests !== 0;
    let tallies = await accounts();
    while (tallies.some(underWay)) tallies = await accounts();
    for (const tally of tallies) {
      const { role, kind, peer, namespace, pod, port, received, requests } = tally;
      if (role !== "server" || kind === "" || peer === "-") continue;
      const key = `${namespace}/${pod}:${port}`;
      const row = found.get(key) ?? { bytes: 0, probes: 0, size: 0 };
      found.set(key, row);
      if (peer !== "probe") row.bytes += received;
      else Object.assign(row, { probes: row.probes + requests, size: received / requests });
    }
    return found;
  };
  for (const server of all) {
    const before = await told();
    const rows = await query(`sum by (namespace, name, port) (${named}) > 0`, { server });
    const later = await told();
    const seen = new Map(
      rows.map(({ labels: { namespace, name, port }, value }) => [`${namespace}/${name}:${port}`, value]),
    );
    const apart: string[] = [];
    let probed = 0;
    for (const [key, { bytes, probes, size }] of before) {
      const shown = seen.get(key) ?? 0;
      const more = shown - bytes;
      const count = size && more / size;
      if (size) probed++;
      // The last seconds' probes may not have been scraped yet.
      const whole = size
        ? Number.isInteger(count) && count >= probes - 4 && count <= later.get(key)!.probes
        : more === 0;
      if (!whole)
        apart.push(`${server}: ${key}: ${shown} bytes, of them ${bytes} by the shop, ${probes} probes of ${size}`);
    }
    expect(apart).toEqual([]);
    expect(probed).toBeGreaterThanOrEqual(8);
    expect([before.has("shop/db-0:6379"), before.has("tenant/db-0:6379")]).toEqual([true, true]);
  }
});

test("all three say the same numbers", async () => {
  ({ truth } = await settled());
  const promql = [
    `sum by (namespace, name, port) (${named}) and on (name) kube_ebpf_acknowledged_bytes_total{name=~"(mirror|ported|edge)-.+"}`,
    // Rows of a job go with its pods, from one server a scrape earlier than from another.
    'sum without (instance, job, namespace) (kube_ebpf_link_sent_bytes_total{source_namespace=~"shop|tenant",source_kind!="CronJob"})',
  ];
  for (const text of promql) {
    const answers = await Promise.all(
      all.map(async (server) =>
        (await query(text, { server })).map(({ labels, value }) => `${selector(labels)} ${value}`).sort(),
      ),
    );
    expect(answers[0]!.length).toBeGreaterThan(3);
    expect(answers[1]).toEqual(answers[0]!);
    expect(answers[2]).toEqual(answers[0]!);
  }
  await go();
});

test("a tenant's pods are found by their namespace, as the server's way to scrape has it", async () => {
  const label: Record<Server, string> = { plain: "exported_namespace", honored: "namespace", monitored: "namespace" };
  for (const server of all) {
    const rows = await query(`kube_ebpf_acknowledged_bytes_total{${label[server]}="tenant"}`, { server });
    expect(rows.map(({ labels }) => labels.name!)).toEqual(["db-0"]);
  }
});

test("probes are in no link where cgroups tell the node's own sockets, and else links of the node", async () => {
  const rows = await query(`kube_ebpf_link_requests_total{${probes}} > 0`);
  if (await cgroupsTell()) return expect(rows).toEqual([]);
  // The limit of cgroup v1 (docs/platforms.md): each probed pod's node, at both its ends.
  const probed = truth.filter(({ peer }) => peer === "probe").map(({ workload, node }) => `${node} > ${workload}`);
  for (const reporter of ["client", "server"]) {
    const found = rows.filter(({ labels }) => labels.reporter === reporter);
    expect(found.map(({ labels }) => `${labels.source_workload} > ${labels.destination_workload}`).sort()).toEqual(
      [...new Set(probed)].sort(),
    );
  }
});

test("a series is there before its first byte: increase() sees all of a short connection", async () => {
  const ofJobs = () => samples('kube_ebpf_link_sent_bytes_total{source_workload="report"}');
  await until("a job of this minute has rows at both ends", async () => (await ofJobs()).length >= 2, 90_000);
  const first = await ofJobs();
  for (const { samples } of first) expect(samples[0]![1]).toBe(0);
});

test("Prometheus watches no more than the agents' pods", async () => {
  const pods = (await list("pods", "-A", "-l", "app.kubernetes.io/name=ringside")).length;
  expect(await value("count(up)")).toBe(pods);
});
