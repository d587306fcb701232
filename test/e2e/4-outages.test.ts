/** The API server away for two minutes, in mid-traffic; then agents that die. Nothing is lost, and nothing misnamed. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { defaults } from "../chart/helm.ts";
import { agents, install, kubectl, namespace, nodes, onNode, ready, tryKubectl, until } from "./cluster.ts";
import { expectModest, type Used, used } from "./figures.ts";
import { cgroupsTell, isProbe, type Moment, probes, settled } from "./links.ts";
import { pidOf } from "./process.ts";
import { counted, query, type Row, samples } from "./prometheus.ts";
import { seriesAt } from "./series.ts";
import { scraped } from "./targets.ts";
import { go, sum, trade } from "./truth.ts";

/** A private address that nobody has waits until the API server proves that names are complete, as it does once a minute. */
const PROOF_MS = 90_000;

const seconds = () => Date.now() / 1000;

/** What the shop's callers have asked between two moments. */
function asked(before: Moment, after: Moment): number {
  const [was, is] = [before, after].map(({ truth }) => sum(truth.filter(({ role }) => role === "client")).requests);
  return is! - was!;
}

describe("the API server is away for two minutes", () => {
  const AWAY_S = 120;
  /** Without it the first two end by themselves, and the kubelet would start them later and later. */
  const parts = ["kube-controller-manager", "kube-scheduler", "kube-apiserver"];
  const [manifests, elsewhere] = ["/etc/kubernetes/manifests", "/etc/kubernetes/elsewhere"];
  /** Moves what the kubelet of the first node runs by itself. */
  async function move(from: string, to: string): Promise<void> {
    const files = parts.map((part) => `${from}/${part}.yaml`).join(" ");
    await onNode((await nodes())[0]!, "sh", "-ec", `mkdir -p ${to}; mv ${files} ${to}`);
  }
  // One that is told to end answers no more, and yet has watches.
  const runs = async () =>
    (await onNode((await nodes())[0]!, "sh", "-c", "pidof kube-apiserver || [ $? = 1 ]")).trim() !== "";
  const jobs = (come: boolean) =>
    kubectl("patch", "cronjob/report", "-n", "shop", "-p", `{"spec":{"suspend":${!come}}}`);
  const answers = async () => (await tryKubectl("get", "--raw", "/readyz", "--request-timeout=2s")).code === 0;

  let before: Moment;
  let during: Moment;
  /** When it was gone, and when it was let come back. */
  let gone: number;
  let back: number;
  let answered: boolean;
  let began: Used;

  beforeAll(async () => {
    // As users have it: it is for such days.
    await jobs(false);
    await settled();
    await install("--set", `agent.grace=${defaults.agent.grace}`);
    await scraped(12020);
    began = await used();
    await trade();
    before = await settled(undefined, PROOF_MS);
    await go();
    await Bun.sleep(5000);
    await move(manifests, elsewhere);
    try {
      await until("the API server is gone", async () => !(await runs()));
      gone = seconds();
      await Bun.sleep((AWAY_S - 30) * 1000);
      during = await settled(before, 20_000);
      await go();
      await Bun.sleep((gone + AWAY_S - seconds()) * 1000);
      answered = await answers();
    } finally {
      back = seconds();
      await move(elsewhere, manifests);
      await until("the API server is back", answers);
    }
    console.log(
      `the API server was away for ${Math.round(back - gone)} s, and back ${Math.round(seconds() - back)} s later`,
    );
    await kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s");
  }, 480_000);

  afterAll(async () => {
    await settled();
    await install();
    await scraped(12020);
  }, 240_000);

  test("every byte and exchange was on its link before it was back", () => {
    // That nothing differed is what `settled` has waited for.
    expect(during.time).toBeLessThan(back);
    expect(asked(before, during)).toBeGreaterThan(1000);
    expect(answered).toBe(false);
    expect(back - gone).toBeGreaterThanOrEqual(AWAY_S);
  });

  test("no link got another name", async () => {
    const known = await seriesAt(gone);
    expect(known.length).toBeGreaterThan(10);
    expect(await seriesAt(back)).toEqual(known);
  });

  test("scrapes went on at each node, without a gap", async () => {
    const targets = await samples(`up{job="pods",namespace="${namespace}"}`, seconds() - gone);
    expect(targets.map(({ labels }) => labels.instance!).sort()).toEqual(await nodes());
    for (const { labels, samples } of targets) {
      const [instance, inside] = [labels.instance, samples.filter(([time]) => time < back)];
      const times = [gone, ...inside.map(([time]) => time), back];
      const longest = Math.max(...times.slice(1).map((time, index) => time - times[index]!));
      expect([instance, inside.filter(([, up]) => up !== 1)]).toEqual([instance, []]);
      // One is due each second.
      expect([instance, longest < 3 || longest]).toEqual([instance, true]);
    }
  });

  test("the agents said how old their names were, and that nobody answered", async () => {
    const streams = ["endpointslices", "nodes", "own_pods", "pods", "services"];
    const each = (await nodes()).flatMap((node) => streams.map((stream) => `${node} ${stream}`));
    const text = ({ labels }: Row) => `${labels.instance} ${labels.stream}`;
    const ages = await query(`ringside_identities_age_seconds > ${AWAY_S - 2}`, { time: back });
    expect(ages.map(text).sort()).toEqual(each);
    const errors = await query('ringside_identities_errors_total{status="network"} > 0', { time: back });
    expect(errors.map(text).sort()).toEqual(each);
  });

  test("afterwards new pods get their names, and nothing is lost", async () => {
    // Its Service leads to the API server once kube-proxy is back, within a minute; an agent asks every 30 s, and hears once
    // a minute that its names are complete. A pod that came and went before that is nobody's (docs/architecture.md).
    const proven = () => `max by (instance) (ringside_identities_age_seconds) < ${Math.floor(seconds() - back)}`;
    const all = await nodes();
    await until("all names come again", async () => (await query(proven())).length === all.length, 180_000);
    await jobs(true);
    await kubectl("rollout", "restart", "-n", "shop", "deployment/web");
    await kubectl("rollout", "status", "-n", "shop", "deployment/web", "--timeout=2m");
    await Bun.sleep(5000);
    await settled(before, PROOF_MS);
  }, 420_000);

  test("and in all this the agents took no more than the chart asks for", () => expectModest(began));
});

