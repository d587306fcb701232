import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { RingsideError } from "./errors.ts";
import type { End, Link, LinksReport } from "./serve/links.ts";
import { formatBytes, formatDuration, quantile, rowsOf, tableOf, top } from "./top.ts";

const end = (workload: string, more: Partial<End> = {}): End => ({
  type: "pod",
  namespace: "shop",
  name: `${workload}-1`,
  workload,
  kind: "Deployment",
  ...more,
});

/** All requests took between 2^-11 and 2^-10 s. */
const link = (client: string, server: string, sent: number, requests: number, more: Partial<Link> = {}): Link => ({
  reporter: "server",
  source: end(client),
  destination: end(server),
  service: "",
  port: 8080,
  sent: String(sent),
  received: String(3 * sent),
  requests: String(requests),
  duration_ns: "0",
  buckets: Array.from({ length: 18 }, (_, i) => (i === 4 ? String(requests) : "0")),
  connections: 1,
  active: 1,
  connect_failures: { refused: 0, timed_out: 0, reset: 0, unreachable: 0, other: 0, aborted: 0 },
  resets: 0,
  segments_sent: 0,
  retransmitted_segments: 0,
  rtt_us: { sum: 0, count: 0 },
  connect_us: { sum: 0, count: 0 },
  ...more,
});

const before: LinksReport = { time: 1_000, links: [link("web", "api", 100_000, 10)] };
const now: LinksReport = {
  time: 3_000,
  links: [
    link("once", "api", 1, 0, { reporter: "client", port: 81 }),
    link("web", "api", 123_457, 70, { reporter: "client" }),
    link("web", "api", 123_456, 70),
    link("api", "database-with-a-rather-long-name", 5_000_000, 3, { reporter: "client", port: 6379 }),
  ],
};

test("a wide terminal has all columns", () => {
  expect(tableOf(before, now, 130)).toBe(
    [
      "client     server                                port     sent  received  requests  sent/s  received/s  requests/s     p50     p99",
      "shop/api   shop/database-with-a-rather-long-na…  6379  4.8 MiB    14 MiB         3       -           -           -  732 us  972 us",
      "shop/web   shop/api                              8080  121 KiB   362 KiB        70  11 KiB      34 KiB          30  732 us  972 us",
      "shop/once  shop/api                                81      1 B       3 B         0       -           -           -       -       -",
    ].join("\n"),
  );
});

test("a narrow one goes without rates and cuts names", () => {
  expect(tableOf(before, now, 80)).toBe(
    [
      "client     server              port     sent  received  requests     p50     p99",
      "shop/api   shop/database-wit…  6379  4.8 MiB    14 MiB         3  732 us  972 us",
      "shop/web   shop/api            8080  121 KiB   362 KiB        70  732 us  972 us",
      "shop/once  shop/api              81      1 B       3 B         0       -       -",
    ].join("\n"),
  );
});

test("a low one says how many more there are", () => {
  expect(tableOf(undefined, now, 80, 3)).toBe(
    [
      "client    server               port     sent  received  requests     p50     p99",
      "shop/api  shop/database-with…  6379  4.8 MiB    14 MiB         3  732 us  972 us",
      "and 2 more",
    ].join("\n"),
  );
  expect(tableOf(undefined, now, 80, 4).split("\n")).toHaveLength(4);
});

test("no links", () => {
  expect(tableOf(undefined, { time: 1, links: [] }, 80)).toBe("No links yet.");
});

test("no control character of a name reaches the terminal", () => {
  const table = tableOf(undefined, { time: 1, links: [link("a\x1b[2J\nb", "api", 1, 1)] }, 80);
  expect(table.split("\n")[1]).toStartWith("shop/a?[2J?b  shop/api  8080");
});

test("a counter that began anew has no rate", () => {
  const [, line] = tableOf(now, { ...before, time: 4_000 }, 130).split("\n");
  expect(line).toBe(
    "shop/web  shop/api  8080  98 KiB   293 KiB        10       -           -           -  732 us  972 us",
  );
});

test("a row is the server's, and keeps what the client counted", () => {
  const row = rowsOf(now).find(({ client }) => client === "shop/web");
  expect(row?.shown.sent).toBe(123_456n);
  expect(row?.reporters.client?.sent).toBe(123_457n);
  expect(row?.reporters.server?.sent).toBe(123_456n);
});

test("pods of one workload share a row, another kind of the same name has its own", () => {
  const second = link("web", "api", 1, 1, { destination: end("api", { name: "api-2" }) });
  const service = link("web", "api", 1, 1, { destination: end("api", { type: "service", kind: "Service" }) });
  expect(rowsOf({ time: 1, links: [link("web", "api", 1, 1), second, service] }).map((row) => row.shown.sent)).toEqual([
    2n,
    1n,
  ]);
});

