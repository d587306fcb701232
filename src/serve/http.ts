/** What the agent serves: /metrics, /healthz, /readyz, /api/links. */
import { isDeepStrictEqual } from "node:util";
import type { Address } from "../config.ts";
import type { Core, Form } from "../core/core.ts";
import { RingsideError } from "../errors.ts";
import { contentType, wanted } from "./accept.ts";
import { Exposition } from "./exposition.ts";
import { linksReport } from "./links.ts";
import type { SelfMetrics } from "./metrics.ts";
import type { Scrapers } from "./scrapers.ts";
import { OPEN, type Web } from "./web.ts";

export interface Parts {
  core: Core;
  metrics: SelfMetrics;
  scrapers: Scrapers;
  /** Boot time in ns. */
  now: () => bigint;
  /** TLS, users and headers; OPEN by default. */
  web?: Web;
  /** False where only a new start may help: /healthz answers 503 then. Always true by default. */
  alive?: () => boolean;
}

export interface Server {
  url: string;
  /** From now on /readyz answers 200. */
  ready(): void;
  /** From now on this is asked of clients. @throws RingsideError where it cannot be served; nothing changes then */
  use(web: Web): void;
  /** Takes no more requests, and waits for those under way. */
  stop(): Promise<void>;
}

const text = (status: number, body: string, headers: Record<string, string> = {}): Response =>
  new Response(`${body}\n`, { status, headers });

/** @throws RingsideError where the address cannot be had */
export function serve(address: Address, parts: Parts): Server {
  const { core, metrics, scrapers, now, alive = () => true } = parts;
  let { web = OPEN } = parts;
  let isReady = false;
  const exposition = new Exposition<Form>({
    now,
    async render(form, started) {
      const own = await metrics.render(form);
      const epoch = BigInt(Date.now()) * 1_000_000n - now();
      return core.render(started, scrapers.watermark(started), form, epoch, own);
    },
  });
  metrics.exposition = exposition;

  async function scrape(request: Request, from: string): Promise<Response> {
    const { form, zipped } = wanted(request.headers);
    const headers = {
      "content-type": contentType[form],
      vary: "Accept, Accept-Encoding",
      ...(zipped ? { "content-encoding": "gzip" } : {}),
    };
    if (request.method === "HEAD") return new Response(null, { headers });
    const scraper = `${from} ${request.headers.get("user-agent") ?? ""}`;
    const body = await exposition.read(form, zipped, (started) => scrapers.completed(scraper, started));
    return body ? new Response(body, { headers }) : text(503, "too many slow clients", { "retry-after": "10" });
  }

  async function answer(request: Request, from: string): Promise<Response> {
    // Of a request by HTTP/1.0, the URL is a path alone.
    const { pathname } = new URL(request.url, "http://ringside");
    // A kubelet cannot log in, and these two say nothing of anybody.
    const open = pathname === "/healthz" || pathname === "/readyz";
    const verdict = open || !web.auth ? "admitted" : await web.auth.admits(request.headers.get("authorization"));
    if (verdict === "busy") return text(503, "too many are logging in", { "retry-after": "1" });
    if (verdict === "refused") return text(401, "log in", { "www-authenticate": 'Basic realm="ringside"' });
    if (request.method !== "GET" && request.method !== "HEAD")
      return text(405, "only GET and HEAD are served", { allow: "GET, HEAD" });
    switch (pathname) {
      case "/metrics":
        return scrape(request, from);
      case "/healthz":
        return alive() ? text(200, "ok") : text(503, "the sweep no longer runs");
      case "/readyz":
        return isReady ? text(200, "ready") : text(503, "not attached yet, or still without names");
      case "/api/links":
        return Response.json(linksReport(core.links()));
      default:
        return text(404, "there are /metrics, /healthz, /readyz and /api/links");
    }
  }

  const listen = (port: number, tls: Bun.TLSOptions | undefined): Bun.Server<undefined> => {
    try {
      return Bun.serve({
        hostname: address.hostname,
        port,
        development: false,
        // Seconds; a client that neither sends nor reads is cut off.
        idleTimeout: 10,
        ...(tls ? { tls } : {}),
        async fetch(request, server) {
          const response = await answer(request, server.requestIP(request)?.address ?? "");
          for (const [name, value] of Object.entries(web.headers)) response.headers.set(name, value);
          return response;
        },
        error: (error) => text(500, error.message),
      });
    } catch (cause) {
      throw new RingsideError(
        "listen",
        `${address.hostname}:${port}`,
        "Choose an address of this machine and a free port with --listen.",
        { cause: (cause as NodeJS.ErrnoException).code === "EADDRINUSE" ? "it is taken" : cause },
      );
    }
  };

  let server = listen(address.port, web.tls);
  const port = server.port ?? address.port;
  /** Servers that no longer listen, with the requests that they still answer. */
  const leaving = new Set<Promise<void>>();
  const leave = (old: Bun.Server<undefined>): void => {
    const left = old.stop().finally(() => leaving.delete(left));
    leaving.add(left);
  };
  return {
    get url() {
      return server.url.href;
    },
    ready: () => {
      isReady = true;
    },
    use: (next) => {
      if (!isDeepStrictEqual(next.tls, web.tls)) {
        // Bun has no other way to change a certificate. Nobody can ask between these two lines.
        leave(server);
        try {
          server = listen(port, next.tls);
        } catch (error) {
          server = listen(port, web.tls);
          throw error;
        }
      }
      web = next;
    },
    stop: async () => {
      leave(server);
      await Promise.all(leaving);
    },
  };
}
