/** Real traffic of pods that come and go, an agent's own process, and a real API server: each byte is on the right pod. */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { $ } from "bun";
import { type Agent, launch, settled } from "../live/agent.ts";
import { namespaces, start, type Talk, within } from "../live/cluster/programs.ts";
import { buildTalk } from "../live/cluster/talk.ts";
import { compareLosses, parseMetrics } from "../truth/truth.ts";
import { Cluster, stamp } from "./cluster.ts";
import { until } from "./names.ts";

/** Pods of node-a that last: web calls, api serves; far is on node-b, and there only its clients are ours. */
const LASTING = { web: "10.244.1.10", api: "10.244.1.11", far: "10.244.2.10" };
const SERVICE = "10.96.0.50";
/** The agent's own times: what is quick elsewhere would hide a name that comes late. */
const times = ["--settle", "2s", "--grace", "60s"];

let cluster: Cluster;
let kubeconfig: string;
let agent: Agent;
let api: Talk;
let far: Talk;
let books: Books;

interface Bytes {
  sent: number;
  received: number;
}
interface Row extends Bytes {
  connections: number;
}

/** What the programs sent and received, by rows of links: "web > api:8080 - (client)". Only ends on node-a have rows. */
class Books {
  readonly rows = new Map<string, Row>();

  add(client: string, server: string, reporter: "client" | "server", { sent, received }: Bytes): void {
    const row = `${client} > ${server} (${reporter})`;
    const before = this.rows.get(row) ?? { sent: 0, received: 0, connections: 0 };
    this.rows.set(row, {
      sent: before.sent + sent,
      received: before.received + received,
      connections: before.connections + 1,
    });
  }

  /** What differs of these rows, whichever has it. */
  differences(got: Map<string, Row>): string[] {
    return [...new Set([...this.rows.keys(), ...got.keys()])].flatMap((row) => {
      const [wanted, found] = [this.rows.get(row), got.get(row)].map((r) => JSON.stringify(r));
      return wanted === found ? [] : [`${row}: ${wanted}, got ${found}`];
    });
  }
}

async function links(): Promise<Map<string, Row>> {
  const all = (await agent.links()).map((link): [string, Row] => {
    const { source, destination, port, service, reporter, sent, received, connections } = link;
    const key = `${source.workload} > ${destination.workload}:${port} ${service || "-"} (${reporter})`;
    return [key, { sent: Number(sent), received: Number(received), connections }];
  });
  expect(new Set(all.map(([key]) => key)).size).toBe(all.length);
  return new Map(all);
}

/** Scrapes as Prometheus does, and adds up as its increase() does: a row may go, and begin at 0 again. */
class Scraper {
  private readonly values = new Map<string, { before: number; last: number }>();
  /** Rows that went back while they were there. */
  readonly resets: string[] = [];

