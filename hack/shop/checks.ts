import { allPods, type Pod, tenant } from "./cluster.ts";
import { increases, type Scrape, select, sum } from "./exposition.ts";
import { type Flow, type Totals, totals } from "./flows.ts";
import { exact } from "./footer.ts";
import type { RedisCounts } from "./redis.ts";

/** One comparison, made and told. */
export type Check = { ok: boolean; line: string };

/** Everything that the agent counted against what the programs and Redis say themselves, byte for byte. */
export function checks(flows: Flow[], redis: RedisCounts, scrapes: Scrape[]): Check[] {
  const last = scrapes.at(-1)!;
  return [
    ...redisChecks(flows, redis),
    ...linkChecks(flows, scrapes),
    ...podChecks(flows, last),
    ...pairChecks(flows, last),
  ];
}

function redisChecks(flows: Flow[], redis: RedisCounts): Check[] {
  const clients = totals(flows.filter(({ reporter, server }) => reporter === "client" && server.workload === "db"));
  const own = { sent: redis.input, received: redis.output, requests: redis.commands };
  return [equal("what Redis says of its clients (INFO)", own, clients)];
}

function linkChecks(flows: Flow[], scrapes: Scrape[]): Check[] {
  const last = scrapes.at(-1)!;
  const links = Map.groupBy(flows, ({ client, server, port }) => `${client.workload} -> ${server.workload}:${port}`);
  const told = [...links].flatMap(([link, ends]) => {
    const { client, server, port } = ends[0]!;
    const labels = {
      source_namespace: tenant,
      source_workload: client.workload,
      source_kind: client.kind,
      destination_namespace: tenant,
      destination_workload: server.workload,
      destination_kind: server.kind,
      destination_service: server.workload,
      port: `${port}`,
    };
    return (["client", "server"] as const).map((reporter) => {
      const row = { ...labels, reporter, counted: reporter === "server" ? "once" : "again" };
      return equal(`${link}, seen by the ${reporter}`, totals(ends.filter((end) => end.reporter === reporter)), {
        sent: sum(last, "kube_ebpf_link_sent_bytes_total", row),
        received: sum(last, "kube_ebpf_link_received_bytes_total", row),
        requests: sum(last, "kube_ebpf_link_requests_total", row),
      });
    });
  });
  const rows = select(last, "kube_ebpf_link_sent_bytes_total", { source_namespace: tenant }).length;
  return [
    ...told,
    equal("rows of these links, and no others", { rows: told.length }, { rows }),
    jobCheck(flows, scrapes),
  ];
}

/** The bytes of a short connection are worth something only if a query sees them. */
function jobCheck(flows: Flow[], scrapes: Scrape[]): Check {
  const job = { source_namespace: tenant, source_workload: "report", reporter: "client" };
  const seen = (direction: string) =>
    increases(scrapes, `kube_ebpf_link_${direction}_bytes_total`, job).reduce((all, { value }) => all + value, 0);
  const { sent, received } = totals(
    flows.filter(({ reporter, client }) => reporter === "client" && client.workload === "report"),
  );
  return equal(
    "increase() of the cron job's link",
    { sent, received },
    { sent: seen("sent"), received: seen("received") },
  );
}

/** The families that are told by pod. */
function podChecks(flows: Flow[], last: Scrape): Check[] {
  return allPods.map((pod) => {
    const asClient = totals(flows.filter(({ reporter, client }) => reporter === "client" && client === pod));
    const asServer = totals(flows.filter(({ reporter, server }) => reporter === "server" && server === pod));
    const told: Record<string, number> = { transmitted: asClient.sent + asServer.received, asked: asClient.requests };
    const labels = { namespace: tenant, name: pod.name };
    const counted: Record<string, number> = {
      transmitted: sum(last, "kube_ebpf_transmitted_bytes_total", labels),
      asked: sum(last, "kube_ebpf_requests_sent_total", labels),
    };
    if (pod.port !== undefined) {
      const served = { ...labels, port: `${pod.port}` };
      Object.assign(told, { acknowledged: asServer.sent, served: asServer.requests, timed: asServer.requests });
      counted.acknowledged = sum(last, "kube_ebpf_acknowledged_bytes_total", served);
      counted.served = sum(last, "kube_ebpf_requests_received_total", served);
      counted.timed = sum(last, "kube_ebpf_request_duration_seconds_count", served);
    }
    return equal(pod.name, told, counted);
  });
}

/** The family that is told by pair of pods. */
function pairChecks(flows: Flow[], last: Scrape): Check[] {
  const servers = flows.filter(({ reporter }) => reporter === "server");
  return servers.map(({ client, server, port, requests }) => {
    const end = (side: string, pod: Pod) => ({ [`${side}_namespace`]: tenant, [`${side}_name`]: pod.name });
    const labels = { ...end("source", client), ...end("destination", server), destination_port: `${port}` };
    const exchanged = sum(last, "kube_ebpf_request_exchanged_total", labels);
    return equal(`${client.name} -> ${server.name}`, { exchanged: requests }, { exchanged });
  });
}

/** @param told by the programs @param counted by the agent, of the same fields */
function equal(what: string, told: Totals | Record<string, number>, counted: Totals | Record<string, number>): Check {
  const counts = new Map(Object.entries(counted));
  let ok = true;
  const fields = Object.entries(told).map(([field, value]) => {
    if (value === counts.get(field)) return `${field} ${exact(value)}`;
    ok = false;
    return `${field} ${exact(counts.get(field)!)}, but the programs say ${exact(value)}`;
  });
  return { ok, line: `${ok ? "equal" : "WRONG"}  ${what}: ${fields.join(", ")}` };
}
