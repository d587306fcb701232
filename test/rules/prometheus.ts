/** A real Prometheus that scrapes an agent once a second, and evaluates the rules as often. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { type Labels, rulesFile } from "./promtool.ts";

export interface Row {
  metric: Labels;
  values: number[];
}

/** Of Prometheus' answer; a histogram counts as its count. */
interface Sample {
  metric: Labels;
  value?: [number, string];
  values?: [number, string][];
  histogram?: [number, { count: string }];
  histograms?: [number, { count: string }][];
}

export class Prometheus {
  private constructor(
    readonly child: Subprocess,
    readonly url: string,
    readonly folder: string,
  ) {}

  /** With the labels of an annotation scrape. */
  static async start(program: string, target: string, honored: boolean, flags: string[] = []): Promise<Prometheus> {
    const folder = await mkdtemp(join(tmpdir(), "ringside-"));
    const rules = (await Bun.file(rulesFile).text()).replace(/^ {4}interval: .*$/gm, "    interval: 1s");
    await writeFile(join(folder, "ringside.rules.yaml"), rules);
    const labels = { namespace: "monitoring", pod: "ringside-7vx2q", node: "node-1" };
    const config = {
      global: { scrape_interval: "1s", evaluation_interval: "1s" },
      rule_files: ["ringside.rules.yaml"],
      scrape_configs: [
        { job_name: "kubernetes-pods", honor_labels: honored, static_configs: [{ targets: [target], labels }] },
      ],
    };
    await writeFile(join(folder, "prometheus.yml"), JSON.stringify(config));
    const free = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
    const url = `http://127.0.0.1:${free.port}`;
    await free.stop();
    const child = Bun.spawn(
      [
        program,
        `--config.file=${folder}/prometheus.yml`,
        `--storage.tsdb.path=${folder}/data`,
        `--web.listen-address=${new URL(url).host}`,
        "--log.level=error",
        ...flags,
      ],
      { stdout: "ignore", stderr: "inherit" },
    );
    return new Prometheus(child, url, folder);
  }

  async get<T>(path: string, parameters: Labels = {}): Promise<T> {
    const response = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const answer = (await response.json()) as { status: string; data: T; error?: string };
    if (answer.status !== "success") throw new Error(`${parameters.query ?? path}: ${answer.error}`);
    return answer.data;
  }

  /** @param range from and to, in seconds; without it the last value */
  async query(query: string, range?: [number, number]): Promise<Row[]> {
    const { result } = range
      ? await this.get<{ result: Sample[] }>("query_range", {
          query,
          start: `${range[0]}`,
          end: `${range[1]}`,
          step: "1",
        })
      : await this.get<{ result: Sample[] }>("query", { query });
    return result.map(({ metric, value, values, histogram, histograms }) => ({
      metric,
      values: [
        ...[value ?? [], ...(values ?? [])].filter((sample) => sample.length > 0).map((sample) => Number(sample[1])),
        ...[...(histogram ? [histogram] : []), ...(histograms ?? [])].map(([, { count }]) => Number(count)),
      ],
    }));
  }

  async stop(): Promise<void> {
    this.child.kill();
    await this.child.exited;
    await rm(this.folder, { recursive: true });
  }
}
