import { openSync, readFileSync, writeFileSync } from "node:fs";
import type { Subprocess } from "bun";
import { RingsideError } from "../../src/errors.ts";
import type { LinksReport } from "../../src/serve/links.ts";
import { parse, type Scrape } from "./exposition.ts";
import { identities } from "./identities.ts";

/** Its usual port. */
export const port = 12020;

/** The one agent that watches the shop: it sees all sockets of this kernel, and knows the shop's names from a file. */
export class Agent {
  private constructor(
    readonly child: Subprocess,
    readonly url: string,
    readonly log: string,
  ) {}

  /** @throws {RingsideError} where it does not come up, with its own words */
  static async start(folder: string, flags: string[] = []): Promise<Agent> {
    const names = `${folder}/identities.json`;
    const log = `${folder}/agent.log`;
    writeFileSync(names, identities());
    const listen = `127.0.0.1:${freePort()}`;
    const launcher = `${import.meta.dir}/../ringside`;
    const argv = [launcher, "run", "--listen", listen, "--identities", names, "--hold", "2s", ...flags];
    const child = Bun.spawn(["setpriv", "--pdeathsig", "TERM", ...argv], {
      stdio: ["ignore", openSync(log, "w"), openSync(log, "a")],
      detached: true,
    });
    const agent = new Agent(child, `http://${listen}`, log);
    const late = performance.now() + 60_000;
    while (performance.now() < late && child.exitCode === null) {
      const ready = await fetch(`${agent.url}/readyz`).catch(() => undefined);
      if (ready?.ok) return agent;
      await Bun.sleep(50);
    }
    await agent.stop();
    throw agent.#failure("start the agent");
  }

  /** Scrapes as Prometheus does: always under the same name. */
  async scrape(): Promise<Scrape> {
    const time = performance.now() / 1000;
    return { time, samples: parse(await this.#get("/metrics")) };
  }

  /** The links as they are counted now, held back by nothing. */
  async links(): Promise<LinksReport> {
    return JSON.parse(await this.#get("/api/links"));
  }

  /** CPU seconds that it has used, and its resident memory in bytes. */
  usage(): { cpu: number; rss: number } {
    const stat = readFileSync(`/proc/${this.child.pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [utime, stime] = [Number(fields[11]), Number(fields[12])]; // in USER_HZ, which is 100 on all that we support
    const rss = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.child.pid}/status`, "utf8"))?.[1];
    return { cpu: (utime + stime) / 100, rss: Number(rss) * 1024 };
  }

  async stop(): Promise<void> {
    this.child.kill("SIGTERM");
    await this.child.exited;
  }

  async #get(path: string): Promise<string> {
    try {
      const response = await fetch(this.url + path, { headers: { "User-Agent": "ringside-demo" } });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      return await response.text();
    } catch (cause) {
      throw this.#failure(`get ${path} from the agent`, { cause });
    }
  }

  #failure(step: string, options?: ErrorOptions): RingsideError {
    return new RingsideError(step, this.url, `Its own words:\n${readFileSync(this.log, "utf8")}`, options);
  }
}

/** The usual one, or another where that is taken. */
function freePort(): number {
  try {
    return listenOnce(port);
  } catch {
    return listenOnce(0); // whichever the kernel gives
  }
}

function listenOnce(port: number): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } });
  listener.stop(true);
  return listener.port;
}
