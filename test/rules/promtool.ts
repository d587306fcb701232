/** Asks promtool which alerts fire over series that a test makes up, minute by minute. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $ } from "bun";
import { stringify } from "yaml";

export const rulesFile = join(import.meta.dir, "../../chart/rules/ringside.rules.yaml");

export type Labels = Record<string, string>;

/** A series: its samples at each minute from 0 on; undefined where it is not there. */
export interface Series {
  labels: Labels;
  samples: (number | undefined)[];
}

export const selector = ({ __name__: name = "", ...labels }: Labels): string =>
  `${name}{${Object.entries(labels)
    .map(([label, value]) => `${label}=${JSON.stringify(value)}`)
    .join(",")}}`;

/** An alert that fires: its name, its severity and its own labels. */
export type Firing = Labels & { alertname: string; severity: string };

export interface Annotated {
  /** Minutes. */
  at: number;
  alertname: string;
  labels: Labels;
  annotations: Labels;
}

/**
 * Evaluates the rules once a minute.
 *
 * @param firing at each of these minutes, all alerts that fire, and no other one does
 * @param annotated what some of them say; no other one of their names fires then
 * @returns what promtool says to it, nothing where all is so
 */
export async function promtool(
  series: Series[],
  firing: Record<number, Firing[]>,
  annotated: Annotated[] = [],
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "ringside-rules-"));
  try {
    const file = join(folder, "test.yaml");
    const test = {
      interval: "1m",
      input_series: series.map(({ labels, samples }) => ({
        series: selector(labels),
        values: samples.map((sample) => sample ?? "_").join(" "),
      })),
      promql_expr_test: Object.entries(firing).map(([minute, alerts]) => ({
        expr: 'ALERTS{alertstate="firing"}',
        eval_time: `${minute}m`,
        exp_samples: alerts.map((labels) => ({
          labels: selector({ __name__: "ALERTS", alertstate: "firing", ...labels }),
          value: 1,
        })),
      })),
      alert_rule_test: annotated.map(({ at, alertname, labels, annotations }) => ({
        eval_time: `${at}m`,
        alertname,
        exp_alerts: [{ exp_labels: labels, exp_annotations: annotations }],
      })),
    };
    await writeFile(file, stringify({ rule_files: [rulesFile], evaluation_interval: "1m", tests: [test] }));
    const { exitCode, stdout, stderr } = await $`promtool test rules ${file}`.nothrow().quiet();
    return exitCode === 0 ? "" : `${stdout}${stderr}`;
  } finally {
    await rm(folder, { recursive: true });
  }
}
