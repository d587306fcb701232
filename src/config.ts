/** The commands and their flags: one table that reads arguments and environment, and prints `--help`. */
import { Command, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import ms from "ms";
import pkg from "../package.json" with { type: "json" };
import { backends } from "./bpf/hooks.ts";
import { aggregates } from "./core/core.ts";
import { families } from "./core/families.ts";
import { type Range, rangeOf } from "./kube/address.ts";
import { defaultMaxConnections } from "./limit.ts";

/** 9100 to 9999, the exporters' usual ports, are all taken. */
const DEFAULT_LISTEN = "0.0.0.0:12020";

export interface Address {
  hostname: string;
  port: number;
}

/** "127.0.0.1:12020", "[::1]:12020" or "localhost:12020"; port 0 is any that is free. */
function parseAddress(text: string): Address {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):(\d{1,5})$/.exec(text);
  if (!match || Number(match[2]) > 65535) throw new InvalidArgumentError("It is HOST:PORT, as in 127.0.0.1:12020.");
  return { hostname: match[1]!.replace(/^\[|\]$/g, ""), port: Number(match[2]) };
}

/** "200ms", "2s", "5m": to milliseconds. */
function duration(least: number) {
  return (text: string): number => {
    const value = /^\d+(\.\d+)?(ms|s|m|h)$/.test(text) || text === "0" ? ms(text as ms.StringValue) : Number.NaN;
    if (!(value >= least))
      throw new InvalidArgumentError(`It is a time of at least ${ms(least)}, as in 200ms, 2s or 5m.`);
    return value;
  };
}

function whole(least: number, most: number) {
  return (text: string): number => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least && value <= most)) {
      throw new InvalidArgumentError(`It is a whole number from ${least} to ${most}.`);
    }
    return value;
  };
}

function ringSize(text: string): number {
  const value = whole(64 << 10, 1 << 30)(text);
  if ((value & (value - 1)) !== 0) throw new InvalidArgumentError("It is a power of two, in bytes.");
  return value;
}

export interface NamedRange extends Range {
  name: string;
}

/** "db=192.168.7.0/24,office=fd00::/48", added to those before. */
function ranges(text: string, before: NamedRange[]): NamedRange[] {
  const more = text.split(",").map((part) => {
    const [, name = "", range = ""] = /^([A-Za-z0-9][A-Za-z0-9._-]{0,62})=(.+)$/.exec(part) ?? [];
    const parsed = rangeOf(range);
    if (parsed === undefined) throw new InvalidArgumentError("It is NAME=CIDR, as in office=10.1.0.0/16.");
    return { name, ...parsed };
  });
  return [...before, ...more];
}

/** "kube-system,monitoring", added to those before. */
function namespaces(text: string, before: string[]): string[] {
  const more = text.split(",");
  for (const name of more) {
    if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name))
      throw new InvalidArgumentError("It is the name of a namespace, as in kube-system.");
  }
  return [...before, ...more];
}

/** "kube_ebpf_link_resets_total,kube_ebpf_link_rtt_seconds", added to those before. */
function familyNames(text: string, before: string[]): string[] {
  const known = families.map(({ name }) => name);
  const more = text.split(",");
  const wrong = more.find((name) => !known.includes(name));
  if (wrong !== undefined)
    throw new InvalidArgumentError(`There is no family "${wrong}"; there are ${known.join(", ")}.`);
  return [...before, ...more];
}