  async scrape(): Promise<void> {
    const samples = parseMetrics(await agent.metrics());
    for (const [key, value] of this.values) {
      if (samples.has(key)) continue;
      value.before += value.last;
      value.last = 0;
    }
    for (const [key, text] of samples) {
      if (!/^kube_ebpf_\w+_total\{/.test(key)) continue;
      const value = this.values.get(key) ?? { before: 0, last: 0 };
      if (Number(text) < value.last) this.resets.push(`${key}: ${value.last}, then ${text}`);
      this.values.set(key, { ...value, last: Number(text) });
    }
  }

  /** The link families, as `links` gives them. */
  links(): Map<string, Row> {
    const rows = new Map<string, Row>();
    for (const [key, { before, last }] of this.values) {
      const what = /^kube_ebpf_link_(sent_bytes|received_bytes|connections)_total\{/.exec(key)?.[1];
      if (what === undefined) continue;
      const label = (name: string) => new RegExp(`[{,]${name}="([^"]*)"`).exec(key)?.[1] || "-";
      const server = `${label("destination_workload")}:${label("port")} ${label("destination_service")}`;
      const row = `${label("source_workload")} > ${server} (${label("reporter")})`;
      const value = rows.get(row) ?? { sent: 0, received: 0, connections: 0 };
      rows.set(row, { ...value, [what.replace("_bytes", "")]: before + last });
    }
    return rows;
  }

  /** Bytes that each pod sent, and that it received as a server. */
  pods(): Map<string, Bytes> {
    const pods = new Map<string, Bytes>();
    for (const [key, { before, last }] of this.values) {
      const what = /^kube_ebpf_(transmitted|acknowledged)_bytes_total\{/.exec(key)?.[1];
      const name = /[{,]name="([^"]*)"/.exec(key)?.[1];
      if (what === undefined || name === undefined) continue;
      const pod = pods.get(name) ?? { sent: 0, received: 0 };
      pod[what === "transmitted" ? "sent" : "received"] += before + last;
      pods.set(name, pod);
    }
    return pods;
  }
}

/** The same by the programs' books. */
function podsOf({ rows }: Books): Map<string, Bytes> {
  const pods = new Map<string, Bytes>();
  for (const [row, { sent, received }] of rows) {
    const [, client = "", server = "", reporter] = /^(\S+) > ([^:]+):.* \((\w+)\)$/.exec(row) ?? [];
    const name = reporter === "client" ? client : server;
    const pod = pods.get(name) ?? { sent: 0, received: 0 };
    pods.set(
      name,
      reporter === "client"
        ? { ...pod, sent: pod.sent + sent }
        : { sent: pod.sent + received, received: pod.received + sent },
    );
  }
  return pods;
}

const numbers = (line = ""): Bytes => {
  const [sent, received] = line.split(" ").slice(-2).map(Number);
  if (!(sent !== undefined && received !== undefined && sent >= 0 && received >= 0)) throw new Error(`said: ${line}`);
  return { sent, received };
};
/** Of a link both ends say what went from the client to the server. */
const turned = ({ sent, received }: Bytes): Bytes => ({ sent: received, received: sent });

/** A call that repeats every 20 ms until its end, or the server's. */
const stream = (from: string, address: string, port: number, sent: number, received: number) =>
  start(from, {}, "stream", address, port, sent, received, 20);

/** Ends a caller of api, and books both ends. */
async function endCall(caller: Talk, name: string, address: string): Promise<void> {
  books.add(name, "api:8080 -", "client", numbers((await caller.end())[0]));
  books.add(name, "api:8080 -", "server", turned(numbers(await api.take(`${address} 8080 `))));
}

/** A pod as its kubelet runs it: named in the API server after it has begun, and finished after it has ended. */
class Pod {
  private startedAt = "";
  private server: Talk | undefined;
  private caller: Talk | undefined;
  private called: Talk | undefined;
  private endedAt = "";

  constructor(
    readonly name: string,
    readonly address: string,
  ) {}

  /** Its traffic begins at once: it serves web, and calls api. */
  async start(): Promise<void> {
    await namespaces("start", this.name, this.address);
    this.startedAt = stamp();
    this.server = await start(this.name, {}, "serve", 8080).ready();
    this.called = stream("web", this.address, 8080, 900, 5000);
    this.caller = stream(this.name, LASTING.api, 8080, 300, 700);
  }

  async tellRunning(): Promise<void> {
    await cluster.podStatus(this.name, {
      phase: "Running",
      startTime: this.startedAt,
      podIP: this.address,
      podIPs: [{ ip: this.address }],
      conditions: [{ type: "PodReadyToStartContainers", status: "True", lastTransitionTime: this.startedAt }],
      containerStatuses: [this.container({ running: { startedAt: this.startedAt } })],
    });
  }

  /** Its programs end, in the middle of whatever they were about, and with them its network. */
  async end(): Promise<void> {
    const served = (await this.server?.end()) ?? [];
    this.endedAt = stamp();
    for (const line of served) books.add("web", `${this.name}:8080 -`, "server", turned(numbers(line)));
    books.add("web", `${this.name}:8080 -`, "client", numbers((await this.called?.end())?.[0]));
    if (this.caller) await endCall(this.caller, this.name, this.address);
    await namespaces("end", this.name);
  }

  async tellEnd(phase: "Succeeded" | "Failed"): Promise<void> {
    const terminated = { exitCode: phase === "Failed" ? 1 : 0, startedAt: this.startedAt, finishedAt: this.endedAt };
    await cluster.podStatus(this.name, { phase, containerStatuses: [this.container({ terminated })] });
  }

  private container(state: object): object {
    return { name: "main", image: "none", imageID: "", ready: false, restartCount: 0, state };
  }
}

beforeAll(async () => {
  await buildTalk();
  await namespaces("up");
  const rule = `add rule ip cluster services ip daddr ${SERVICE} tcp dport 80 dnat to ${LASTING.far}:8080`;
  await $`${within("node-a", {}, "nft", rule)}`.quiet();
  api = await start("api", {}, "serve", 8080).ready();
  far = await start("far", {}, "serve", 8080).ready();
  cluster = await Cluster.start();
  kubeconfig = cluster.kubeconfig(await cluster.serviceAccount("ringside"));
  await cluster.node("node-a", "172.30.0.2");
  await cluster.node("node-b", "172.30.0.3");
  await cluster.pod("web", LASTING.web);
  await cluster.pod("api", LASTING.api);
  await cluster.pod("far", LASTING.far, { node: "node-b" });
  await cluster.service("front", SERVICE, { ip: LASTING.far, port: 8080 });
  books = new Books();
  agent = await launch(["--kubeconfig", kubeconfig, "--node", "node-a", ...times]);
  await until(async () => (await fetch(`${agent.url}readyz`)).ok, "readiness");
}, 120_000);

afterEach(async () => {
  // Late ones are the machine's own, which the seed may miss: all of the pods' begin after the agent.
  const losses = compareLosses(await agent.metrics()).filter((loss) => !loss.includes("connections_late"));
  expect(losses).toEqual([]);
});

afterAll(async () => {
  await agent?.stop();
  await Promise.all([api, far].map((server) => server?.end()));
  await cluster?.stop();
  await namespaces("down");
}, 30_000);

const agree = async () => expect(await settled(async () => books.differences(await links()))).toEqual([]);

test("pods that come and go at one address: each byte is on the right one", async () => {
  const lasting = stream("web", LASTING.api, 8080, 100, 2000);
  const dialled = stream("web", SERVICE, 80, 200, 3000);

  /** Each pod of one address after the other; the kubelet tells some `late` ms after it is so. */
  const chain = async (address: string, names: string[], late: number) => {
    let before: { pod: Pod; phase: "Succeeded" | "Failed" } | undefined;
    const tellEnd = async () => {
      if (before === undefined) return;
      await before.pod.tellEnd(before.phase);
      await cluster.deletePod(before.pod.name);
    };
    for (const [i, name] of names.entries()) {
      const pod = new Pod(name, address);
      // Its name is free only once the one before has gone.
      const again = names[i - 1] === name;
      if (again || late === 0) await tellEnd();
      await cluster.bind(name);
      await pod.start();
      await Bun.sleep(late);
      if (!again && late > 0) await tellEnd();
      await Bun.sleep(200);
      await pod.tellRunning();
      await Bun.sleep([300, 2600, 1100][i % 3]!);
      await pod.end();
      before = { pod, phase: i % 2 ? "Failed" : "Succeeded" };
    }
    await tellEnd();
  };
  const brief = async () => {
    await cluster.bind("brief");
    const [said] = await start("brief", {}, "stream", SERVICE, 80, 777, 7777, 0).over();
    books.add("brief", "far:8080 front", "client", numbers(said));
    await Bun.sleep(1000);
    const podIPs = [{ ip: "10.244.1.13" }];
    await cluster.podStatus("brief", { phase: "Running", podIP: "10.244.1.13", podIPs });
    await Bun.sleep(2000);
    await cluster.podStatus("brief", { phase: "Succeeded" });
    await cluster.deletePod("brief");
  };
  await Promise.all([
    chain("10.244.1.20", ["told-0", "told-1", "told-2", "told-3"], 0),
    chain("10.244.1.21", ["late-0", "late-1", "late-2", "late-3"], 800),
    chain("10.244.1.22", ["same", "same", "same", "other"], 0),
    brief(),
  ]);
  // A connection that is not settled when its Service goes, and one that is.
  const last = start("web", {}, "stream", SERVICE, 80, 1234, 4321, 0).over();
  books.add("web", "far:8080 front", "client", numbers((await last)[0]));
  await cluster.deleteService("front");
  await Bun.sleep(500);
  books.add("web", "far:8080 front", "client", numbers((await dialled.end())[0]));
  await endCall(lasting, "web", LASTING.web);
  await agree();

  const scraper = new Scraper();
  for (let i = 0; i < 4; i++) await scraper.scrape();
  expect(books.differences(scraper.links())).toEqual([]);
  expect(scraper.pods()).toEqual(podsOf(books));
}, 90_000);

test("the API server is killed while bytes flow, and comes again: nothing is lost", async () => {
  await agent.stop();
  books = new Books();
  await cluster.service("front", SERVICE, { ip: LASTING.far, port: 8080 });
  agent = await launch(["--kubeconfig", kubeconfig, "--node", "node-a", ...times]);
  await until(async () => (await fetch(`${agent.url}readyz`)).ok, "readiness");
  const scraper = new Scraper();
  let scraping = true;
  const scrapes = (async () => {
    for (; scraping; await Bun.sleep(500)) await scraper.scrape();
  })();

  const lasting = stream("web", LASTING.api, 8080, 100, 2000);
  const dialled = stream("web", SERVICE, 80, 200, 3000);
  const [old, during, after] = [
    new Pod("old", "10.244.1.20"),
    new Pod("during", "10.244.1.20"),
    new Pod("after", "10.244.1.21"),
  ];
  await cluster.bind("old");
  await cluster.bind("during");
  await old.start();
  await old.tellRunning();
  await Bun.sleep(2500);
  const named = [...(await links()).keys()].sort();
  expect(named).toContain("web > old:8080 - (client)");

  await cluster.killServer();
  await Bun.sleep(1000);
  await old.end();
  await during.start();
  await Bun.sleep(3000);
  expect([...(await links()).keys()].sort()).toEqual(named);
  await cluster.startServer();
  const back = performance.now();
  await old.tellEnd("Failed");
  await cluster.deletePod("old");
  await during.tellRunning();
  await cluster.bind("after");
  await after.start();
  await after.tellRunning();
  const seen = async (row: string) => (await links()).has(row);
  await until(() => seen("after > api:8080 - (client)"), "a new pod's name", 60_000);
  console.log(`a new pod had its link ${((performance.now() - back) / 1000).toFixed(1)} s after the server was ready`);
  await until(() => seen("web > during:8080 - (client)"), "the name of one that began meanwhile", 60_000);

  await during.end();
  await after.end();
  books.add("web", "far:8080 front", "client", numbers((await dialled.end())[0]));
  await endCall(lasting, "web", LASTING.web);
  expect(await settled(async () => books.differences(scraper.links()))).toEqual([]);
  scraping = false;
  await scrapes;
  expect(books.differences(scraper.links())).toEqual([]);
  expect(scraper.pods()).toEqual(podsOf(books));
  expect(scraper.resets).toEqual([]);
  for (const pod of [during, after]) await cluster.deletePod(pod.name);
}, 120_000);

test("no API server at the start: ready, counting, and named when it is there", async () => {
  await agent.stop();
  books = new Books();
  await cluster.killServer();
  agent = await launch(["--kubeconfig", kubeconfig, "--node", "node-a", ...times]);
  const took = await until(async () => (await fetch(`${agent.url}readyz`)).ok, "readiness");
  expect(took).toBeLessThan(2000);
  const lasting = stream("web", LASTING.api, 8080, 100, 2000);
  const dialled = stream("web", SERVICE, 80, 200, 3000);
  const once = await start("web", {}, "stream", SERVICE, 80, 1234, 4321, 0).over();
  books.add("web", "far:8080 front", "client", numbers(once[0]));
  await Bun.sleep(7000);
  expect(await agent.links()).toEqual([]);
  const waiting = /^ringside_connections_waiting\{until="named"\} (\d+)$/m.exec(await agent.metrics())?.[1];
  expect(Number(waiting)).toBeGreaterThanOrEqual(6); // both ends of each

  await cluster.startServer();
  const back = performance.now();
  await until(async () => (await agent.links()).length > 0, "names", 60_000);
  console.log(
    `what had waited was posted ${((performance.now() - back) / 1000).toFixed(1)} s after the server was ready`,
  );
  books.add("web", "far:8080 front", "client", numbers((await dialled.end())[0]));
  await endCall(lasting, "web", LASTING.web);
  await agree();
  const scraper = new Scraper();
  for (let i = 0; i < 4; i++) await scraper.scrape();
  expect(books.differences(scraper.links())).toEqual([]);
  expect(scraper.pods()).toEqual(podsOf(books));
}, 120_000);
