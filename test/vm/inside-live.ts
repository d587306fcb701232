/**
 * Runs inside the emulated machine: a connection that stays, over a path that is slow and loses packets, with what our
 * records and `ss` say of both its ends. Leaves both in out/live.json.
 */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { $ } from "bun";
import { Probe, REFRESH } from "../../src/bpf/probe.ts";
import { Recorder } from "../truth/recorded.ts";

/** Of one end: its own port, its smoothed round trip in ms, data segments sent, and sent again. */
export interface Path {
  port: number;
  rtt: number;
  segments: number;
  retransmitted: number;
}

export interface Live {
  records: Path[];
  ss: Path[];
}

const BYTES = 1 << 20;

// A packet is a segment, so that there are many to lose.
await $`ip link set lo mtu 1500 gso_max_segs 1`;
await $`tc qdisc add dev lo root netem delay 10ms loss 3%`;
const recorder = new Recorder();
const probe = await Probe.attach({ backend: "auto", maxConnections: 1024, ringSize: 1 << 20 });
const server = createServer().listen(0, "127.0.0.1");
await once(server, "listening");
const { port } = server.address() as { port: number };
const client = connect(port, "127.0.0.1");
const [accepted] = (await once(server, "connection")) as [Socket];
client.write(Buffer.alloc(BYTES));
for (let read = 0; read < BYTES; ) read += ((await once(accepted, "data")) as [Buffer])[0].length;
accepted.write("done");
await once(client, "data");

const number = (line: string, what: RegExp) => Number(what.exec(line)?.[1] ?? 0);

async function ofSs(): Promise<Path[]> {
  const lines = (await $`ss -tinHO`.text()).split("\n").filter((line) => line.includes(`:${port}`));
  return lines.map((line) => ({
    port: number(line, /127\.0\.0\.1:(\d+)/),
    rtt: number(line, / rtt:([\d.]+)\//),
    segments: number(line, / data_segs_out:(\d+)/),
    retransmitted: number(line, / retrans:\d+\/(\d+)/),
  }));
}

/** After a whole round of sweeps, in which the turn of each connection came. */
function ofRecords(): Path[] {
  for (let i = 0; i < REFRESH; i++) probe.sweep(recorder);
  const ours = recorder.records.filter(({ local, remote }) => `${local} ${remote}`.includes(` ${port}`));
  return [...new Map(ours.map((record) => [record.id, record])).values()].map((record) => ({
    port: Number(record.local.split(" ")[1]),
    rtt: record.srttUs / 1000,
    segments: record.segments,
    retransmitted: record.retransmitted,
  }));
}

// The last acknowledgement is on its way yet: until nothing changes.
let live: Live;
let before: Path[];
do {
  await Bun.sleep(500);
  before = await ofSs();
  live = { records: ofRecords(), ss: await ofSs() };
} while (!Bun.deepEquals(before, live.ss));
await Bun.write("out/live.json", JSON.stringify(live));
probe.close();
process.exit();
