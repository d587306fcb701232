/** What the Prometheus operator makes of the chart's PodMonitor. */
import { kinds, type Manifest, scenarios, template } from "./helm.ts";

const snake = (rule: Manifest): Manifest =>
  Object.fromEntries(
    Object.entries(rule).map(([key, value]) => [key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value]),
  );

/** A scrape configuration: the operator's own rules come first, then the monitor's. */
export async function monitorJob(discovery: Manifest): Promise<Manifest> {
  const objects = await template(scenarios.monitor);
  const [{ spec }] = kinds(objects, "PodMonitor") as [Manifest];
  const [{ relabelings, metricRelabelings }] = spec.podMetricsEndpoints;
  const label = (source: string, target: string) => ({
    source_labels: [`__meta_kubernetes_${source}`],
    target_label: target,
  });
  return {
    job_name: "monitor",
    kubernetes_sd_configs: [discovery],
    relabel_configs: [
      ...Object.entries(spec.selector.matchLabels).map(([name, regex]) => ({
        action: "keep",
        source_labels: [`__meta_kubernetes_pod_label_${name.replace(/[^\w]/g, "_")}`],
        regex,
      })),
      { action: "keep", source_labels: ["__meta_kubernetes_pod_phase"], regex: "Running" },
      { action: "keep", source_labels: ["__meta_kubernetes_pod_container_port_name"], regex: "metrics" },
      label("namespace", "namespace"),
      label("pod_container_name", "container"),
      label("pod_name", "pod"),
      { target_label: "endpoint", replacement: "metrics" },
      ...relabelings.map(snake),
    ],
    metric_relabel_configs: metricRelabelings.map(snake),
  };
}
