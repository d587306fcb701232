/** The exposition over real sockets: slow clients, dying ones and many at once. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { gunzipSync } from "node:zlib";
import type { Subprocess } from "bun";
import { address, feed, load, pod, second } from "../core/fixture.ts";
import { Exposition } from "./exposition.ts";
import { type Server, serve } from "./http.ts";
import { SelfMetrics } from "./metrics.ts";
import { Scrapers } from "./scrapers.ts";

let server: Server;
let scrapers: Scrapers;
let metrics: SelfMetrics;
let now: bigint;
let sockets: Socket[];
/** How often the exposition was rendered. */
let asked: number;
let alive: boolean;

beforeEach(async () => {
  const core = await load();
  core.fresh(2n ** 64n - 1n);
  core.assign(address("10.0.0.2"), core.owner(pod("api-1")), 0n);
  // Long names: some 22 MB, more than the kernel's buffers of a connection hold.
  const long = "x".repeat(2000);
  for (let i = 0; i < 2000; i++) {
    const ip = `10.1.${i >> 8}.${i & 255}`;
    core.assign(address(ip), core.owner(pod(`${long}${i}-1`)), 0n);
    feed(core, { id: i + 1, role: "client", local: `${ip}:40000`, remote: "10.0.0.2:80", sent: i });
  }
  core.settle(2n * second, 1);
  scrapers = new Scrapers(0n, 0n);
  metrics = new SelfMetrics(core, undefined);
  now = 10n * second;
  asked = 0;
  const render = core.render.bind(core);
  core.render = (...args) => {
    asked++;
    return render(...args);
  };
  alive = true;
  const parts = { core, metrics, scrapers, now: () => now, alive: () => alive };
  server = serve({ hostname: "127.0.0.1", port: 0 }, parts);
  sockets = [];
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await server.stop();
});

const get = (path: string, init: BunFetchRequestInit = {}): Promise<Response> => fetch(new URL(path, server.url), init);

/** Asks and reads nothing by itself. */
async function ask(head = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"): Promise<Socket> {
  const { port } = new URL(server.url);
  const socket = connect(Number(port), "127.0.0.1");
  socket.on("error", () => {});
  socket.pause();
  sockets.push(socket);
  await new Promise((resolve) => socket.once("connect", resolve));
  socket.write(head);
  return socket;
}

const scrapes = () => metrics.exposition?.counters();

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !what(); i++) await Bun.sleep(20);
  expect(what()).toBe(true);
}

