/** What a process of the benchmark of names says of itself. */
import { readFileSync } from "node:fs";

const TICK_MS = 10;

/** What it knows of the cluster by now. */
export interface Known {
  objects: Record<string, number>;
  events: number;
  malformed: number;
}

export interface Report extends Known {
  /** Until all was known. */
  seconds: number;
  /** Resident: before it began, now, and at most. */
  bareMB: number;
  rssMB: number;
  peakMB: number;
  /** Since the last report. */
  cpuSeconds: number;
  /** How late a timer came. */
  stallMs: { most: number; p99: number };
}

const memory = (field: string): number =>
  Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1024;

/**
 * Runs until standard input ends: prints a report as a line of JSON when all is known, and whenever it is asked by a line.
 *
 * @param begin resolves when all is known
 */
export async function reportOn(begin: () => Promise<unknown>, known: () => Known): Promise<never> {
  let stalls: number[] = [];
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    stalls.push(Math.max(0, now - last - TICK_MS));
    last = now;
  }, TICK_MS);
  let cpu = { user: 0, system: 0 };
  const bareMB = memory("VmRSS");
  const start = performance.now();
  await begin();
  const seconds = (performance.now() - start) / 1000;

  const report = (): void => {
    const sorted = stalls.sort((a, b) => a - b);
    const used = process.cpuUsage(cpu);
    const told: Report = {
      seconds,
      ...known(),
      bareMB,
      rssMB: memory("VmRSS"),
      peakMB: memory("VmHWM"),
      cpuSeconds: (used.user + used.system) / 1e6,
      stallMs: { most: sorted.at(-1) ?? 0, p99: sorted[Math.floor(sorted.length * 0.99)] ?? 0 },
    };
    console.log(JSON.stringify(told));
    cpu = process.cpuUsage();
    stalls = [];
    last = performance.now();
  };
  report();
  for await (const _ of console) report();
  process.exit(0);
}
