import type { Snapshot } from "../../src/top.ts";
import { tableOf } from "../../src/top.ts";
import type { Agent } from "./agent.ts";
import { tenant } from "./cluster.ts";
import { type Scrape, sum } from "./exposition.ts";
import { flowsOf } from "./flows.ts";
import { footer } from "./footer.ts";
import type { Shop } from "./shop.ts";

/** What one second brings: a scrape, and what the agent has used by then. */
export type Tick = Scrape & ReturnType<Agent["usage"]>;

/** Looks at the agent once a second, as Prometheus would, and draws the screen. */
export class Watch {
  readonly ticks: Tick[] = [];
  #links: { before: Snapshot | undefined; now: Snapshot } | undefined;
  #frozen: Tick[] | undefined;

  constructor(
    readonly agent: Agent,
    readonly shop: Shop,
    readonly onTick: (screen: string) => void,
  ) {}

  /** @throws {RingsideError} where the agent does not answer; else it never ends */
  async run(): Promise<never> {
    for (let next = performance.now(); ; next += 1000) {
      this.ticks.push({ ...(await this.agent.scrape()), ...this.agent.usage() });
      this.#links = { before: this.#links?.now, now: await this.agent.links() };
      this.onTick(this.screen());
      await Bun.sleep(Math.max(0, next + 1000 - performance.now()));
    }
  }

  /** The table of links and the footer. */
  screen(): string {
    const { before, now } = this.#links!;
    const links = now.links.filter(({ source, destination }) =>
      [source.namespace, destination.namespace].includes(tenant),
    );
    const table = tableOf(before, { ...now, links }, process.stdout.columns ?? 110);
    return `${table}\n\n${footer(flowsOf(this.shop.programs), this.ticks, this.#frozen ?? this.#recent(), this.agent.url)}`;
  }

  /** From now on the screen tells the rates of the last seconds: the traffic is over. */
  freeze(): void {
    this.#frozen = this.#recent();
  }

  /** Waits until /metrics shows all that is counted and nothing moves any more; for 30 s at most. */
  async settled(): Promise<void> {
    for (let seconds = 0; seconds < 30; seconds++) {
      await Bun.sleep(1000);
      const links = this.#links!.now.links.filter(({ source }) => source.namespace === tenant);
      const counted = links.reduce((all, { sent }) => all + Number(sent), 0);
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
