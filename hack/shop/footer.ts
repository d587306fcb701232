import { formatBytes } from "../../src/top.ts";
import { tenant } from "./cluster.ts";
import { increases, type Scrape, sum } from "./exposition.ts";
import { type Flow, totals } from "./flows.ts";
import type { Tick } from "./watch.ts";

/**
 * The lines below the table.
 *
 * @param ticks  at least one, the latest last
 * @param recent those over which rates are told
 * @param over   the traffic is: before, the last seconds are still on their way
 */
export function footer(flows: Flow[], ticks: Tick[], recent: Tick[], over: boolean, url: string): string {
  const last = ticks.at(-1)!;
  const told = totals(flows.filter(({ reporter }) => reporter === "client"));
  const ours = { source_namespace: tenant, reporter: "client" };
  const linked = (family: string) => sum(last, `kube_ebpf_link_${family}_total`, ours);
  const bytes = linked("sent_bytes") + linked("received_bytes");
  const counted = over ? "counted" : "counted so far";
  const { time, cpu } = recent.at(-1)!;
  const seconds = Math.max(time - recent[0]!.time, 1);
  const cores = (cpu - recent[0]!.cpu) / seconds;
  const lines = [
    ["bytes", `${exact(told.sent + told.received)} say the programs, ${exact(bytes)} ${counted}`],
    ["requests", `${exact(told.requests)} say the programs, ${exact(linked("requests"))} ${counted}`],
    ["received", perMinute(recent, seconds)],
    [
      "agent",
      [`${(cores * 100).toFixed(1)}% of one core`, `${formatBytes(last.rss)} of memory`, ...perHit(ticks)].join(", "),
    ],
    ["metrics", `${url}/metrics`],
  ];
  return lines.map(([name, text]) => `\x1b[2m${name!.padEnd(10)}\x1b[0m${text}`).join("\n");
}

/** What the article's picture shows: bytes a minute by port and pod. */
function perMinute(recent: Scrape[], seconds: number): string {
  const received = increases(recent, "kube_ebpf_acknowledged_bytes_total", { namespace: tenant });
  const rates = received
    .map(({ labels, value }) => ({ who: `${labels.name}:${labels.port}`, rate: (value * 60) / seconds }))
    .sort((a, b) => a.who.localeCompare(b.who));
  const width = Math.max(...rates.map(({ who }) => who.length));
  return rates
    .map(({ who, rate }) => `${who.padEnd(width)}  ${formatBytes(rate)} a minute`)
    .join(`\n${" ".repeat(10)}`);
}

/** Only where the kernel could be asked to measure it. */
function perHit(scrapes: Scrape[]): string[] {
  const grown = (family: string) => increases(scrapes, family).reduce((all, { value }) => all + value, 0);
  const runs = grown("ringside_hook_runs_total");
  return runs === 0 ? [] : [`${((grown("ringside_hook_run_seconds_total") / runs) * 1e9).toFixed(0)} ns a hit`];
}

/** 1,234,567. */
export function exact(count: number): string {
  return count.toLocaleString("en");
}
