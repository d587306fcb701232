/** The records themselves: each connection once, from its birth to its last word, whatever it did. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { recordFlag } from "../../src/bpf/abi.ts";
import { Probe } from "../../src/bpf/probe.ts";
import { Recorder } from "../truth/recorded.ts";
import { compareRecords, type Life, lives } from "../truth/records.ts";
import { runTraffic, trafficEnds } from "../truth/traffic.ts";
import type { Role, TruthLine } from "../truth/truth.ts";

const options = { name: "records", net: 72 };
const { client, server } = trafficEnds(options);
const recorder = new Recorder();
let probe: Probe;
let lines: TruthLine[];
let found: Life[];

beforeAll(async () => {
  probe = await Probe.attach({ backend: "auto", maxConnections: 1 << 16, ringSize: 16 << 20 });
  const timer = setInterval(() => probe.sweep(recorder), 100);
  lines = await runTraffic(options);
  clearInterval(timer);
  // TIME_WAIT is no socket any more; what a reset leaves is gone at once.
  await Bun.sleep(200);
  probe.sweep(recorder);
  found = lives(recorder.records, [...client.addresses, ...server.addresses]);
}, 120_000);

afterAll(() => probe?.close());

test("each connection of each scenario has one life, and its last word is the truth", () => {
  expect(lines.length).toBeGreaterThan(20_000);
  expect(compareRecords(lines, found)).toEqual([]);
});

/** @returns the last words on these ends of connections */
function lastWords(of: TruthLine[]): Life[0][] {
  const wanted = new Set(of.map((line) => `${line.local} ${line.local_port} ${line.remote} ${line.remote_port}`));
  return found.filter(([{ local, remote }]) => wanted.has(`${local} ${remote}`)).map((life) => life.at(-1) as Life[0]);
}

/** Why it ended, and who sent a reset. */
interface Ending {
  reason: string;
  sent: boolean;
  received: boolean;
}
const quiet: Ending = { reason: "none", sent: false, received: false };
const sent: Ending = { reason: "none", sent: true, received: false };
const received: Ending = { reason: "reset", sent: false, received: true };

test.each<[string, Role, Ending]>([
  ["half-close", "client", quiet],
  ["half-close", "server", quiet],
  ["reset", "client", sent],
  ["reset", "server", received],
  ["unread", "server", sent],
  ["unread", "client", received],
  ["server-resets-upload", "client", received],
  ["client-resets-download", "server", received],
])("%s ends at the %s as it did", (scenario, role, expected) => {
  const last = lastWords(lines.filter((line) => line.scenario === scenario && line.role === role));
  const endings = last.map(({ reason, flags }) => ({
    reason,
    sent: (flags & recordFlag.resetSent) !== 0,
    received: (flags & recordFlag.resetReceived) !== 0,
  }));
  expect(endings).toEqual([expected]);
});

test("a SYN that had to wait for room in the backlog shows in the time to connect", () => {
  const waited = lines.filter(({ scenario, connect_ns = 0 }) => scenario === "backlog" && connect_ns > 900e6);
  expect(waited.length).toBeGreaterThan(0);
  const times = lastWords(waited).map(({ connectUs }) => connectUs);
  expect(times).toHaveLength(waited.length);
  expect(Math.min(...times)).toBeGreaterThan(900_000);
});
