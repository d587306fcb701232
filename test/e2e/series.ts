/** The shop's links as Prometheus names them. */
import { query } from "./prometheus.ts";

/** The series of the shop's links that there are at a time (seconds), by all their labels. */
export async function seriesAt(time: number): Promise<string[]> {
  const family = "kube_ebpf_link_connections_total";
  const shop = `${family}{source_namespace=~"shop|tenant"} or ${family}{destination_namespace=~"shop|tenant"}`;
  // A job's come and go with its pods.
  const found = await query(`(${shop}) unless ${family}{source_kind="CronJob"}`, { time });
  return found.map(({ labels }) => JSON.stringify(labels, Object.keys(labels).sort())).sort();
}
