/**
 * Runs inside the emulated machine: `check`, and the agent under each backend that works, as users that hold little
 * but BPF and PERFMON. Leaves what it saw in out/capabilities.json.
 */
import { writeFileSync } from "node:fs";
import type { MachineCheck } from "../../src/bpf/check.ts";
import type { Backend } from "../../src/bpf/hooks.ts";
import { runToEnd, settled, startAgent } from "../live/agent.ts";
import { runTraffic, trafficEnds } from "../truth/traffic.ts";
import { compareLinks } from "../truth/truth.ts";

const little = "+bpf,+perfmon";
const only = (capabilities: string) => ["setpriv", `--bounding-set=-all,${capabilities}`, "--inh-caps=-all"];
const ambient = [
  ...["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
  ...[`--inh-caps=-all,${little}`, `--ambient-caps=-all,${little}`, `--bounding-set=-all,${little}`],
];

export interface Seen {
  /** User -> what `check` said. */
  checks: Record<string, MachineCheck>;
  /** "BACKEND USER" -> differences between the truth and what the agent said. */
  differences: Record<string, string[]>;
}

async function check(wrap: string[], paranoid = 3): Promise<MachineCheck> {
  writeFileSync("/proc/sys/kernel/perf_event_paranoid", String(paranoid));
  return JSON.parse((await runToEnd(["check", "--json"], wrap)).out) as MachineCheck;
}

async function differences(backend: Backend, wrap: string[]): Promise<string[]> {
  const ends = trafficEnds();
  const agent = await startAgent(ends, ["--backend", backend], wrap);
  const truth = await runTraffic({ scale: 0.05 });
  const found = await settled(async () => compareLinks(truth, await agent.links(), ends));
  console.log(`${backend}: ${wrap.join(" ")}`);
  return (await agent.stop()) === 0 ? found : [...found, "the agent did not end with 0"];
}

const seen: Seen = {
  checks: {
    "uid 0": await check(only(little)),
    "uid 65534": await check(ambient),
    "uid 0, SYS_ADMIN": await check(only(`${little},+sys_admin`)),
    "uid 0, SYS_RESOURCE": await check(only(`${little},+sys_resource`)),
    "uid 0, paranoid 2": await check(only(little), 2),
  },
  differences: {},
};
for (const backend of seen.checks["uid 0"]?.backends.filter(({ works }) => works).map(({ backend }) => backend) ?? []) {
  seen.differences[`${backend} uid 0`] = await differences(backend, only(little));
  seen.differences[`${backend} uid 65534`] = await differences(backend, ambient);
}
await Bun.write("out/capabilities.json", JSON.stringify(seen));
