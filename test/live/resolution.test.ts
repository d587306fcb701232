/** The table of docs/resolution.md, on a cluster made of network namespaces with an agent for each node. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { $ } from "bun";
import { parseMetrics } from "../truth/truth.ts";
import { type FileAgent, settled, startAgent } from "./agent.ts";
import { objects, uidOf } from "./cluster/objects.ts";
import { namespaces, start, type Talk, type Where } from "./cluster/programs.ts";
import { buildTalk } from "./cluster/talk.ts";

const top = join(import.meta.dir, "../..");
/** As the kernel mounts version 2, beside version 1 or alone. */
const cgroups = /^\S+ (\S+) cgroup2 /m.exec(await readFile("/proc/mounts", "utf8"))?.[1] ?? "/sys/fs/cgroup";
const kubepods = join(cgroups, "kubepods.slice/kubepods-besteffort.slice");

/** The cgroup of a container of that pod, as the kubelet and containerd name it under systemd. */
const cgroupOf = (pod: string) =>
  join(
    kubepods,
    `kubepods-besteffort-pod${uidOf(pod).replaceAll("-", "_")}.slice/cri-containerd-${"ab".repeat(32)}.scope`,
  );
const kubelet = join(cgroups, "system.slice/ringside-test-kubelet.service");

const nodes = ["node-a", "node-b"] as const;
const agents: FileAgent[] = [];
const servers: Talk[] = [];

async function serve(namespace: string, where: Where, ...args: (string | number)[]): Promise<void> {
  servers.push(await start(namespace, where, ...args).ready());
}

const call = (from: string, address: string, port: number, sent: number, received: number, where: Where = {}) =>
  start(from, where, "call", address, port, sent, received).over();

/** Each line of the table: who talks to what, and the bytes, which no other has. */
const traffic: Record<string, (sent: number, received: number) => Promise<unknown>> = {
  // Shows each agent its node's network namespace, as the kubelet's connection to the API server does.
  "node-out": (...bytes) => call("node-a", "172.30.0.3", 9100, ...bytes, { cgroup: kubelet }),
  pod: (...bytes) => call("web", "10.244.2.10", 8085, ...bytes),
  "cluster-ip": (...bytes) => call("web", "10.96.0.1", 80, ...bytes),
  "node-port": (...bytes) => call("web", "172.30.0.3", 30081, ...bytes),
  "node-port-outside": (...bytes) => call("outside", "172.30.0.3", 30082, ...bytes),
  "host-port": (...bytes) => call("web", "172.30.0.3", 8883, ...bytes),
  hairpin: (...bytes) => call("api", "10.96.0.2", 80, ...bytes),
  masquerade: (...bytes) => call("web", "172.30.0.10", 5432, ...bytes),
  cidr: (...bytes) => call("web", "172.30.0.9", 5432, ...bytes),
  "service-outside": (...bytes) => call("web", "10.96.0.4", 5432, ...bytes),
  "host-network-server": (...bytes) => call("web", "172.30.0.3", 9100, ...bytes),
  "host-network-client": (...bytes) => call("node-a", "10.244.1.10", 8080, ...bytes, { cgroup: cgroupOf("scraper") }),
  node: (...bytes) => call("node-a", "10.244.1.10", 8081, ...bytes, { cgroup: kubelet }),
  probe: (...bytes) => call("node-a", "10.244.1.10", 8080, ...bytes, { cgroup: kubelet }),
  sidecars: (...bytes) => call("caller", "10.96.0.3", 80, ...bytes),
};
const bytesOf = (line: string) => {
  const number = Object.keys(traffic).indexOf(line) + 1;
  return [1000 + number, 4000 * number] as const;
};

/** What the document says: a line's name to its rows, the client's and the server's. */
async function documented(): Promise<Map<string, string[]>> {
  const text = await readFile(join(top, "docs/resolution.md"), "utf8");
  return new Map(
    [...text.matchAll(/^\| .*\(`([\w-]+)`\) *\| ([^|]*) \| ([^|]*) \|$/gm)].map(
      ([, name = "", client = "", server = ""]) => [
        name,
        [client, server].map((row) => row.replaceAll("`", "").trim()),
      ],
    ),
  );
}

/** All rows of both agents: "web > far:8080 far (client) 1001/50000, 1 connection". */
async function rows(): Promise<string[]> {
  const links = (await Promise.all(agents.map((agent) => agent.links()))).flat();
  return links
    .map(
      ({ source, destination, port, service, reporter, sent, received, connections }) =>
        `${source.workload} > ${destination.workload}:${port} ${service || "-"} (${reporter}) ${sent}/${received} x${connections}`,
    )
    .sort();
}

/** The rows of these lines, as the document has them. */
async function expected(lines: string[]): Promise<string[]> {
  const table = await documented();
  return lines
    .flatMap((line) => {
      const [client, server] = table.get(line) ?? [];
      const bytes = `${bytesOf(line).join("/")} x1`;
      return [
        ...(client === "none" ? [] : [`${client} (client) ${bytes}`]),
        ...(server === "none" ? [] : [`${server} (server) ${bytes}`]),
      ];
    })
    .sort();
}

const differences = async (wanted: string[]) => {
  const seen = await rows();
  return [
    ...wanted.filter((row) => !seen.includes(row)).map((row) => `missing: ${row}`),
    ...seen.filter((row) => !wanted.includes(row)).map((row) => `not wanted: ${row}`),
  ];
};

