import { type Snapshot, tableOf } from "../../src/top.ts";
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
  #links: { first: Snapshot; before: Snapshot | undefined; now: Snapshot } | undefined;
  #frozen: { ticks: Tick[]; time: number } | undefined;

  constructor(
    readonly agent: Agent,
    readonly shop: Shop,
    readonly onTick: (screen: string) => void,
  ) {}

  /** @throws {RingsideError} where the agent does not answer; else it never ends */
  async run(): Promise<never> {
    for (let next = performance.now(); ; next += 1000) {
      this.ticks.push({ ...(await this.agent.scrape()), ...this.agent.usage() });
      const now = await this.agent.links();
      this.#links = { first: this.#links?.first ?? now, before: this.#links?.now, now };
      this.onTick(this.screen());
      await Bun.sleep(Math.max(0, next + 1000 - performance.now()));
    }
  }

  /** The table of links and the footer, with colours. */
  screen(): string {
    const { first, before, now } = this.#links!;
    const links = now.links.filter(({ source, destination }) =>
      [source.namespace, destination.namespace].includes(tenant),
    );
    const width = process.stdout.columns || 110;
    // Once it is over, the rates of the whole traffic.
    const table = this.#frozen
      ? tableOf(first, { links, time: this.#frozen.time }, width)
      : tableOf(before, { links, time: now.time }, width);
    const below = footer(
      flowsOf(this.shop.programs),
      this.ticks,
      this.#frozen?.ticks ?? this.#recent(),
      this.agent.url,
    );
    return `${table.replace(/.*/, "\x1b[1m$&\x1b[0m")}\n\n${below}`;
  }

  /** The traffic is over: from now on the screen tells the rates that it had. */
  freeze(): void {
    this.#frozen = { ticks: this.#recent(), time: Date.now() };
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
