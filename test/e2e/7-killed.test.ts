/** An agent that dies in mid-traffic: what moved while nobody counted is missing at its node, and nothing else is. */
import { beforeAll, expect, test } from "bun:test";
import { agents, nodes, onNode, ready, until } from "./cluster.ts";
import { isProbe, type Measures, type Moment, now, seen, settled, told } from "./links.ts";
import { pidOf } from "./process.ts";
import { counted, type Row } from "./prometheus.ts";
import { scraped } from "./targets.ts";
import { go, rest, trade } from "./truth.ts";

let node: string;
let before: Moment;
/** When another one had been scraped. */
let resumed: Moment;
/** What Prometheus and the programs say at rest. */
let rows: Map<string, Measures>;
let wanted: Map<string, Measures>;
/** What moved from the last scrape that the killed one surely answered until one of the next surely saw all. */
let meanwhile: Map<string, Measures>;

beforeAll(async () => {
  const all = await nodes();
  node = all[0]!;
  before = await settled();
  await trade();
  const pid = await pidOf((await agents()).get(node)!);
  const alive = await now();
  await Bun.sleep(3000); // three scrapes
  await onNode(node, "kill", "-KILL", pid);
  await until("another one runs", async () => (await pidOf((await agents()).get(node)!)) !== pid);
  await ready();
  await scraped(12020);
  resumed = await now();
  meanwhile = await told(alive, resumed);
  await trade();
  await rest();
  wanted = await told(before);
  await Bun.sleep(5000); // until all of it is scraped
  rows = await seen(before.time);
}, 240_000);

const measures = ["sent", "received", "requests"] as const;

test("no row says more than the programs, and none lacks more than moved meanwhile", () => {
  const apart: string[] = [];
  for (const [row, truth] of wanted) {
    const said = rows.get(row) ?? { sent: 0, received: 0, requests: 0 };
    const lost = meanwhile.get(row) ?? { sent: 0, received: 0, requests: 0 };
    for (const measure of measures) {
      const [is, most] = [said[measure], truth[measure]];
      if (is > most || is < most - lost[measure]) {
        apart.push(`${row}: ${is} ${measure}, of ${most} by the programs, ${lost[measure]} of them meanwhile`);
      }
    }
  }
  expect(apart).toEqual([]);
  expect([...rows.keys()].filter((row) => !wanted.has(row))).toEqual([]);
});

test("a link that only other nodes' agents tell lacks nothing", async () => {
  const here = await seen(before.time, `instance="${node}",`);
  const only = [...rows].filter(([row]) => !here.has(row));
  expect(only.map(([row, said]) => [row, said])).toEqual(only.map(([row]) => [row, wanted.get(row)!]));
  expect(only.length).toBeGreaterThan(2);
});

test("each link of the node has gone on", async () => {
  const links = `kube_ebpf_link_requests_total{instance="${node}",destination_namespace="shop",source_kind!="CronJob"}`;
  const [earlier, later] = await Promise.all([before, resumed].map(({ time }) => counted(links, time)));
  const moved = (rows: Row[]) =>
    rows
      .filter(({ labels, value }) => value > 0 && !isProbe(labels))
      .map(({ labels }) => JSON.stringify(labels))
      .sort();
  expect(moved(later!)).toEqual(moved(earlier!));
  expect(moved(later!).length).toBeGreaterThan(2);
  await go();
});
