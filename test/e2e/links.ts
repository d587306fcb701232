/** The shop's links: what the programs say, and what Prometheus says. */
import { nodes, onNode } from "./cluster.ts";
import { counted, type Labels } from "./prometheus.ts";
import { nodePorts, outsidePort } from "./shop/objects.ts";
import { rest, type Tally, truth } from "./truth.ts";

/** A moment at which nothing moved and both said the same. */
export interface Moment {
  /** In seconds. */
  time: number;
  /** As `wire` has it. */
  truth: Tally[];
}

/** An end as the labels have it. */
interface End {
  namespace: string;
  workload: string;
  kind: string;
}

const end = (namespace: string, workload: string, kind: string): End => ({ namespace, workload, kind });
const nodeEnd = (name: string): End => end("", name, "Node");

/** The servers: the end that the metrics name, its port, and the Service that leads to it. */
interface Served {
  end: End;
  port: string;
  service: string;
}

/** By their name and the port that a client calls; names of another namespace have it before them. */
const served: Record<string, Served> = {
  "web:80": { end: end("shop", "web", "Deployment"), port: "8080", service: "web" },
  "api:9000": { end: end("shop", "api", "Deployment"), port: "9000", service: "api" },
  "db:6379": { end: end("shop", "db", "StatefulSet"), port: "6379", service: "db" },
  "tenant/db:6379": { end: end("tenant", "db", "StatefulSet"), port: "6379", service: "db" },
  "mirror:80": { end: end("shop", "mirror", "Deployment"), port: "8080", service: "mirror" },
  "receiver:80": { end: end("shop", "receiver", "Deployment"), port: "8080", service: "receiver" },
  "ported:83": { end: end("shop", "ported", "Deployment"), port: "8083", service: "ported" },
  [`:${nodePorts.caller}`]: { end: end("shop", "ported", "Deployment"), port: "8081", service: "ported" },
  [`:${nodePorts.outside}`]: { end: end("shop", "ported", "Deployment"), port: "8082", service: "ported" },
  ":9100": { end: end("shop", "edge", "Deployment"), port: "9100", service: "" },
  [`:${outsidePort}`]: { end: end("", "external", "External"), port: `${outsidePort}`, service: "" },
};
/** Those that the kubelet probes. */
const probed = ["web", "api", "db", "receiver"];
/** What rows that may be those of such probes have in common. */
export const probes = `source_kind="Node",destination_workload=~"${probed.join("|")}"`;
/** Whether a row may be one of them. */
export const isProbe = ({ source_kind, destination_workload = "" }: Labels): boolean =>
  source_kind === "Node" && probed.includes(destination_workload);

/** What a client's call leads to. */
function calledBy({ namespace, target, port }: Tally): Served {
  const name = /^[\d.]+$/.test(target) ? "" : target.replace(/^db-\d\./, "").replace(/\..*/, "");
  const found = served[namespace === "tenant" ? `tenant/${name}:${port}` : `${name}:${port}`];
  if (!found) throw new Error(`nobody is known to serve ${target}:${port}`);
  return found;
}

/** Whether a socket on a node says whose it is: with cgroup v2, be it beside v1 for systemd alone. */
export async function cgroupsTell(): Promise<boolean> {
  return (await onNode((await nodes())[0]!, "cat", "/proc/mounts")).includes(" cgroup2 ");
}

export interface Measures {
  sent: number;
  received: number;
  requests: number;
}

/** A row's name, as a reader would say it: "shop/load > shop/web:8080 web, by the client". */
export const rowOf = (source: End, destination: End, port: string, service: string, reporter: string): string => {
  const name = ({ namespace, workload, kind }: End) => `${namespace}/${workload} (${kind})`;
  return `${name(source)} > ${name(destination)}:${port} ${service || "-"}, by the ${reporter}`;
};

/** Adds to a row. */
function add(rows: Map<string, Measures>, row: string, more: Measures): void {
  const { sent, received, requests } = rows.get(row) ?? { sent: 0, received: 0, requests: 0 };
  rows.set(row, { sent: sent + more.sent, received: received + more.received, requests: requests + more.requests });
}

/**
 * The rows that the programs' accounts lead to (docs/resolution.md).
 *
 * @param dialled the node whose port is called from outside
 */
