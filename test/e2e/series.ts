/** The shop's links as Prometheus names them. */
import { probes } from "./links.ts";
import { query } from "./prometheus.ts";

/**
 * The series of links to the shop that there are at a time (seconds), by all their labels. Those of a job come
 * and go with its pods, and those of probes where an agent starts.
 */
export async function seriesAt(time: number): Promise<string[]> {
  const family = "kube_ebpf_link_connections_total";
  const links = `${family}{destination_namespace=~"shop|tenant",source_kind!="CronJob"}`;
  const found = await query(`${links} unless ${family}{${probes}}`, { time });
  return found.map(({ labels }) => JSON.stringify(labels, Object.keys(labels).sort())).sort();
}
