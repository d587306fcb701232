import { type Pod, pods } from "./cluster.ts";
import { createNetwork, removeNetwork } from "./network.ts";
import { Process } from "./process.ts";
import { Redis, type RedisCounts } from "./redis.ts";

/** All programs of the shop, in their pods. */
export class Shop {
  /** Clients first: the order in which they may stop with nothing left unread. */
  programs: Process[] = [];
  #redis!: Redis;

  /** @param folder an empty one of ours, for sockets and logs */
  constructor(readonly folder: string) {}

  async open(): Promise<void> {
    createNetwork();
    this.#redis = await Redis.start(pods.db[0], this.folder);
    const start = async (list: readonly Pod[], file: string, env: Record<string, string>) => {
      const started = list.map((pod) => new Process(pod, file, env));
      this.programs.unshift(...started);
      await Promise.all(started.map((program) => program.ready()));
    };
    await start(pods.api, "api.ts", { DB: pods.db[0].v4 });
    await start(pods.web, "web.ts", { API: pods.api.map((pod) => pod.v6).join() });
    await start(pods.load, "load.ts", { WEB: pods.web.map((pod) => pod.v4).join() });
  }

  /** Runs the cron job, once. */
  async once(): Promise<void> {
    const job = new Process(pods.report[0], "once.ts", { DB: pods.db[0].v6 });
    this.programs.push(job);
    await job.ended();
  }

  /** Drains and ends the programs, clients first, and gives what Redis counted. */
  async drain(): Promise<RedisCounts> {
    for (const program of this.programs) await program.stop();
    return this.#redis.counts();
  }

  /** Ends whatever still runs, and removes the network. */
  close(): void {
    removeNetwork();
  }
}