test("a node and an external address have no namespace", () => {
  const source = end("external", { type: "external", namespace: "", kind: "External" });
  const destination = end("node-a", { type: "node", namespace: "", kind: "Node" });
  expect(rowsOf({ time: 1, links: [link("x", "y", 1, 1, { source, destination })] })[0]).toMatchObject({
    client: "external",
    server: "node-a",
  });
});

describe("a quantile", () => {
  const buckets = (counts: Record<number, number>) => Array.from({ length: 18 }, (_, i) => counts[i] ?? 0);
  const cases: [string, number[], number, number | undefined][] = [
    ["of nothing", buckets({}), 0.5, undefined],
    ["in the middle of one bucket", buckets({ 14: 10 }), 0.5, 0.75],
    ["at a bucket's upper bound", buckets({ 14: 10 }), 1, 1],
    ["in the first bucket, from 0 on", buckets({ 0: 4 }), 0.5, 2 ** -15],
    ["over two buckets", buckets({ 13: 50, 15: 50 }), 0.75, 1.5],
    ["just below the next bucket", buckets({ 13: 50, 15: 50 }), 0.5, 0.5],
    ["above 4 s", buckets({ 3: 1, 17: 99 }), 0.5, Number.POSITIVE_INFINITY],
  ];
  test.each(cases)("%s", (_, counts, share, seconds) => {
    expect(quantile(counts, share)).toBe(seconds);
  });
});

test("bytes", () => {
  const cases: [number | bigint, string][] = [
    [0, "0 B"],
    [999.6, "1000 B"],
    [1023, "1023 B"],
    [1024, "1.0 KiB"],
    [10_188, "9.9 KiB"],
    [10_189, "10 KiB"],
    [1_048_063, "1023 KiB"],
    [1_048_064, "1.0 MiB"],
    [6_442_450_944n, "6.0 GiB"],
    [2n ** 64n, "16 EiB"],
  ];
  for (const [value, text] of cases) expect(formatBytes(value)).toBe(text);
});

test("durations", () => {
  const cases: [number, string][] = [
    [0, "0 us"],
    [61e-6, "61 us"],
    [999.4e-6, "999 us"],
    [999.5e-6, "1.0 ms"],
    [12.34e-3, "12 ms"],
    [0.9994, "999 ms"],
    [0.9995, "1.0 s"],
    [3.96, "4.0 s"],
  ];
  for (const [value, text] of cases) expect(formatDuration(value)).toBe(text);
});

describe("top", () => {
  let server: Bun.Server<undefined> | undefined;
  const serve = (answer: () => Response) => {
    server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: answer });
    return server.url.href;
  };
  afterEach(() => server?.stop(true));

  test("prints one table", async () => {
    const log = spyOn(console, "log").mockImplementation(() => {});
    try {
      await top({ url: serve(() => Response.json(now)), once: true, interval: 1000 });
      expect(log.mock.calls).toEqual([[tableOf(undefined, now, process.stdout.columns ?? 160)]]);
    } finally {
      log.mockRestore();
    }
  });

  const refused = async (url: string) => top({ url, once: true, interval: 1000 }).then(() => "", String);
  test("says which agent does not answer, and what to do", async () => {
    const url = serve(() => new Response());
    await server?.stop(true);
    expect(await refused(url)).toBe(
      `RingsideError: cannot read the links of an agent: ${url}: nothing listens there. ` +
        "Start an agent with `ringside run`, or give the address of one with --url.",
    );
  });
  test("says why the agents of a Service may have no pods", async () => {
    // As `helm test` asks, in a namespace where none may run.
    expect(await refused("http://ringside.ringside.svc:12020")).toEndWith(
      "See `kubectl describe daemonset`: at another Pod Security level than privileged the agents get no pods; " +
        "and `kubectl logs -c check`.",
    );
  });
  test("says that something else answers", async () => {
    expect(await refused(serve(() => new Response("no", { status: 404 })))).toContain(
      ": the answer is 404 Not Found. ",
    );
    expect(await refused(serve(() => Response.json([])))).toContain(": the answer has no links. ");
    expect(await refused(serve(() => new Response("<html>")))).toContain(
      "cannot read the links of an agent: http://127.",
    );
  });
  test("is a RingsideError for no URL at all", () => {
    expect(top({ url: "nowhere", once: true, interval: 1000 })).rejects.toBeInstanceOf(RingsideError);
  });
});
