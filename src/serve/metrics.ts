/** The agent's metrics about itself: ringside_*, a counter at every place where something can be lost. */
import { Counter, Gauge, Registry } from "prom-client";
import pkg from "../../package.json" with { type: "json" };
import type { HookStats, Probe, ProbeCounters } from "../bpf/probe.ts";
import type { Core, CoreCounters, Form } from "../core/core.ts";
import { IdentitiesFile } from "../kube/file.ts";
import type { Watch, WatchCounters } from "../kube/watch.ts";
import type { ExpositionCounters } from "./exposition.ts";
import { protobuf } from "./protobuf.ts";
import type { WebCounters } from "./webfile.ts";

/** Adds up how often something was done, and how long it took. */
export class Stopwatch {
  count = 0;
  seconds = 0;

  time(work: () => void): void {
    const start = performance.now();
    work();
    this.seconds += (performance.now() - start) / 1000;
    this.count++;
  }
}

/**
 * prom-client's text as OpenMetrics: a counter's family goes without the ending of its samples. Its own OpenMetrics
 * renames the counters for good, so that one registry cannot have both forms.
 */
const openMetrics = (text: string): string =>
  `${text.replace(/^(# (?:HELP|TYPE) \w+)_total /gm, "$1 ").replace(/\n+/g, "\n")}# EOF\n`;

type Labelled = [labels: Record<string, string>, value: number | bigint];

export class SelfMetrics {
  /** Set once it is attached; its metrics are absent before. */
  probe: Probe | undefined;
  stopwatches: Record<string, Stopwatch> = {};
  /** Set once it serves. */
  exposition: { counters(): ExpositionCounters } | undefined;
  readonly #registry = new Registry();
  /** One reading for all metrics of a scrape. */
  #kernel: ProbeCounters | undefined;
  #hooks: HookStats[] = [];
  #core: CoreCounters;

  constructor(
    private readonly core: Core,
    private readonly identities: IdentitiesFile | Watch | undefined,
    private readonly webFile?: { counters(): WebCounters },
  ) {
    this.#core = core.counters();
    this.#register();
  }