test("zips for whom it is right, with the same content", async () => {
  const plain = await get("/metrics", { headers: { "accept-encoding": "identity" } });
  expect(plain.headers.get("content-encoding")).toBeNull();
  expect(plain.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const links = (text: string) => text.replace(/^ringside_.*\n/gm, "");
  const zipped = await get("/metrics", { headers: { "accept-encoding": "deflate, gzip;q=0.5" }, decompress: false });
  expect(zipped.headers.get("content-encoding")).toBe("gzip");
  expect(links(gunzipSync(await zipped.bytes()).toString())).toBe(links(await plain.text()));
  const refused = await get("/metrics", { headers: { "accept-encoding": "gzip;q=0" }, decompress: false });
  expect(refused.headers.get("content-encoding")).toBeNull();
  await refused.text();
});

test("answers HEAD without a scrape, other methods with 405, other paths with 404, and HTTP/1.0", async () => {
  const head = await get("/metrics", { method: "HEAD" });
  expect([head.status, await head.text()]).toEqual([200, ""]);
  expect(scrapes()).toEqual({ completed: 0, broken: 0, refused: 0 });
  const post = await get("/metrics", { method: "POST", body: "x" });
  expect([post.status, post.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  expect((await get("/metric")).status).toBe(404);
  const socket = await ask("GET /healthz HTTP/1.0\r\n\r\n");
  const answer = await new Promise((resolve) => socket.once("data", (data) => resolve(String(data))).resume());
  expect(answer).toStartWith("HTTP/1.1 200 OK");
});

test("a scrape counts for the watermark once all of it was taken, and not before", async () => {
  const stalled = await ask();
  await Bun.sleep(200);
  expect(scrapers.watermark(now)).toBe(0n);
  stalled.destroy();
  await until(() => scrapes()?.broken === 1);
  expect(scrapers.watermark(now)).toBe(0n);
  await (await get("/metrics")).text();
  expect(scrapers.watermark(now)).toBe(now);
  expect(scrapes()).toEqual({ completed: 1, broken: 1, refused: 0 });
});

test("ten at once have the same moment, and no memory of their own", async () => {
  const size = (await (await get("/metrics", { headers: { "accept-encoding": "identity" } })).bytes()).length;
  expect(size).toBeGreaterThan(15 << 20);
  Bun.gc(true);
  const before = process.memoryUsage.rss();
  for (let i = 0; i < 10; i++) await ask();
  await Bun.sleep(500);
  // One rendering, and what Bun and the kernel take for a connection; ten would be 150 MB and more.
  expect(process.memoryUsage.rss() - before).toBeLessThan(3 * size);
  const answers = sockets.map(async (socket) => {
    const hash = new Bun.CryptoHasher("sha256");
    let tail = "";
    let body = false;
    for await (const data of socket as AsyncIterable<Buffer>) {
      const from = body ? 0 : data.indexOf("\r\n\r\n") + 4;
      body = true;
      hash.update(data.subarray(from));
      tail = (tail + data.toString("latin1")).slice(-5);
      if (tail === "0\r\n\r\n") break;
    }
    return hash.digest("hex");
  });
  expect(new Set(await Promise.all(answers)).size).toBe(1);
  await until(() => scrapes()?.completed === 11);
}, 60_000);

test("slow clients take four renderings at most, keep nobody else from a connection, and are cut off", async () => {
  const slow: Subprocess[] = [];
  for (let i = 1; i <= 4; i++) {
    const url = new URL("/metrics", server.url).href;
    slow.push(Bun.spawn(["curl", "-s", "--limit-rate", "1", url], { stdout: "ignore" }));
    await until(() => asked === i);
    now += 2n * second;
  }
  const refused = await get("/metrics");
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "10"]);
  expect((await get("/healthz")).status).toBe(200);
  expect(scrapes()).toEqual({ completed: 0, broken: 0, refused: 1 });
  await until(() => scrapes()?.broken === 4);
  for (const curl of slow) curl.kill();
  expect((await get("/metrics")).status).toBe(200);
}, 60_000);

test("who hangs up at once leaves no rendering behind", async () => {
  for (let i = 0; i < 30; i++) {
    // Compressing takes a while, in which there is no stream yet that could be cancelled.
    const socket = await ask(
      `GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: ${i % 3 === 0 ? "gzip" : "x"}\r\n\r\n`,
    );
    await Bun.sleep(i % 10);
    if (i % 2 === 0) socket.resetAndDestroy();
    else socket.destroy();
    now += 2n * second;
  }
  await Bun.sleep(500);
  for (let i = 0; i < 5; i++) {
    const answer = await get("/metrics");
    expect(answer.status).toBe(200);
    await answer.text();
    now += 2n * second;
  }
}, 60_000);

test("who reads too slowly, without a pause, is cut off, too", async () => {
  const exposition = new Exposition({ now: () => now, render: async () => new Uint8Array(8 << 20), patience: 100 });
  const body = await exposition.read("any", false, () => {});
  let got = 0;
  const reading = (async () => {
    for await (const piece of body ?? []) {
      got += piece.length;
      await Bun.sleep(20);
    }
  })();
  await expect(reading).rejects.toThrow("the client is too slow");
  expect(got).toBeLessThan(8 << 20);
  expect(exposition.counters()).toEqual({ completed: 0, broken: 1, refused: 0 });
});

test("an error while rendering is told, and leaves no rendering behind", async () => {
  let broken = true;
  const render = () => (broken ? Promise.reject(new Error("no")) : Promise.resolve(new Uint8Array(1)));
  const exposition = new Exposition({ now: () => now, render });
  for (let i = 0; i < 5; i++) await expect(exposition.read("any", false, () => {})).rejects.toThrow("no");
  broken = false;
  expect(await exposition.read("any", false, () => {})).toBeDefined();
});

test("where the sweep has stopped, /healthz says so, and metrics are still served", async () => {
  expect((await get("/healthz")).status).toBe(200);
  alive = false;
  const answer = await get("/healthz");
  expect([answer.status, await answer.text()]).toEqual([503, "the sweep no longer runs\n"]);
  expect((await get("/metrics")).status).toBe(200);
});
