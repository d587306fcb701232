/**
 * Runs inside the emulated machine: connects from a cgroup that is named as a pod's, and leaves what the kernel side
 * told of cgroups in out/cgroups.json, with the inode that the true one has.
 */
import { statSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { Probe } from "../../src/bpf/probe.ts";

export interface Told {
  backend: string;
  inode: number;
  cgroups: { id: number; names: string[] }[];
}

const [pod = "", container = ""] = process.argv.slice(2);
const path = `/sys/fs/cgroup/kubepods.slice/${pod}/${container}`;
await mkdir(path, { recursive: true });
await writeFile(`${path}/cgroup.procs`, String(process.pid));
const probe = await Probe.attach({ backend: "auto", maxConnections: 1024, ringSize: 1 << 20 });
for (let i = 0; i < 2; i++) {
  // Nobody listens there: a connection begins all the same.
  await Bun.connect({ hostname: "127.0.0.1", port: 9, socket: { data() {} } }).catch(() => {});
}
const cgroups = probe.cgroups().map(({ id, names }) => ({ id: Number(id), names }));
const told: Told = { backend: probe.backend, inode: statSync(path).ino, cgroups };
await Bun.write("out/cgroups.json", JSON.stringify(told));
probe.close();