  /** What there is: for docs/metrics.md. */
  describe(): { name: string; type: string; help: string; labels: string[] }[] {
    return this.#registry.getMetricsAsArray().map((metric) => {
      const { name, help, labelNames } = metric as unknown as { name: string; help: string; labelNames: string[] };
      return { name, help, labels: labelNames, type: metric instanceof Counter ? "counter" : "gauge" };
    });
  }

  /** The exposition; OpenMetrics with the `# EOF` that ends it. */
  async render(form: Form): Promise<Uint8Array> {
    this.#core = this.core.counters();
    this.#kernel = this.probe?.counters();
    this.#hooks = this.probe?.hookStats() ?? [];
    if (form === "protobuf") return protobuf(await this.#registry.getMetricsAsJSON());
    const text = await this.#registry.metrics();
    return Buffer.from(form === "text" ? text : openMetrics(text));
  }

  #metric(
    type: typeof Counter | typeof Gauge,
    name: string,
    help: string,
    labelNames: string[],
    read: () => Labelled[],
  ): void {
    const metric = new type({
      name: `ringside_${name}`,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        metric.reset();
        for (const [labels, value] of read()) metric.inc(labels, Number(value));
      },
    });
  }

  #register(): void {
    const one = (value: number | bigint): Labelled[] => [[{}, value]];
    type Read = () => Labelled[];
    const counter = (name: string, help: string, labels: string[], read: Read) =>
      this.#metric(Counter, name, help, labels, read);
    const gauge = (name: string, help: string, labels: string[], read: Read) =>
      this.#metric(Gauge, name, help, labels, read);
    const kernel = (name: string, help: string, key: keyof ProbeCounters) =>
      counter(name, help, [], () => (this.#kernel ? one(this.#kernel[key]) : []));
    const ofCore = (name: string, help: string, key: keyof CoreCounters) =>
      counter(name, help, [], () => one(this.#core[key]));
    const coreGauge = (name: string, help: string, key: keyof CoreCounters) =>
      gauge(name, help, [], () => one(this.#core[key]));

    gauge("build_info", "The agent's version, always 1.", ["version"], () => [[{ version: pkg.version }, 1]]);
    gauge("process_resident_memory_bytes", "Resident memory of the agent.", [], () => one(process.memoryUsage.rss()));
    counter("process_cpu_seconds_total", "User and system CPU time of the agent.", [], () => {
      const { user, system } = process.cpuUsage();
      return one((user + system) / 1e6);
    });

    kernel("records_total", "Records that the kernel side wrote to the ring.", "records");
    counter("final_snapshots_lost_total", "Last snapshots of a connection that were lost.", ["reason"], () =>
      this.#kernel
        ? [
            [{ reason: "ring_full" }, this.#kernel.finalsLost],
            [{ reason: "missed" }, this.#core.finalsMissed],
            [{ reason: "unnamed" }, this.#core.unnamedFinals],
          ]
        : [],
    );
    counter("lost_bytes_total", "Payload bytes that went with lost last snapshots.", ["direction", "reason"], () =>
      this.#kernel
        ? [
            [{ direction: "sent", reason: "ring_full" }, this.#kernel.finalsLostSent],
            [{ direction: "received", reason: "ring_full" }, this.#kernel.finalsLostReceived],
            [{ direction: "both", reason: "unnamed" }, this.#core.unnamedBytes],
          ]
        : [],
    );
    kernel("snapshots_deferred_total", "Pauses of a sweep for want of room in the ring.", "snapshotsDeferred");
    kernel("connections_seen_total", "Connections seen.", "connections");
    gauge("connections", "Connections whose state lives in the kernel.", [], () =>
      this.#kernel ? one(this.#kernel.connections - this.#kernel.connectionsEnded) : [],
    );
    gauge("connections_limit", "Connections whose state may live in the kernel (--max-connections).", [], () =>
      this.probe ? one(this.probe.options.maxConnections) : [],
    );
    counter("connections_refused_total", "Attempts to begin a connection's state that failed.", ["reason"], () =>
      this.#kernel
        ? [
            [{ reason: "limit" }, this.#kernel.refusedLimit],
            [{ reason: "memory" }, this.#kernel.refusedMemory],
          ]
        : [],
    );
    kernel("connections_late_total", "Connections first seen in mid-life, neither born nor seeded.", "late");
    kernel("connections_seeded_total", "Connections older than the agent that moved since.", "seeded");
    kernel(
      "seeds_lost_total",
      "Connections older than the agent that found no room, and hash buckets of them that kept changing.",
      "seedsLost",
    );
    kernel("cgroups_deferred_total", "Names of a cgroup that found no room, and wait for its next.", "cgroupsDeferred");
    kernel("totals_clamped_total", "Byte totals that came out below zero and were read as zero.", "clamped");

    counter(
      "hook_runs_total",
      "Runs of a hook; 0 unless the kernel measures BPF programs (sysctl kernel.bpf_stats_enabled).",
      ["hook"],
      () => this.#hooks.map(({ target, runs }) => [{ hook: target }, runs]),
    );
    counter(
      "hook_run_seconds_total",
      "Time in a hook; 0 unless the kernel measures BPF programs (sysctl kernel.bpf_stats_enabled).",
      ["hook"],
      () => this.#hooks.map(({ target, runSeconds }) => [{ hook: target }, runSeconds]),
    );
    counter(
      "hook_missed_total",
      "Events that may have come to no program, for all of its hook were running on that CPU: at most.",
      ["hook"],
      () => this.#hooks.map(({ target, missed }) => [{ hook: target }, missed]),
    );
    gauge("hook_attached", "1 for each attached hook, with the backend in use.", ["hook", "backend"], () =>
      this.#hooks.map(({ target }) => [{ hook: target, backend: this.probe?.backend ?? "" }, 1]),
    );

    ofCore("records_ingested_total", "Records that the core took from the ring.", "records");
    ofCore("records_discarded_total", "Records that the kernel side took back.", "discards");
    ofCore("records_malformed_total", "Records of a length that is not a record's.", "malformed");
    gauge("connections_waiting", "Connections that are not posted yet.", ["until"], () => [
      [{ until: "settled" }, this.#core.settling],
      [{ until: "named" }, this.#core.waiting],
    ]);
    gauge(
      "addresses",
      "Addresses by what is known of them: named by somebody who has them, or private ones that were waited for in vain.",
      ["state"],
      () => [
        [{ state: "named" }, this.#core.addressesNamed],
        [{ state: "external" }, this.#core.addressesExternal],
      ],
    );
    counter("connections_left_out_total", "Connections that no link counts.", ["reason"], () => [
      [{ reason: "loopback" }, this.#core.loopback],
      [{ reason: "other_node" }, this.#core.foreign],
      [{ reason: "ignored" }, this.#core.ignored],
      [{ reason: "probe" }, this.#core.probes],
    ]);
    counter("left_out_bytes_total", "Payload bytes of connections that no link counts.", ["reason"], () => [
      [{ reason: "loopback" }, this.#core.loopbackBytes],
      [{ reason: "other_node" }, this.#core.foreignBytes],
      [{ reason: "ignored" }, this.#core.ignoredBytes],
      [{ reason: "probe" }, this.#core.probeBytes],
    ]);
    ofCore("connect_failures_total", "Connections that never were established.", "failed");
    ofCore("posted_bytes_total", "Payload bytes posted to links, both directions.", "postedBytes");
    ofCore("posted_external_bytes_total", "Of these, to links with an external end.", "postedExternalBytes");
    gauge("core_memory_bytes", "Linear memory of the core, which never shrinks.", [], () => one(this.core.memoryBytes));
    coreGauge("core_connections", "Connections that the core holds.", "connections");
    coreGauge("links", "Links between two ends, a pod's own ones apart.", "links");
    gauge("link_rows", "Rows of kube_ebpf_link_* and of pairs of pods, without those of all others.", ["rows"], () => [
      [{ rows: "links" }, this.#core.linkRows],
      [{ rows: "pairs" }, this.#core.pairRows],
    ]);
    gauge("link_rows_limit", "How many there may be of each (--max-links).", [], () => one(this.core.maxLinks));
    ofCore(
      "connections_capped_total",
      "Connections that count in a row of all others, for there was no room.",
      "capped",
    );
    coreGauge("series_rows", "Rows of the exposition.", "series");
    coreGauge("series_rows_held", "Rows still shown as 0, so that rate() and increase() see them begin.", "seriesHeld");

    counter("runs_total", "Sweeps and drains.", ["work"], () =>
      Object.entries(this.stopwatches).map(([work, { count }]) => [{ work }, count]),
    );
    counter("run_seconds_total", "Time that sweeps and drains took.", ["work"], () =>
      Object.entries(this.stopwatches).map(([work, { seconds }]) => [{ work }, seconds]),
    );

    counter(
      "scrapes_total",
      "Scrapes: completed, broken (the client hung up, or was too slow), refused (too many were slow).",
      ["result"],
      () => Object.entries(this.exposition?.counters() ?? {}).map(([result, count]) => [{ result }, count]),
    );
    const reads = (of: { counters(): WebCounters } | undefined) => (): Labelled[] => {
      if (!of) return [];
      const { reads, failures } = of.counters();
      return [
        [{ result: "good" }, reads],
        [{ result: "bad" }, failures],
      ];
    };
    counter("web_config_reads_total", "Times that --web.config.file was read.", ["result"], reads(this.webFile));

    const { identities } = this;
    const [file, watch] = identities instanceof IdentitiesFile ? [identities] : [undefined, identities];
    gauge("identities_objects", "Objects known.", ["type"], () =>
      Object.entries(identities?.counters().objects ?? {}).map(([type, count]) => [{ type }, count]),
    );
    counter("identities_reads_total", "Times that the file of names was read.", ["result"], reads(file));
    type Of = WatchCounters["streams"][string];
    const each = (read: (stream: Of) => Labelled[]) => (): Labelled[] =>
      Object.entries(watch?.counters().streams ?? {}).flatMap(([stream, counters]) =>
        read(counters).map(([labels, value]): Labelled => [{ stream, ...labels }, value]),
      );
    const by = (label: string, values: Iterable<[string, number]>): Labelled[] =>
      [...values].map(([name, value]) => [{ [label]: name }, value]);
    const ages = each(({ age }) => one(age));
    gauge(
      "identities_age_seconds",
      "Names are complete for all that happened until so long ago. Where nothing changes the API server says so once a minute; a file is looked at once a second.",
      ["stream"],
      () => (file ? [[{ stream: "file" }, file.counters().age]] : ages()),
    );
    counter(
      "identities_syncs_total",
      "Whole lists taken from the API server.",
      ["stream"],
      each(({ syncs }) => one(syncs)),
    );
    counter(
      "identities_events_total",
      "Events that the API server sent.",
      ["stream", "event"],
      each(({ events }) => by("event", Object.entries(events))),
    );
    counter(
      "identities_received_bytes_total",
      "Bytes of lists and events, decompressed.",
      ["stream"],
      each(({ bytes }) => one(bytes)),
    );
    counter(
      "identities_restarts_total",
      "Requests begun anew: as they ended in time, expired, hung or failed.",
      ["stream", "reason"],
      each(({ restarts }) => by("reason", Object.entries(restarts))),
    );
    counter(
      "identities_errors_total",
      "Requests that failed, by HTTP status or what happened to them.",
      ["stream", "status"],
      each(({ errors }) => by("status", errors)),
    );
    counter(
      "identities_malformed_total",
      "Objects and events that were not understood; what was known before stays.",
      ["stream"],
      each(({ malformed }) => one(malformed)),
    );
    counter(
      "identities_faults_total",
      "Objects on which the agent itself failed: please report it.",
      ["stream"],
      each(({ faults }) => one(faults)),
    );
  }
}
