import type { LinksReport } from "../../src/serve/links.ts";
import { tableOf } from "../../src/top.ts";
import type { Agent } from "./agent.ts";
import { tenant } from "./cluster.ts";
import { type Scrape, sum } from "./exposition.ts";
import { flowsOf } from "./flows.ts";
import { footer } from "./footer.ts";
import type { Shop } from "./shop.ts";

/** What one second brings: a scrape, the links, and what the agent has used by then. */
export type Tick = Scrape & { links: LinksReport } & ReturnType<Agent["usage"]>;

/** Looks at the agent once a second, as Prometheus would, and draws the screen. */
export class Watch {
  /** Of the last minute. */
  ticks: Tick[] = [];
  #over: { time: number; recent: Tick[] } | undefined;

  constructor(
    readonly agent: Agent,
    readonly shop: Shop,
    readonly onTick: (screen: string) => void,
  ) {}

  /** @throws {RingsideError} where the agent does not answer; else it never ends */
  async run(): Promise<never> {
    for (let next = performance.now() + 1000; ; next += 1000) {
      const tick = { ...(await this.agent.scrape()), links: await this.agent.links(), ...this.agent.usage() };
      this.ticks = [...this.ticks.slice(-59), tick];
      this.onTick(this.screen());
      await Bun.sleep(Math.max(0, next - performance.now()));
    }
  }

  /** The table of links and the footer, with colours. */
  screen(): string {
    const recent = this.#over?.recent ?? this.#recent();
    const now = this.ticks.at(-1)!.links;
    const shown = { links: linksOf(now), time: this.#over?.time ?? now.time };
    const table = tableOf(recent[0]!.links, shown, process.stdout.columns || 110).replace(/.*/, "\x1b[1m$&\x1b[0m");
    const flows = flowsOf(this.shop.programs);
    return `${table}\n\n${footer(flows, this.ticks, recent, this.#over !== undefined, this.agent.url)}`;
  }

  /** The traffic is over: from now on the screen tells the rates that it had. */
  over(): void {
    this.#over = { time: Date.now(), recent: this.#recent() };
  }

  /** Waits until /metrics shows all that is counted and nothing moves any more; for 30 s at most. */
  async settled(): Promise<void> {
    for (let seconds = 0; seconds < 30; seconds++) {
      await Bun.sleep(1000);
      const counted = linksOf(this.ticks.at(-1)!.links).reduce((all, { sent }) => all + Number(sent), 0);
      const shown = this.#recent().map((tick) =>
        sum(tick, "kube_ebpf_link_sent_bytes_total", { source_namespace: tenant }),
      );
      if (shown.every((bytes) => bytes === counted)) return;
    }
  }

  /** Five seconds: longer than anything in the agent waits here. */
  #recent(): Tick[] {
    return this.ticks.slice(-6);
  }
}

/** Those of the shop: the agent counts everything else on this machine, too. */
function linksOf({ links }: LinksReport): LinksReport["links"] {
  return links.filter(({ source }) => source.namespace === tenant);
}
