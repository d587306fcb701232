/** Runs the scripted traffic between two network namespaces of this machine. */
import { mkdir, readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { $ } from "bun";
import { type Ends, type Pod, parseTruth, type TruthLine } from "./truth.ts";

const here = import.meta.dir;
const build = join(here, "../../build/test");

export interface TrafficOptions {
  /** Of the namespaces, NAME-client and NAME-server, and of the pods' Kubernetes namespace. */
  name?: string;
  /** 10.NET.0.0/24 and fd00:NET::/64: another for each test that runs at the same time. */
  net?: number;
  /** Factor on what is many or large. */
  scale?: number;
  /** The scenarios to run: all. */
  only?: string[];
}

/** The two pods whose addresses the traffic has. */
export function trafficEnds({ name = "truth", net = 77 }: TrafficOptions = {}): Ends {
  const pod = (role: string, host: number): Pod => ({
    namespace: name,
    name: role,
    addresses: [`10.${net}.0.${host}`, `fd00:${net}::${host}`, `fe80::${net}:${host}`],
  });
  return { client: pod("client", 1), server: pod("server", 2) };
}

/** Compiles the traffic program, where one of its sources is newer. @returns its path, static */
export async function buildTraffic(): Promise<string> {
  const folder = join(here, "traffic");
  const program = join(build, "traffic");
  const age = async (path: string) => (await stat(path).catch(() => undefined))?.mtimeMs ?? 0;
  const sources = (await readdir(folder)).map((file) => join(folder, file));
  if ((await age(program)) < Math.max(...(await Promise.all(sources.map(age))))) {
    await mkdir(dirname(program), { recursive: true });
    const units = sources.filter((file) => file.endsWith(".c"));
    await $`gcc -O2 -Wall -Wextra -Werror -static -pthread -o ${program} ${units}`;
  }
  return program;
}

/**
 * Makes the namespaces, runs all scenarios (some 20 s), and removes them.
 *
 * @returns the truth: one line for each end of each connection
 * @throws ShellError where a scenario fails; root is needed
 */
export async function runTraffic(options: TrafficOptions = {}): Promise<TruthLine[]> {
  const { name = "truth", net = 77, scale = 1, only = [] } = options;
  const [ipv4, ipv6] = trafficEnds(options).server.addresses;
  const program = await buildTraffic();
  const namespaces = join(here, "namespaces");
  await $`${namespaces} up ${name} ${net}`.quiet();
  try {
    const pods = ["--client-ns", `${name}-client`, "--server-ns", `${name}-server`, "--ipv4", ipv4, "--ipv6", ipv6];
    const chosen = only.flatMap((scenario) => ["--only", scenario]);
    return parseTruth(await $`${program} ${pods} --scale ${scale} ${chosen}`.quiet().text());
  } finally {
    await $`${namespaces} down ${name}`.quiet();
  }
}
