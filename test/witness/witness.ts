/** Runs the witness beside an agent. */
import { join } from "node:path";
import { $ } from "bun";
import type { TruthLine } from "../truth/truth.ts";

const program = join(import.meta.dir, "../../build/test/witness");

/** One end of a connection, as the witness saw it; in bytes. */
export interface WitnessLine {
  local: string;
  local_port: number;
  remote: string;
  remote_port: number;
  sent: number;
  received: number;
}

/** Compiles it, where its sources are newer. @returns its path */
export async function buildWitness(): Promise<string> {
  await $`${join(import.meta.dir, "build")}`;
  return program;
}

/**
 * Starts it and waits until it is attached; root and kprobes are needed.
 *
 * @returns what ends it and gives what it counted
 * @throws Error with what it said, where the kernel refuses it
 */
export async function startWitness(): Promise<() => Promise<WitnessLine[]>> {
  const child = Bun.spawn([program], { stdout: "pipe", stderr: "pipe" });
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const first = await lines.read();
  if (first.value !== "ready\n") throw new Error(`the witness ended: ${await child.stderr.text()}`);
  return async () => {
    child.kill("SIGTERM");
    let text = "";
    for (let chunk = await lines.read(); !chunk.done; chunk = await lines.read()) text += chunk.value;
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as WitnessLine);
  };
}

const end = (line: TruthLine | WitnessLine) => `${line.local} ${line.local_port} ${line.remote} ${line.remote_port}`;

/**
 * What it does not see, or not all of: it hooks the calls, by the socket's ends. MPTCP passes them by, a send that connects
 * has no ends yet, and the kernel has few slots for returns from calls that many make at once.
 */
const unseen = ["mptcp", "mptcp-plain-client", "fast-open-first", "fast-open", "backlog", "burst", "threads"];

/**
 * What the witness says of each end of each connection, less the truth. It cannot tell connections apart that have the same
 * two ends.
 *
 * @returns bytes by scenario and role, without those that agree
 */
export function witnessExcess(
  lines: TruthLine[],
  witnessed: WitnessLine[],
  what: "sent" | "received",
): Record<string, number> {
  const truth = new Map<string, { key: string; bytes: number }>();
  for (const line of lines) {
    if (unseen.includes(line.scenario)) continue;
    const before = truth.get(end(line))?.bytes ?? 0;
    truth.set(end(line), { key: `${line.scenario} ${line.role}`, bytes: before + line[what] });
  }
  const byEnd = new Map(witnessed.map((line) => [end(line), line[what]]));
  const excess: Record<string, number> = {};
  for (const [tuple, { key, bytes }] of truth) {
    const more = (byEnd.get(tuple) ?? 0) - bytes;
    if (more !== 0) excess[key] = (excess[key] ?? 0) + more;
  }
  return excess;
}
