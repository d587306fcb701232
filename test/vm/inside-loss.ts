/**
 * Runs inside the emulated machine: an upload over a path that loses packets, with what our records and the kernel's
 * counters of that network namespace say of it. Leaves both in out/loss.json.
 */
import { statSync } from "node:fs";
import { $ } from "bun";
import { Probe } from "../../src/bpf/probe.ts";
import { type Recorded, Recorder } from "../truth/recorded.ts";
import { trafficEnds } from "../truth/traffic.ts";
import { parseTruth, type TruthLine } from "../truth/truth.ts";

export interface Lossy {
  truth: TruthLine[];
  /** The client's last word on its connection. */
  sent: number;
  segments: number;
  retransmitted: number;
  /** Tcp RetransSegs and OutSegs in the client's /proc/net/snmp. */
  kernel: { retransmitted: number; segments: number };
}

const { server } = trafficEnds();
const inClient = ["ip", "netns", "exec", "truth-client"];
await $`test/truth/namespaces up truth 77`;
// A packet is a segment, so that there are many to lose.
await $`${inClient} ip link set eth0 gso_max_segs 1`;
await $`${inClient} tc qdisc add dev eth0 root netem loss 3%`;
const probe = await Probe.attach({ backend: "auto", maxConnections: 1024, ringSize: 1 << 20 });
const recorder = new Recorder();
const pods = ["--client-ns", "truth-client", "--server-ns", "truth-server", "--ipv4", server.addresses[0]];
const truth = parseTruth(await $`build/test/traffic ${pods} --only upload`.text());
probe.sweep(recorder);
const { ino } = statSync("/run/netns/truth-client");
const ours = recorder.records.filter(({ netns }) => netns === ino);
const lastWords = [...new Map(ours.map((record) => [record.id, record])).values()];

const [names = [], values = []] = (await $`${inClient} cat /proc/net/snmp`.text())
  .split("\n")
  .filter((line) => line.startsWith("Tcp:"))
  .map((line) => line.split(" "));
const counted = (name: string) => Number(values[names.indexOf(name)]);
const sum = (read: (record: Recorded) => number) => lastWords.reduce((all, one) => all + read(one), 0);
const lossy: Lossy = {
  truth,
  sent: sum(({ sent }) => sent),
  segments: sum(({ segments }) => segments),
  retransmitted: sum(({ retransmitted }) => retransmitted),
  kernel: { retransmitted: counted("RetransSegs"), segments: counted("OutSegs") },
};
await Bun.write("out/loss.json", JSON.stringify(lossy));
probe.close();
