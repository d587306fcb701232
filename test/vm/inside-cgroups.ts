/**
 * Runs inside the emulated machine: a node that shares its network with two pods, which call another node's, as it does
 * itself. Leaves in out/cgroups.json what the kernel side told of the first one's cgroup, with the inode that the
 * true one has, and the links that an agent has of all three.
 */
import { once } from "node:events";
import { statSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { $ } from "bun";
import { Probe } from "../../src/bpf/probe.ts";
import { settled, startAgent } from "../live/agent.ts";

export interface Told {
  inode: number;
  cgroups: { id: number; names: string[] }[];
  /** "scraper (Pod) > far:9100 1001/4000" */
  links: string[];
}

/** Beneath the mount: of two pods' containers, and of the kubelet. With the uids of those pods. */
const [scraper, crawler, kubelet, ...uids] = process.argv.slice(2) as [string, string, string, ...string[]];
const address = "172.30.0.2";
const far = "10.244.2.10";
const [PORT, ANSWER] = [9100, 4000];

/** From now on this process, and what it connects, are in there. */
async function enter(cgroup: string): Promise<string> {
  const path = `/sys/fs/cgroup/${cgroup}`;
  await mkdir(path, { recursive: true });
  await writeFile(`${path}/cgroup.procs`, String(process.pid));
  return path;
}

const pod = (name: string, uid: string, nodeName: string, podIP: string) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { namespace: "shop", name, uid },
  spec: { nodeName, hostNetwork: podIP === address, containers: [{ name }] },
  status: { phase: "Running", startTime: "2020-01-01T00:00:00Z", podIP, podIPs: [{ ip: podIP }] },
});
const node = {
  apiVersion: "v1",
  kind: "Node",
  metadata: { name: "machine" },
  spec: { podCIDR: "10.244.1.0/24" },
  status: { addresses: [{ type: "InternalIP", address }] },
};
const names = {
  apiVersion: "v1",
  kind: "List",
  items: [
    node,
    pod("scraper", uids[0]!, "machine", address),
    pod("crawler", uids[1]!, "machine", address),
    pod("far", "0a1b2c3d-1111-4222-8333-999999999999", "elsewhere", far),
  ],
};

for (const own of [address, far]) await $`ip addr add ${own}/32 dev lo`;
const inode = statSync(await enter(scraper)).ino;
const probe = await Probe.attach({ backend: "auto", maxConnections: 1024, ringSize: 1 << 20 });
for (let i = 0; i < 2; i++) {
  // Nobody listens there: a connection begins all the same.
  await Bun.connect({ hostname: "127.0.0.1", port: 9, socket: { data() {} } }).catch(() => {});
}
const cgroups = probe.cgroups().map(({ id, names }) => ({ id: Number(id), names }));
probe.close();

await enter(kubelet);
const agent = await startAgent(names, ["--node", "machine"]);
const server = createServer((socket) => socket.once("data", () => socket.end(Buffer.alloc(ANSWER))));
await once(server.listen(PORT, far), "listening");
for (const [index, cgroup] of [kubelet, scraper, crawler].entries()) {
  await enter(cgroup);
  const socket: Socket = connect({ port: PORT, host: far, localAddress: address });
  socket.end(Buffer.alloc(1000 + index)).resume();
  await once(socket, "close");
}
let links: string[] = [];
await settled(async () => {
  links = (await agent.links()).map(
    ({ source, destination, port, sent, received }) =>
      `${source.workload} (${source.kind}) > ${destination.workload}:${port} ${sent}/${received}`,
  );
  const bytes = links.map((link) => Number(/ (\d+)\//.exec(link)?.[1]));
  return bytes.reduce((all, sent) => all + sent, 0) < 3003 ? ["not all of it yet"] : [];
});
const told: Told = { inode, cgroups, links: links.sort() };
await Bun.write("out/cgroups.json", JSON.stringify(told));
await agent.stop();
process.exit();
