/** The agent: the only file that knows all the parts. */
import { statSync } from "node:fs";
import { hostname } from "node:os";
import { bootNs } from "./bpf/libbpf.ts";
import { Probe, REFRESH } from "./bpf/probe.ts";
import type { RunOptions } from "./config.ts";
import { Core } from "./core/core.ts";
import { module } from "./core/module.ts";
import { RingsideError } from "./errors.ts";
import type { Access } from "./kube/client.ts";
import { IdentitiesFile } from "./kube/file.ts";
import { inCluster } from "./kube/incluster.ts";
import { kubeconfig } from "./kube/kubeconfig.ts";
import { Resolver } from "./kube/resolve.ts";
import { Watch } from "./kube/watch.ts";
import { log } from "./log.ts";
import { serve } from "./serve/http.ts";
import { SelfMetrics, Stopwatch } from "./serve/metrics.ts";
import { Scrapers } from "./serve/scrapers.ts";
import { OPEN } from "./serve/web.ts";
import { WebFile } from "./serve/webfile.ts";

/** The ring is drained more often than it is swept: short connections write to it as they end. */
const DRAIN_MS = 100;

/** Ready without names, where they take longer: an API server that is gone is no outage of ours. */
const NAMES_MS = 10_000;

/** Without a sweep for so long, or for four intervals, a new start is due: /healthz says so. */
const STUCK_MS = 60_000;

const ns = (milliseconds: number): bigint => BigInt(Math.round(milliseconds * 1e6));

/** Boot time in ns of a wall clock's milliseconds. */
function bootTime(wall: number): bigint {
  return bootNs() + ns(wall - Date.now());
}

/**
 * Runs until SIGTERM or SIGINT; then sweeps and drains once more, and detaches.
 * @throws RingsideError for whatever keeps it from starting
 */
export async function agent(options: RunOptions): Promise<void> {
  const core = await Core.load(module, {
    settle: ns(options.settle),
    grace: ns(options.grace),
    refresh: REFRESH,
    loopback: options.loopback === true,
    onlyMine: options.node !== undefined,
    probes: options.probes === true,
    aggregate: options.aggregate,
    maxLinks: options.maxLinks,
    histograms: options.histograms === true,
    disabled: options.disableFamily,
    scope: options.scope === true,
  });
  for (const { name, address, bits } of options.cidr) {
    const owner = { type: "external", namespace: "", name, workload: name, kind: "External", mine: false } as const;
    core.range(address, bits, core.owner(owner), false);
  }
  // Without --node all that this kernel sees is ours, and so is what nobody names in our own network namespace.
  if (options.node === undefined) {
    const name = hostname();
    const node = { type: "node", namespace: "", name, workload: name, kind: "Node", mine: true } as const;
    core.host(statSync("/proc/self/ns/net").ino, core.owner(node));
  }

  const resolver = new Resolver(core, bootTime, options.node, options.ignoreNamespace);
  const identities = await openIdentities(core, resolver, options);
  const scrapers = new Scrapers(bootNs(), ns(options.hold));
  const webFile = await openWebFile(options);
  const metrics = new SelfMetrics(core, identities, webFile);
  const web = webFile?.current ?? OPEN;
  let sweptAt: number | undefined;
  const alive = (): boolean =>
    sweptAt === undefined || performance.now() - sweptAt < Math.max(STUCK_MS, 4 * options.interval);
  const server = serve(options.listen, { core, metrics, scrapers, now: bootNs, web, alive });
  if (webFile) webFile.onChange = (changed) => server.use(changed);
  const probe = await Probe.attach(options);
  await probe.seed().catch((error: Error) => {
    log.warn(`Connections older than the agent count from their next move on: ${error.message}`);
  });
  metrics.probe = probe;
  log.info({ backend: probe.backend, listen: server.url }, "attached");

  const sweeping = new Stopwatch();
  const draining = new Stopwatch();
  metrics.stopwatches = { sweep: sweeping, drain: draining };
  const settle = (): void => {
    for (const { id, names } of probe.cgroups()) resolver.cgroup(id, names);
    core.settle(bootNs(), probe.sweeps);
  };
  const sweep = (): void => {
    sweeping.time(() => probe.sweep(core));
    settle();
    sweptAt = performance.now();
    if (scrapers.abandoned(bootNs())) core.abandon(bootNs());
  };
  const drain = (): void => {
    draining.time(() => probe.drain(core));
    settle();
  };

  let nextSweep = performance.now();
  const tick = (): void => {
    const now = performance.now();
    if (now < nextSweep) {
      drain();
    } else {
      sweep();
      // No sweep is made up for: each snapshot says all.
      nextSweep = Math.max(nextSweep + options.interval, now);
    }
  };
  const timer = setInterval(tick, Math.min(DRAIN_MS, options.interval));
  if (identities instanceof Watch) {
    void identities.settled.then(server.ready);
    setTimeout(server.ready, NAMES_MS).unref();
  } else {
    server.ready();
  }

  const signal = await new Promise<NodeJS.Signals>((resolve) => {
    process.once("SIGTERM", resolve);
    process.once("SIGINT", resolve);
  });
  clearInterval(timer);
  sweep();
  identities?.close();
  webFile?.close();
  await server.stop();
  probe.close();
  log.info({ signal }, "stopped");
}

async function openIdentities(
  core: Core,
  resolver: Resolver,
  options: RunOptions,
): Promise<IdentitiesFile | Watch | undefined> {
  const { identities: file, node } = options;
  const onError = (error: RingsideError) => log.error(`${error.message} The last good names stay.`);
  const access = await accessOf(options);
  if (access !== undefined) {
    const onWell = (stream: string) => log.info({ stream }, "names come again");
    return Watch.start({ access, resolver, node, now: bootNs, onError, onWell });
  }
  if (file !== undefined) return IdentitiesFile.open({ file, resolver, now: bootNs, onError });
  core.fresh(2n ** 64n - 1n); // there is nothing to wait for
  return undefined;
}

/** The way to the API server, where names come from there. */
async function accessOf({ identities, kubeconfig: file, node }: RunOptions): Promise<Access | undefined> {
  if (identities !== undefined) return undefined;
  if (file !== undefined) return kubeconfig(file);
  const access = inCluster();
  if (access !== undefined && node === undefined) {
    const remedy = "Set RINGSIDE_NODE from the pod's spec.nodeName (valueFrom.fieldRef).";
    throw new RingsideError("watch the cluster's names", "a pod's agent needs --node", remedy);
  }
  return access;
}

async function openWebFile({ "web.config.file": file }: RunOptions): Promise<WebFile | undefined> {
  if (file === undefined) return undefined;
  return WebFile.open({ file, onError: (error) => log.error(`${error.message} The last good one stays in use.`) });
}
