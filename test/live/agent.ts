/** Starts the real agent as a process of its own, as `hack/ringside run` does. */
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import type { Link } from "../../src/serve/links.ts";
import { type Ends, podList } from "../truth/truth.ts";

/** The agent from its sources. */
const sources = [process.execPath, join(import.meta.dir, "../../src/main.ts")];

/** Fast enough for a test, and nothing held back. */
const quick = ["--interval", "200ms", "--settle", "200ms", "--grace", "5s", "--hold", "0"];

export interface Agent {
  url: string;
  process: Subprocess;
  links(): Promise<Link[]>;
  metrics(): Promise<string>;
  /** Its log so far. */
  said(): string;
  /** SIGTERM. @returns the exit code */
  stop(): Promise<number>;
}

/** One that reads its names from a file. */
export interface FileAgent extends Agent {
  identities: string;
}

/** Runs the agent's program with these arguments to its end. */
export async function runToEnd(
  args: string[],
  wrap: string[] = [],
  program = sources,
): Promise<{ code: number; out: string; error: string }> {
  const child = Bun.spawn([...wrap, ...program, ...args], { stdout: "pipe", stderr: "pipe" });
  const [out, error] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { code: await child.exited, out, error };
}

/** Starts an agent with the names of two ends, or of a list, on a port of its own, and waits until it is attached. */
export async function startAgent(
  names: Ends | object,
  flags: string[] = [],
  wrap: string[] = [],
  program = sources,
): Promise<FileAgent> {
  const folder = await mkdtemp(join(tmpdir(), "ringside-"));
  await chmod(folder, 0o755); // another user's agent reads it too
  const identities = join(folder, "identities.json");
  await writeFile(identities, JSON.stringify("client" in names ? podList([names.client, names.server]) : names));
  const agent = await launch(["--identities", identities, ...flags], wrap, program);
  const stop = async () => {
    const code = await agent.stop();
    await rm(folder, { recursive: true });
    return code;
  };
  return { ...agent, identities, stop };
}

/** Starts an agent with these flags on a port of its own, and waits until it is attached. */
export async function launch(flags: string[], wrap: string[] = [], program = sources): Promise<Agent> {
  const args = ["run", "--listen", "127.0.0.1:0", ...quick, ...flags];
  const child = Bun.spawn([...wrap, ...program, ...args], { stdout: "inherit", stderr: "pipe" });
  let said = "";
  const url = await new Promise<string>((resolve, reject) => {
    (async () => {
      for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) {
        said += chunk;
        const listen = /"listen":"([^"]+)"/.exec(said)?.[1];
        if (listen) resolve(listen);
      }
      reject(new Error(`the agent ended: ${said}`));
    })();
  });
  const get = async (path: string) => (await fetch(new URL(path, url))).text();
  return {
    url,
    process: child,
    links: async () => (JSON.parse(await get("/api/links")) as { links: Link[] }).links,
    metrics: () => get("/metrics"),
    said: () => said,
    stop: async () => {
      child.kill("SIGTERM");
      return child.exited;
    },
  };
}

/** Asks until nothing differs any more. @returns what still differs after `patience` milliseconds */
export async function settled(differences: () => Promise<string[]>, patience = 15_000): Promise<string[]> {
  const end = Date.now() + patience;
  for (;;) {
    const found = await differences();
    if (found.length === 0 || Date.now() > end) return found;
    await Bun.sleep(200);
  }
}
