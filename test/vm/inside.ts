/**
 * Runs inside the emulated machine: the same traffic once for each backend, with the witness beside,
 * and leaves what everyone said in out/BACKEND.json for the tests to compare.
 */

import type { Link } from "../../src/serve/links.ts";
import { settled, startAgent } from "../live/agent.ts";
import { runTraffic, trafficEnds } from "../truth/traffic.ts";
import { compareLinks, compareMetrics, type TruthLine } from "../truth/truth.ts";
import { startWitness, type WitnessLine } from "../witness/witness.ts";

export interface Observed {
  truth: TruthLine[];
  links: Link[];
  metrics: string;
  witness: WitnessLine[];
}

/** The emulated processor is slow: what is many or large is a quarter of it. */
const scale = 0.25;

async function observe(backend: string): Promise<Observed> {
  const ends = trafficEnds();
  const agent = await startAgent(ends, ["--backend", backend]);
  const stopWitness = await startWitness();
  const truth = await runTraffic({ scale });
  const witness = await stopWitness();
  // Whatever still differs when patience ends, the tests tell.
  await settled(async () => [
    ...compareLinks(truth, await agent.links(), ends),
    ...compareMetrics(truth, await agent.metrics(), ends),
  ]);
  const observed = { truth, links: await agent.links(), metrics: await agent.metrics(), witness };
  const code = await agent.stop();
  if (code !== 0) throw new Error(`the agent ended with ${code}`);
  return observed;
}

if (import.meta.main) {
  for (const backend of process.argv.slice(2)) {
    const began = performance.now();
    try {
      await Bun.write(`out/${backend}.json`, JSON.stringify(await observe(backend)));
      console.log(`${backend}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
    } catch (error) {
      console.log(`${backend}: ${error instanceof Error ? error.message : error}`);
    }
  }
}
