/** deploy/prometheus.yaml, once as it is and twice with another way to scrape, each with a port on the nodes. */
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { type Manifest, manifests, top } from "../chart/helm.ts";
import { monitorJob } from "../chart/monitor.ts";
import { type Server, servers } from "./prometheus.ts";

export const image = "ringside-e2e/prometheus:1";

/** As the server has it, but for scrapes once a second and rules every 5; on a node that no test drains. */
async function objectsOf(server: Server, node: string): Promise<Manifest[]> {
  const text = await Bun.file(join(top, "deploy/prometheus.yaml")).text();
  const objects = manifests(
    server === "plain" ? text : text.replaceAll(/(?<=: )prometheus(-pods)?$/gm, `$&-${server}`),
  );
  const rules = await Bun.file(join(top, "chart/rules/ringside.rules.yaml")).text();
  for (const { kind, data, spec } of objects) {
    if (kind === "ConfigMap") {
      const config = parse(data["prometheus.yml"]);
      const [job] = config.scrape_configs;
      if (server === "honored") job.honor_labels = true;
      if (server === "monitored") config.scrape_configs = [await monitorJob(job.kubernetes_sd_configs[0])];
      Object.assign(config.global, { scrape_interval: "1s", evaluation_interval: "1s" });
      config.rule_files = ["*.rules.yaml"];
      data["prometheus.yml"] = stringify(config);
      data["ringside.rules.yaml"] = rules.replace(/^ {4}interval: .*$/gm, "    interval: 5s");
    } else if (kind === "Deployment") {
      spec.template.spec.containers[0].image = image;
      spec.template.spec.nodeSelector = { "kubernetes.io/hostname": node };
    } else if (kind === "Service") {
      spec.type = "NodePort";
      spec.ports[0].nodePort = servers[server];
    }
  }
  return objects;
}

/** Those of all servers. */
export async function prometheusObjects(node: string): Promise<Manifest[]> {
  return (await Promise.all((Object.keys(servers) as Server[]).map((server) => objectsOf(server, node)))).flat();
}