beforeAll(async () => {
  await buildTalk();
  await namespaces("up");
  for (const cgroup of [cgroupOf("scraper"), cgroupOf("edge"), kubelet]) await mkdir(cgroup, { recursive: true });
  const proxy = { uid: 1337 };
  await serve("web", {}, "serve", 8080, 8081);
  await serve("api", {}, "serve", 8080);
  await serve("far", {}, "serve", 8080, 8081, 8082, 8083, 8084, 8085);
  await serve("called", {}, "serve", 8080);
  await serve("called", proxy, "proxy", 15006, "10.244.2.12", 8080, "127.0.0.6");
  await serve("caller", proxy, "proxy", 15001, "10.244.2.12", 8080);
  await serve("outside", {}, "serve", 5432);
  await serve("node-b", { cgroup: cgroupOf("edge") }, "serve", 9100);
  for (const node of nodes) {
    agents.push(await startAgent(objects(), ["--node", node, "--scope", "--cidr", "database=172.30.0.9/32"]));
  }
}, 60_000);

afterAll(async () => {
  for (const agent of agents) await agent.stop();
  await Promise.all(servers.map((server) => server.end()));
  await namespaces("down");
  await $`rmdir -p ${cgroupOf("scraper")} ${cgroupOf("edge")} ${kubelet}`.quiet().nothrow();
});

describe("in a cluster of two nodes", () => {
  test("the document has each line", async () => {
    expect([...(await documented()).keys()]).toEqual(Object.keys(traffic));
  });

  test("each line's links and bytes are what the document says, once", async () => {
    for (const [line, run] of Object.entries(traffic)) await run(...bytesOf(line));
    const wanted = await expected(Object.keys(traffic));
    expect(await settled(() => differences(wanted))).toEqual([]);
  }, 60_000);

  test("rows that count once are each byte of each line once", async () => {
    const once = async () => {
      const texts = await Promise.all(agents.map((agent) => agent.metrics()));
      const samples = texts
        .flatMap((text) => [...parseMetrics(text)])
        .filter(([key]) => key.includes('counted="once"'));
      const sum = (way: string) =>
        samples
          .filter(([key]) => key.startsWith(`kube_ebpf_link_${way}_bytes_total{`))
          .reduce((all, [, value]) => all + Number(value), 0);
      return [sum("sent"), sum("received")];
    };
    const all = Object.keys(traffic).filter((line) => line !== "probe");
    const wanted = [0, 1].map((way) => all.reduce((sum, line) => sum + bytesOf(line)[way]!, 0));
    const differs = async () => (Bun.deepEquals(await once(), wanted) ? [] : ["not yet"]);
    await settled(differs);
    expect(await once()).toEqual(wanted);
  }, 30_000);

  test("each link says how far it goes: node-a is in the zone east, node-b in west", async () => {
    const links = (await Promise.all(agents.map((agent) => agent.links()))).flat();
    const far: Record<string, string[]> = {};
    for (const { scope = "", source, destination, port, reporter } of links) {
      far[scope] = [...(far[scope] ?? []), `${source.workload} > ${destination.workload}:${port} (${reporter})`].sort();
    }
    expect(far).toEqual({
      other_zone: [
        "caller > called:8080 (client)",
        "caller > called:8080 (server)",
        "node-a > edge:9100 (client)",
        "node-a > edge:9100 (server)",
        "web > edge:9100 (client)",
        "web > edge:9100 (server)",
        "web > far:8080 (server)",
        "web > far:8083 (client)",
        "web > far:8083 (server)",
        "web > far:8085 (client)",
        "web > far:8085 (server)",
      ],
      outside: ["web > database:5432 (client)", "web > external:5432 (client)"],
      same_zone: [
        "node-a > api:8080 (server)",
        "node-a > web:8081 (client)",
        "node-a > web:8081 (server)",
        "node-b > far:8081 (server)",
        "node-b > far:8082 (server)",
        "scraper > web:8080 (client)",
        "scraper > web:8080 (server)",
      ],
      // The client of a Service does not know where it leads; the server's row is the one that counts.
      unknown: [
        "api > api:8080 (client)",
        "web > far:8080 (client)",
        "web > far:8081 (client)",
        "web > ledger:5432 (client)",
      ],
    });
  });

  test("a probe counts for its pod", async () => {
    const [probe, scraper] = [bytesOf("probe"), bytesOf("host-network-client")];
    const read = async (row: string) => {
      const line = (await agents[0]?.metrics())?.split("\n").find((text) => text.startsWith(`${row} `));
      return Number(line?.slice(row.length));
    };
    // Both its ends are sockets of this node.
    expect(await read('ringside_left_out_bytes_total{reason="probe"}')).toBe(2 * (probe[0] + probe[1]));
    // Rows are born at zero: two scrapes have to be seen first.
    await read("");
    await Bun.sleep(300);
    await read("");
    const web = 'namespace="shop",name="web",port="8080"';
    expect(await read(`kube_ebpf_acknowledged_bytes_total{${web}}`)).toBe(probe[0] + scraper[0]);
    expect(await read(`kube_ebpf_requests_received_total{${web}}`)).toBe(2);
  });

  test("a pod that lives 3 s and makes one call to a Service is named", async () => {
    const tell = async (phase: "Running" | "Succeeded") => {
      for (const { identities } of agents) await writeFile(identities, JSON.stringify(objects(phase)));
    };
    await call("brief", "10.96.0.1", 84, 777, 7777);
    await Bun.sleep(1000);
    await tell("Running");
    await Bun.sleep(2000);
    await tell("Succeeded");
    const wanted = [
      ...(await expected(Object.keys(traffic))),
      "brief > far:8084 far (client) 777/7777 x1",
      "brief > far:8084 far (server) 777/7777 x1",
    ];
    expect(await settled(() => differences(wanted))).toEqual([]);
  }, 60_000);
});
