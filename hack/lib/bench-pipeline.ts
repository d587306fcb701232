/**
 * What the agent costs a busy machine: requests a second without it and with it, in turns, and the agent's own CPU and
 * memory meanwhile. The agent runs as it ships, with names for both ends.
 */
import { readFileSync } from "node:fs";
import { startAgent } from "../../test/live/agent.ts";
import { Load, median } from "./bench-load.ts";

const ROUNDS = 5;
const REQUESTS = 400_000;
const TICKS = 100; // a second, USER_HZ

const pod = (name: string, host: number) => ({ namespace: "bench", name, addresses: [`10.79.0.${host}`] });
const ends = { client: pod("client", 1), server: pod("server", 2) };

/** @returns user and system time in seconds */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

const rssOf = (pid: number): number => {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
};

const load = await Load.start();
const off: number[] = [];
const on: number[] = [];
const cpu: number[] = [];
let rss = 0;
let startMs = Number.NaN;
let exact = true;
try {
  await load.run(REQUESTS / 4); // warm
  for (let round = 1; round <= ROUNDS; round++) {
    off.push(await load.run(REQUESTS));
    const began = performance.now();
    const agent = await startAgent(ends, ["--interval", "1s", "--settle", "2s", "--hold", "60s"]);
    startMs = performance.now() - began;
    const { pid } = agent.process;
    const [cpuBefore, timeBefore] = [cpuOf(pid), performance.now()];
    on.push(await load.run(REQUESTS));
    cpu.push((cpuOf(pid) - cpuBefore) / ((performance.now() - timeBefore) / 1000));
    await Bun.sleep(4000);
    await agent.metrics();
    rss = Math.max(rss, rssOf(pid));
    const served = (await agent.links()).find((link) => link.reporter === "server" && link.port === 6390);
    // redis-benchmark asks for the server's configuration first, on a connection of its own.
    exact &&= Math.abs(Number(served?.requests) - REQUESTS) <= 200;
    await agent.stop();
    console.error(`round ${round} of ${ROUNDS}: ${off.at(-1)} without, ${on.at(-1)} with, requests a second`);
  }
} finally {
  await load.stop();
}
const result = {
  requestsPerSecondWithout: median(off),
  requestsPerSecondWith: median(on),
  ratio: median(on.map((rate, i) => rate / off[i]!)),
  agentCpuOfOneCore: median(cpu),
  agentRssBytes: rss,
  agentStartMs: startMs,
  requestsSeen: exact,
};
if (process.argv.includes("--json")) console.log(JSON.stringify(result, null, 2));
else {
  console.log(`without the agent   ${result.requestsPerSecondWithout.toFixed(0)} requests/s (baseline)`);
  console.log(`with the agent      ${result.requestsPerSecondWith.toFixed(0)} requests/s`);
  console.log(`ratio               ${result.ratio.toFixed(3)}, median of ${ROUNDS} pairs`);
  console.log(`agent's CPU         ${(result.agentCpuOfOneCore * 100).toFixed(1)}% of one core`);
  console.log(`agent's memory      ${(result.agentRssBytes / 1e6).toFixed(1)} MB resident`);
  console.log(`start to ready      ${result.agentStartMs.toFixed(0)} ms`);
  console.log(`all requests seen   ${result.requestsSeen ? "yes" : "NO"}`);
}
process.exit(result.requestsSeen ? 0 : 1);