export const run = new Command("run")
  .description("count this node's TCP and serve it at /metrics, until it is ended")
  .addOption(
    new Option("--listen <host:port>", "where /metrics, /healthz, /readyz and /api/links are served")
      .env("RINGSIDE_LISTEN")
      .argParser(parseAddress)
      .default(parseAddress(DEFAULT_LISTEN), DEFAULT_LISTEN),
  )
  .addOption(
    new Option(
      "--web.config.file <file>",
      "TLS, users and headers for what is served, in the format of Prometheus' exporters; read again when it changes",
    ).env("RINGSIDE_WEB_CONFIG_FILE"),
  )
  .addOption(
    new Option(
      "--identities <file>",
      "names: a list of pods, services and nodes as kubectl prints it, JSON or YAML; read again when it changes",
    ).env("RINGSIDE_IDENTITIES"),
  )
  .addOption(
    new Option(
      "--kubeconfig <file>",
      "names: watched at the API server of this file's current context; in a pod neither is needed",
    )
      .env("RINGSIDE_KUBECONFIG")
      .conflicts("identities"),
  )
  .addOption(
    new Option(
      "--node <name>",
      "post only connections of this node's pods and addresses; without it all that the kernel sees; in a pod it must be given",
    ).env("RINGSIDE_NODE"),
  )
  .addOption(
    new Option("--backend <name>", "how the kernel is hooked; auto tries them in this order")
      .env("RINGSIDE_BACKEND")
      .choices(["auto", ...backends] as const)
      .default("auto" as const),
  )
  .addOption(
    new Option("--interval <time>", "between two sweeps")
      .env("RINGSIDE_INTERVAL")
      .argParser(duration(10))
      .default(1000, "1s"),
  )
  .addOption(
    new Option("--settle <time>", "a connection's ends are looked up this long after its birth")
      .env("RINGSIDE_SETTLE")
      .argParser(duration(0))
      .default(2000, "2s"),
  )
  .addOption(
    new Option("--grace <time>", "an address that nobody names is external after this long")
      .env("RINGSIDE_GRACE")
      .argParser(duration(0))
      .default(120_000, "2m"),
  )
  .addOption(
    new Option("--cidr <name=cidr>", "name addresses outside the cluster, the longest match first; repeat it for more")
      .env("RINGSIDE_CIDR")
      .argParser(ranges)
      .default([] as NamedRange[], "none"),
  )
  .addOption(
    new Option("--ignore-namespace <name>", "count nothing of this namespace's pods, at either end; repeat it for more")
      .env("RINGSIDE_IGNORE_NAMESPACE")
      .argParser(namespaces)
      .default([] as string[], "none"),
  )
  .addOption(new Option("--probes", "count the kubelet's probes of its own pods in links, too").env("RINGSIDE_PROBES"))
  .addOption(
    new Option("--hold <time>", "new series stay 0 this long after the start: the longest scrape interval")
      .env("RINGSIDE_HOLD")
      .argParser(duration(0))
      .default(60_000, "60s"),
  )
  .addOption(
    new Option("--aggregate <by>", "what the ends of kube_ebpf_link_* are")
      .env("RINGSIDE_AGGREGATE")
      .choices(aggregates)
      .default("workload" as const),
  )
  .addOption(
    new Option("--scope", "say of links whether they stay in one zone, go to another or leave the cluster").env(
      "RINGSIDE_SCOPE",
    ),
  )
  .addOption(
    new Option("--max-links <n>", "rows of kube_ebpf_link_*; what finds no more room counts in rows named other")
      .env("RINGSIDE_MAX_LINKS")
      .argParser(whole(1, 1_000_000))
      .default(2000),
  )
  .addOption(
    new Option("--disable-family <name>", "leave this family (docs/metrics.md) out of /metrics; repeat it for more")
      .env("RINGSIDE_DISABLE_FAMILY")
      .argParser(familyNames)
      .default([] as string[], "none"),
  )
  .addOption(
    new Option("--histograms", "histograms of all durations, not of the servers' alone").env("RINGSIDE_HISTOGRAMS"),
  )
  .addOption(
    new Option("--max-connections <n>", "connections counted at once; 448 bytes of kernel memory each while they live")
      .env("RINGSIDE_MAX_CONNECTIONS")
      .argParser(whole(1, 10_000_000))
      .default(defaultMaxConnections(), "a quarter of the memory limit, at most 250000"),
  )
  .addOption(
    new Option("--ring-size <bytes>", "of the ring buffer, a power of two")
      .env("RINGSIDE_RING_SIZE")
      .argParser(ringSize)
      .default(4 << 20, "4194304"),
  )
  .addOption(new Option("--loopback", "count connections inside one pod or host, too").env("RINGSIDE_LOOPBACK"));

export const top = new Command("top")
  .description("show the links of a running agent as a live table")
  .addOption(
    new Option("--url <url>", "of the agent")
      .env("RINGSIDE_URL")
      .default(`http://127.0.0.1:${parseAddress(DEFAULT_LISTEN).port}`),
  )
  .addOption(new Option("--interval <time>", "between two readings").argParser(duration(100)).default(1000, "1s"))
  .addOption(new Option("--once", "print one table and end").default(false));

export const check = new Command("check")
  .description("load and attach every backend, say what works, what is missing and what would help")
  .addOption(new Option("--json", "the same for programs").default(false));

export const ringside = new Command("ringside")
  .description("A ringside seat on every pod's TCP traffic.")
  .version(pkg.version)
  .addCommand(run)
  .addCommand(check)
  .addCommand(top);

export type RunOptions = ReturnType<typeof run.opts>;
