/** What the agents take of their nodes, by the cgroups' figures that the kubelets read. */
import { expect } from "bun:test";
import { defaults, type Manifest } from "../chart/helm.ts";
import { agents, kubectl, until } from "./cluster.ts";

const { requests, limits } = defaults.resources;
/** Three Prometheuses scrape each agent once a second, where a user's one does so twice a minute. */
const SCRAPED = 2;
const MiB = 2 ** 20;
const mebibytes = (quantity: string) => Number(/^(\d+)Mi$/.exec(quantity)?.[1]);

/** What the kubelet of a node reads of the agent's cgroup, of either version, every 10 to 20 s. */
async function figures(node: string) {
  const text = await kubectl("get", "--raw", `/api/v1/nodes/${node}/proxy/metrics/cadvisor`);
  const of = (family: string): [value: number, ms: number] => {
    const [, value, ms] =
      new RegExp(`^container_${family}{container="ringside",.*namespace="ringside".*} (\\S+)(?: (\\d+))?$`, "m").exec(
        text,
      ) ?? [];
    if (value === undefined) throw new Error(`the kubelet of ${node} has no container_${family} of the agent`);
    return [Number(value), Number(ms)];
  };
  const [cpu, at] = of("cpu_usage_seconds_total");
  return {
    cpu,
    at: at / 1000,
    limit: of("spec_memory_limit_bytes")[0] / MiB,
    peak: of("memory_max_usage_bytes")[0] / MiB,
    resident: of("memory_rss")[0] / MiB,
    kills: of("oom_events_total")[0],
  };
}

const restarts = ({ status }: Manifest): number => status.containerStatuses[0].restartCount;

/** By the node: the processor time of each agent that runs, so far, and how often it was started again. */
export type Used = Map<string, { cpu: number; at: number; restarts: number }>;

/** Waits for the figures of agents that have just begun. */
export async function used(): Promise<Used> {
  const found: Used = new Map();
  for (const [node, pod] of await agents()) {
    await until(`the kubelet of ${node} has the agent's figures`, async () =>
      found.set(node, { ...(await figures(node)), restarts: restarts(pod) }),
    );
  }
  return found;
}

/**
 * Each agent has run since then without an end, and has taken no more than the chart asks for: of memory since it began, of
 * CPU since then.
 */
export async function expectModest(since: Used): Promise<void> {
  for (const [node, pod] of await agents()) {
    const [{ cpu, at, limit, peak, resident, kills }, then] = [await figures(node), since.get(node)!];
    const cores = (cpu - then.cpu) / (at - then.at);
    const shown = [peak, resident].map((value) => `${Math.round(value)} MiB`);
    const seconds = Math.round(at - then.at);
    console.log(
      `${node}: at most ${shown[0]}, now ${shown[1]} resident, ${Math.round(cores * 1000)} m of a core in ${seconds} s`,
    );
    expect([node, limit, kills]).toEqual([node, mebibytes(limits.memory), 0]);
    expect([node, restarts(pod)]).toEqual([node, then.restarts]);
    expect(peak).toBeLessThan(mebibytes(requests.memory));
    expect(cores).toBeGreaterThan(0);
    expect(cores).toBeLessThan((SCRAPED * Number.parseInt(requests.cpu, 10)) / 1000);
  }
}
