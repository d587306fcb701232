/** What the agent serves: /metrics, /healthz, /readyz, /api/links. */
import type { Address } from "../config.ts";
import type { Core } from "../core/core.ts";
import { RingsideError } from "../errors.ts";
import { linksReport } from "./links.ts";
import type { SelfMetrics } from "./metrics.ts";
import type { Scrapers } from "./scrapers.ts";

const TEXT = "text/plain; version=0.0.4; charset=utf-8";

export interface Parts {
  core: Core;
  metrics: SelfMetrics;
  scrapers: Scrapers;
  /** Boot time in ns. */
  now: () => bigint;
}

export interface Server {
  url: string;
  /** From now on /readyz answers 200. */
  ready(): void;
  /** Takes no more requests, and waits for those under way. */
  stop(): Promise<void>;
}

/** @throws RingsideError where the address cannot be had */
export function serve(address: Address, { core, metrics, scrapers, now }: Parts): Server {
  let isReady = false;

  async function scrape(request: Request, from: string): Promise<Response> {
    const started = now();
    const scraper = `${from} ${request.headers.get("user-agent") ?? ""}`;
    // A copy: the view ends with the core's next call.
    const links = core.render(started, scrapers.watermark(started)).slice();
    const body = Buffer.concat([links, Buffer.from(await metrics.text())]);
    if (!request.signal.aborted) scrapers.completed(scraper, started);
    return new Response(body, { headers: { "content-type": TEXT } });
  }

  const text = (status: number, body: string): Response => new Response(`${body}\n`, { status });

  let server: Bun.Server<undefined>;
  try {
    server = Bun.serve({
      hostname: address.hostname,
      port: address.port,
      development: false,
      fetch(request, server) {
        if (request.method !== "GET" && request.method !== "HEAD") return text(405, "only GET is served");
        switch (new URL(request.url).pathname) {
          case "/metrics":
            return scrape(request, server.requestIP(request)?.address ?? "");
          case "/healthz":
            return text(200, "ok");
          case "/readyz":
            return isReady ? text(200, "ready") : text(503, "not attached yet, or still without names");
          case "/api/links":
            return Response.json(linksReport(core.links()));
          default:
            return text(404, "there are /metrics, /healthz, /readyz and /api/links");
        }
      },
      error: (error) => text(500, error.message),
    });
  } catch (cause) {
    throw new RingsideError(
      "listen",
      `${address.hostname}:${address.port}`,
      "Choose an address of this machine and a free port with --listen.",
      { cause: (cause as NodeJS.ErrnoException).code === "EADDRINUSE" ? "it is taken" : cause },
    );
  }
  return {
    url: server.url.href,
    ready: () => {
      isReady = true;
    },
    stop: () => server.stop(),
  };
}
