/**
 * Runs inside the emulated machine: what the machine allows, then the same traffic once for each backend, with the
 * witness beside where that works. Leaves what everyone said in out/machine.json and out/BACKEND.json for the tests to
 * compare.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { checkMachine, type MachineCheck } from "../../src/bpf/check.ts";
import type { Link } from "../../src/serve/links.ts";
import { settled, startAgent } from "../live/agent.ts";
import { runTraffic, trafficEnds } from "../truth/traffic.ts";
import { compareLinks, compareMetrics, type TruthLine } from "../truth/truth.ts";
import { startWitness, type WitnessLine } from "../witness/witness.ts";
import { type Verified, verifyAll } from "./verified.ts";

export interface Observed {
  truth: TruthLine[];
  links: Link[];
  metrics: string;
  /** The agent's log. */
  said: string;
  /** Nothing, where there was none. */
  witness: WitnessLine[];
}

export interface Told {
  /** As uname prints it. */
  release: string;
  check: MachineCheck;
  verified: Verified;
  /** The kernel's own word at the end: "0" where nothing unusual happened. */
  tainted: string;
}

/** The emulated processor is slow: what is many or large is a tenth of it. */
const scale = 0.1;

async function observe(backend: string, witnessed: boolean): Promise<Observed> {
  const ends = trafficEnds();
  const agent = await startAgent(ends, ["--backend", backend]);
  const stopWitness = witnessed ? await startWitness() : async () => [];
  const truth = await runTraffic({ scale });
  const witness = await stopWitness();
  // Whatever still differs when patience ends, the tests tell.
  await settled(async () => [
    ...compareLinks(truth, await agent.links(), ends),
    ...compareMetrics(truth, await agent.metrics(), ends),
  ]);
  const [links, metrics] = [await agent.links(), await agent.metrics()];
  const observed = { truth, links, metrics, said: agent.said(), witness };
  const code = await agent.stop();
  if (code !== 0) throw new Error(`the agent ended with ${code}`);
  return observed;
}

/** Tells how long it took, or why it failed. */
async function step(what: string, run: () => Promise<unknown>): Promise<void> {
  const began = performance.now();
  try {
    await run();
    console.log(`${what}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
  } catch (error) {
    console.log(`${what}: ${error instanceof Error ? error.message : error}`);
  }
}

if (import.meta.main) {
  const read = (path: string) => readFileSync(path, "utf8").trim();
  const { values, positionals } = parseArgs({
    options: { witness: { type: "boolean", default: false } },
    allowPositionals: true,
  });
  for (const backend of positionals) {
    await step(backend, async () =>
      Bun.write(`out/${backend}.json`, JSON.stringify(await observe(backend, values.witness))),
    );
  }
  await step("machine", async () => {
    const told: Told = {
      release: read("/proc/sys/kernel/osrelease"),
      check: await checkMachine(),
      verified: await verifyAll(),
      tainted: read("/proc/sys/kernel/tainted"),
    };
    await Bun.write("out/machine.json", JSON.stringify(told));
  });
}
