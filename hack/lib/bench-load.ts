/**
 * The load of the benchmarks: redis-benchmark against redis-server, each in a network namespace of its own, one
 * request and one answer at a time on 50 connections that stay open. Redis and its load generator are one core each.
 */
import { join } from "node:path";
import { $, type Subprocess } from "bun";

const namespaces = join(import.meta.dir, "../../test/truth/namespaces");
const PORT = 6390;

export class Load {
  private constructor(
    private readonly name: string,
    /** The server's address. */
    readonly host: string,
    private readonly server: Subprocess,
  ) {}

  static async start(name = "bench", net = 79): Promise<Load> {
    await $`${namespaces} up ${name} ${net}`.quiet();
    const host = `10.${net}.0.2`;
    const command = ["redis-server", "--port", String(PORT), "--bind", host, "--save", "", "--protected-mode", "no"];
    const server = Bun.spawn(["ip", "netns", "exec", `${name}-server`, ...command], { stdout: "ignore" });
    const load = new Load(name, host, server);
    while ((await load.#client("redis-cli", "ping").nothrow().quiet()).exitCode !== 0) await Bun.sleep(50);
    return load;
  }

  /** @returns requests a second */
  async run(requests: number): Promise<number> {
    const csv = await this.#client("redis-benchmark", "-t", "get", "-n", String(requests), "-c", "50", "--csv").text();
    const rate = Number(/^"GET","([\d.]+)"/m.exec(csv)?.[1]);
    if (!(rate > 0)) throw new Error(`redis-benchmark said: ${csv}`);
    return rate;
  }

  async stop(): Promise<void> {
    this.server.kill();
    await this.server.exited;
    await $`${namespaces} down ${this.name}`.quiet();
  }

  #client(program: string, ...args: string[]) {
    return $`ip netns exec ${this.name}-client ${program} -h ${this.host} -p ${PORT} ${args}`;
  }
}

export const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