export function expected(tallies: Tally[], cgroups: boolean, dialled: string): Map<string, Measures> {
  const rows = new Map<string, Measures>();
  const whose = new Map(tallies.map((tally) => [`${tally.namespace}/${tally.pod}`, tally]));
  /** A pod on the host's network is its node where cgroups tell nothing. */
  const endOf = ({ namespace, workload, kind, node }: Tally) =>
    workload === "edge" && !cgroups ? nodeEnd(node) : end(namespace, workload, kind);
  for (const tally of tallies) {
    if (tally.role === "client") {
      if (tally.namespace === "outside") continue;
      const { end, port, service } = calledBy(tally);
      add(rows, rowOf(endOf(tally), end, port, service, "client"), tally);
    } else {
      if (tally.namespace === "outside" || tally.peer === "probe" || tally.peer === "-") continue;
      const client = whose.get(tally.peer);
      if (!client) throw new Error(`${tally.pod} was called by ${tally.peer}, who has no account`);
      const to = Object.values(served).find(
        ({ end, port }) =>
          end.namespace === tally.namespace && end.workload === tally.workload && port === `${tally.port}`,
      )!;
      // Where an address was rewritten the server sees the node that did so, for a node port and for a pod's own Service.
      // Whose a socket on another node's network is, nobody knows.
      const rewritten =
        client.workload === tally.workload ||
        client.workload === "caller" ||
        (client.workload === "edge" && client.node !== tally.node);
      const source =
        client.namespace === "outside" ? nodeEnd(dialled) : rewritten ? nodeEnd(client.node) : endOf(client);
      const { sent, received, requests } = tally;
      add(rows, rowOf(source, to.end, to.port, to.service, "server"), { sent: received, received: sent, requests });
    }
  }
  return rows;
}

const families = { sent: "sent_bytes", received: "received_bytes", requests: "requests" } as const;

/**
 * The rows of the shop that Prometheus has, each of which has counted something.
 *
 * @param matchers of some of them: `instance="ringside-worker",`
 */
export async function seen(since = 0, matchers = ""): Promise<Map<string, Measures>> {
  const rows = new Map<string, Measures>();
  for (const [measure, family] of Object.entries(families)) {
    const name = `kube_ebpf_link_${family}_total`;
    const all = await counted(
      `{__name__="${name}",${matchers}source_namespace=~"shop|tenant|",destination_namespace=~"shop|tenant|"}`,
      since,
    );
    for (const { labels, value } of all) {
      const side = (which: string) =>
        end(labels[`${which}_namespace`] ?? "", labels[`${which}_workload`] ?? "", labels[`${which}_kind`] ?? "");
      const [source, destination] = [side("source"), side("destination")];
      const ours = [source, destination].some(({ namespace }) => namespace !== "");
      // Where cgroups tell them apart, only the first ones after an agent's start are in links (docs/architecture.md).
      if (!ours || isProbe(labels) || value === 0) continue;
      const { port = "", reporter = "", destination_service: service = "" } = labels as Labels;
      add(rows, rowOf(source, destination, port, service, reporter), {
        sent: 0,
        received: 0,
        requests: 0,
        [measure]: value,
      });
    }
  }
  return rows;
}

/** What went over the network: in the place of what was handed to a proxy, what the proxy handed on. */
export function wire(tallies: Tally[]): Tally[] {
  const proxies = new Set(tallies.filter(({ role }) => role === "proxy").map(({ pod }) => pod));
  return tallies
    .filter(({ role, pod }) => !(role === "client" && proxies.has(pod)))
    .map((tally) => (tally.role === "proxy" ? { ...tally, role: "client", target: "receiver" } : tally));
}

/** What they did after that moment. */
function after(tallies: Tally[], since?: Moment): Tally[] {
  const key = ({ account, role, peer, target, port }: Tally) => [account, role, peer, target, port].join(" ");
  const before = new Map((since?.truth ?? []).map((tally) => [key(tally), tally]));
  return tallies.map((tally) => {
    const { sent = 0, received = 0, requests = 0 } = before.get(key(tally)) ?? {};
    return {
      ...tally,
      sent: tally.sent - sent,
      received: tally.received - received,
      requests: tally.requests - requests,
    };
  });
}

/** The rows that the programs' accounts lead to, of what they did after one moment, and until another or now. */
export async function told(since?: Moment, until?: Moment): Promise<Map<string, Measures>> {
  const tallies = until?.truth ?? wire(await truth());
  return expected(after(tallies, since), await cgroupsTell(), (await nodes()).at(-1)!);
}

/** Where the programs and Prometheus differ, since the shop was opened or since that moment. The shop is to be at rest. */
export async function differences(since?: Moment): Promise<string[]> {
  const [of, rows] = [await told(since), await seen(since?.time)];
  const text = (of?: Measures) => (of ? `${of.sent}/${of.received} bytes, ${of.requests} requests` : "nothing");
  const moved = ({ sent, received, requests }: Measures) => sent + received + requests > 0;
  return [...new Set([...of.keys(), ...rows.keys()])]
    .filter((row) => (of.has(row) && moved(of.get(row)!)) || rows.has(row))
    .filter((row) => text(of.get(row)) !== text(rows.get(row)))
    .sort()
    .map((row) => `${row}: the programs say ${text(of.get(row))}, Prometheus ${text(rows.get(row))}`);
}

/** This moment, of which nobody says that both are the same. */
export const now = async (): Promise<Moment> => ({ time: Date.now() / 1000, truth: wire(await truth()) });

/** Lets the shop rest, and waits until the programs and Prometheus say the same. @throws what differs after that time */
export async function settled(since?: Moment, patience = 60_000): Promise<Moment> {
  await rest();
  const end = Date.now() + patience;
  for (;;) {
    const different = await differences(since);
    if (different.length === 0) return now();
    if (Date.now() > end) throw new Error(`after ${patience / 1000} s of rest:\n${different.join("\n")}`);
    await Bun.sleep(1000);
  }
}