describe("an agent is killed, and the pod of another one deleted", () => {
  let before: Moment;
  let after: Moment;

  beforeAll(async () => {
    await trade();
    before = await settled();
    const all = await nodes();
    const two = [all[0]!, all.at(-1)!];
    const ids = async () => {
      const pods = await agents();
      return Promise.all(two.map((node) => pidOf(pods.get(node)!)));
    };
    const old = await ids();
    await onNode(two[0]!, "kill", "-KILL", old[0]!);
    await kubectl("delete", "pod", "-n", namespace, (await agents()).get(two[1]!)!.metadata.name);
    await until("others run", async () => (await ids()).every((pid, index) => pid !== old[index]));
    await ready();
    await scraped(12020);
    await trade();
    after = await settled(before);
  }, 300_000);

  test("every byte and exchange since then is counted, and none again", () => {
    // That nothing differed is what `settled` has waited for.
    expect(asked(before, after)).toBeGreaterThan(100);
  });

  test("also on connections that are older than the new agents", async () => {
    const seeded = await query("ringside_connections_seeded_total > 0");
    expect(seeded.map(({ labels }) => labels.instance!).sort()).toEqual(await nodes());
  });

  test("the series go on, for each has its node's name as its instance", async () => {
    expect(await seriesAt(after.time)).toEqual(await seriesAt(before.time));
  });

  test("probes are in no link but the first of each pod", async () => {
    if (!(await cgroupsTell())) return; // the limit of cgroup v1: all of them are
    const seen = async () =>
      (await query(`kube_ebpf_link_requests_total{${probes}}`))
        .map(({ labels, value }) => `${JSON.stringify(labels)} ${value}`)
        .sort();
    const first = await seen();
    await Bun.sleep(10_000);
    expect(await seen()).toEqual(first);
  });

  test("increase() over both lives is what was counted: no spike, and no hole", async () => {
    for (const node of await nodes()) {
      const family = `kube_ebpf_link_sent_bytes_total{instance="${node}",destination_namespace="shop",source_kind!="CronJob"}`;
      // From one sample to another nothing is extrapolated but the millisecond that makes the first a part of the range.
      // And the first is of the life before: increase() extrapolates what is not 0.
      const [up] = await samples(`up{job="pods",instance="${node}"}`, seconds() - before.time + 3);
      const first = up!.samples.findLast(([time]) => time <= before.time)![0];
      const last = up!.samples.at(-1)![0];
      const ms = Math.round((last - first) * 1000);
      const increases = await query(`increase(${family}[${ms + 1}ms])`, { time: last });
      // First probes may be a link of the node, for as long as no other socket has shown whose they are.
      const moved = ({ labels, value }: Row) => value > 0 && !isProbe(labels);
      const text = ({ labels, value }: Row) =>
        `${labels.source_workload} > ${labels.destination_workload}:${labels.port} by the ${labels.reporter}: ${Math.round(value)}`;
      const grown = (await counted(family, before.time)).filter(moved);
      const shown = increases.map(({ labels, value }) => ({ labels, value: (value * ms) / (ms + 1) }));
      expect(shown.filter(moved).map(text).sort()).toEqual(grown.map(text).sort());
      expect(grown).not.toEqual([]);
    }
  });
});
