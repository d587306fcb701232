/**
 * Runs inside the emulated machine: an upload over a path that loses packets, with what our records and the kernel's
 * counters of that network namespace say of it. Leaves both in out/loss.json.
 */
import { statSync } from "node:fs";
import { $ } from "bun";
import * as abi from "../../src/bpf/abi.ts";
import { Probe } from "../../src/bpf/probe.ts";
import type { Sink } from "../../src/bpf/ring.ts";
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

/** The last record of each connection in a network namespace. */
class LastWords implements Sink {
  readonly byId = new Map<bigint, DataView>();
  private span = new Uint8Array(0);

  constructor(private readonly netns: number) {}

  batch(bytes: number): Uint8Array {
    this.span = new Uint8Array(bytes);
    return this.span;
  }

  ingest(): void {
    const view = new DataView(this.span.buffer);
    for (let at = 0; at < view.byteLength; at += 8 + abi.record.size) {
      const discarded = (view.getUint32(at, true) & 0x4000_0000) !== 0;
      const record = new DataView(view.buffer, at + 8, abi.record.size);
      if (discarded || record.getUint32(abi.record.netns, true) !== this.netns) continue;
      this.byId.set(record.getBigUint64(abi.record.id, true), record);
    }
  }
}

const { server } = trafficEnds();
const inClient = ["ip", "netns", "exec", "truth-client"];
await $`test/truth/namespaces up truth 77`;
// A packet is a segment, so that there are many to lose.
await $`${inClient} ip link set eth0 gso_max_segs 1`;
await $`${inClient} tc qdisc add dev eth0 root netem loss 3%`;
const probe = await Probe.attach({ backend: "auto", maxConnections: 1024, ringSize: 1 << 20 });
const records = new LastWords(statSync("/run/netns/truth-client").ino);
const pods = ["--client-ns", "truth-client", "--server-ns", "truth-server", "--ipv4", server.addresses[0]];
const truth = parseTruth(await $`build/test/traffic ${pods} --only upload`.text());
probe.sweep(records);

const [names = [], values = []] = (await $`${inClient} cat /proc/net/snmp`.text())
  .split("\n")
  .filter((line) => line.startsWith("Tcp:"))
  .map((line) => line.split(" "));
const counted = (name: string) => Number(values[names.indexOf(name)]);
const sum = (read: (record: DataView) => number) => [...records.byId.values()].reduce((all, r) => all + read(r), 0);
const lossy: Lossy = {
  truth,
  sent: sum((record) => Number(record.getBigUint64(abi.record.sent, true))),
  segments: sum((record) => record.getUint32(abi.record.segments, true)),
  retransmitted: sum((record) => record.getUint32(abi.record.retransmitted, true)),
  kernel: { retransmitted: counted("RetransSegs"), segments: counted("OutSegs") },
};
await Bun.write("out/loss.json", JSON.stringify(lossy));
probe.close();
