/** Whom Prometheus scrapes. */
import type { Manifest } from "../chart/helm.ts";
import { agents, namespace } from "./cluster.ts";
import { comesTo } from "./comes.ts";
import { get } from "./prometheus.ts";

interface Target {
  labels: { instance: string; namespace: string };
  scrapeUrl: string;
  health: string;
}

/** Prometheus' watches (client-go) ask an API server that was away again after 30 to 60 s. */
const PATIENCE_MS = 90_000;

/** Waits until Prometheus scrapes the agents that run now, at this port, and nothing else of theirs; or none at all. */
export async function scraped(port?: number): Promise<void> {
  const pods = port === undefined ? [] : [...(await agents())];
  const expected = pods.map(([node, { status }]: [string, Manifest]) => `${node} ${status.podIP}:${port} up`).sort();
  await comesTo(
    expected,
    async () => {
      const { activeTargets } = await get<{ activeTargets: Target[] }>("targets", { state: "active" });
      return activeTargets
        .filter(({ labels }) => labels.namespace === namespace)
        .map(({ labels, scrapeUrl, health }) => `${labels.instance} ${new URL(scrapeUrl).host} ${health}`)
        .sort();
    },
    PATIENCE_MS,
  );
}
