/**
 * What a server may do that the real one of the api tier does not: this one is a mock, for it must lie, stall and be
 * slow to the byte. All else is tested against a real API server, in test/api.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { RingsideError } from "../errors.ts";
import { ApiClient } from "./client.ts";
import { Reflector, type Resource } from "./reflector.ts";
import { Stream } from "./stream.ts";

const PODS: Resource = { name: "pods", type: "pod", apiVersion: "v1", kind: "Pod", path: "/api/v1/pods" };

type Answer = (request: Request) => Response | Promise<Response>;

let server: Bun.Server<undefined>;
/** One for each request; the last one answers all further ones. */
let answers: Answer[] = [];
let requests: { at: number; url: URL; headers: Headers }[] = [];
let stop = new AbortController();

beforeAll(() => {
  server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    fetch: (request) => {
      requests.push({ at: performance.now(), url: new URL(request.url), headers: request.headers });
      const [answer] = answers.length > 1 ? answers.splice(0, 1) : answers;
      return answer!(request);
    },
  });
});
afterAll(() => server.stop(true));
afterEach(() => stop.abort());

interface Running {
  calls: string[];
  errors: RingsideError[];
  reflector: Reflector;
  stream: Stream;
  until(isSo: () => boolean): Promise<void>;
}

function run(list: Answer[], options: { patience?: number; fault?: string } = {}): Running {
  answers = list;
  requests = [];
  stop = new AbortController();
  const calls: string[] = [];
  const errors: RingsideError[] = [];
  const listener = {
    upsert: ({ key }: { key: string }) => {
      if (key === options.fault) throw new TypeError("a fault of our own");
      calls.push(`+${key}`);
    },
    remove: (key: string) => void calls.push(`-${key}`),
    malformed: (name: string, cause: Error) => void calls.push(`?${name}: ${cause.message}`),
  };
  const reflector = new Reflector(PODS, listener, () => 0, 0);
  const stream = new Stream({
    client: new ApiClient({
      server: `http://127.0.0.1:${server.port}`,
      credentials: async () => ({ headers: { authorization: "Bearer secret" }, tls: {} }),
    }),
    resource: PODS,
    reflector,
    now: () => process.hrtime.bigint(),
    onError: (error) => errors.push(error),
    onWell: () => calls.push("well"),
    onChange: () => {},
    ...(options.patience === undefined ? {} : { patience: options.patience }),
  });
  void stream.run(stop.signal);
  const until = async (isSo: () => boolean) => {
    for (let tries = 0; !isSo(); tries++) {
      if (tries > 1000) throw new Error(`it did not come: ${calls} ${errors}`);
      await Bun.sleep(5);
    }
  };
  return { calls, errors, reflector, stream, until };
}

const pod = (name: string, more = {}) => ({
  kind: "Pod",
  metadata: { name, namespace: "n", uid: name, resourceVersion: "5", ...more },
});
const line = (type: string, object: unknown) => `${JSON.stringify({ type, object })}\n`;
const LIST_END = line("BOOKMARK", {
  metadata: { resourceVersion: "9", annotations: { "k8s.io/initial-events-end": "true" } },
});

/** Sends these, and then nothing more. */
const open =
  (...parts: (string | Uint8Array)[]): Answer =>
  () =>
    new Response(
      new ReadableStream({
        start(controller) {
          for (const part of parts)
            controller.enqueue(typeof part === "string" ? new TextEncoder().encode(part) : part);
        },
      }),
    );
const whole =
  (text: string): Answer =>
  () =>
    new Response(text);
const status =
  (code: number, headers = {}, body = ""): Answer =>
  () =>
    new Response(body, { status: code, headers });

describe("a server that", () => {
  test("is slow, to the byte, is waited for", async () => {
    const text = new TextEncoder().encode(line("ADDED", pod("a")) + LIST_END);
    const { calls, reflector, until } = run([
      () =>
        new Response(
          new ReadableStream({
            async pull(controller) {
              for (const byte of text) {
                controller.enqueue(Uint8Array.of(byte));
                await Bun.sleep(0);
              }
              await new Promise(() => {});
            },
          }),
        ),
    ]);
    await until(() => reflector.synced);
    expect(calls).toEqual(["+a"]);
  });

  test("compresses is understood", async () => {
    const body = Bun.gzipSync(line("ADDED", pod("a")) + LIST_END);
    const headers = { "content-encoding": "gzip" };
    const { calls, until } = run([() => new Response(body, { headers }), open()]);
    await until(() => requests.length === 2);
    expect(requests[0]?.headers.get("accept-encoding")).toContain("gzip");
    expect(calls).toEqual(["+a"]);
  });

  test("says garbage in a watch is understood where it can be", async () => {
    const deep = `${"[".repeat(100_000)}\n`;
    const { calls, reflector, until } = run([
      open(
        line("ADDED", pod("a")),
        "no JSON\n",
        "\n",
        "[]\n",
        "7\n",
        '"\\u0000"\n',
        deep,
        `{"type":"ADDED"}\n`,
        line("ADDED", pod("b")),
        LIST_END,
      ),
    ]);
    await until(() => reflector.synced);
    expect(calls.filter((call) => !call.startsWith("?"))).toEqual(["+a", "+b"]);
    expect(reflector.counters.malformed).toBe(6);
  });

  test("sends an object with an annotation of 10 MB is understood in all else", async () => {
    const large = pod("large", { annotations: { note: "x".repeat(10 << 20) } });
    const { calls, reflector, until } = run([
      open(line("ADDED", pod("a")), line("ADDED", large), line("ADDED", pod("b")), LIST_END),
    ]);
    await until(() => reflector.synced);
    expect(calls).toEqual(["+a", "?an event: it is larger than 8 MiB", "+b"]);
  });

  test("breaks off in the middle of an event is asked again, from the last whole one on", async () => {
    const half = line("ADDED", pod("b")).slice(0, 50);
    const { calls, errors, until } = run([
      whole(line("ADDED", pod("a")) + LIST_END),
      whole(line("MODIFIED", pod("a", { resourceVersion: "12" })) + half),
      open(line("BOOKMARK", { metadata: { resourceVersion: "13" } })),
    ]);
    await until(() => requests.length === 3 && calls.length === 3);
    expect(calls).toEqual(["+a", "+a", "well"]);
    expect(errors.map(({ message }) => message)).toEqual([
      "cannot watch pods: its answer: it ends in the middle of an event. It is asked again.",
    ]);
    expect(requests[2]?.url.searchParams.get("resourceVersion")).toBe("12");
  });

  test("breaks off in the middle of a page is asked again, and what is not there is not removed", async () => {
    const list = JSON.stringify({ kind: "PodList", items: [pod("a"), pod("b")], metadata: { resourceVersion: "9" } });
    const { calls, errors, reflector, until } = run([
      status(422),
      whole(list.slice(0, 120)),
      whole(""),
      whole(list),
      open(),
    ]);
    await until(() => reflector.synced && requests.length === 5);
    expect(calls.filter((call) => call !== "well")).toEqual(["+a", "+a", "+b"]);
    expect(errors[0]?.message).toStartWith("cannot list pods: its answer: ");
    expect(reflector.counters.restarts.error).toBe(2);
  });

  test("has enough (429) is left alone for as long as it asks", async () => {
    const enough = status(429, { "retry-after": "1" });
    const { errors, stream, until } = run([enough, enough, open(LIST_END)]);
    await until(() => errors.length === 1);
    stream.wake();
    await until(() => requests.length === 3);
    expect([...stream.counters.errors]).toEqual([["429", 2]]); // and is told once
    expect(requests[1]!.at - requests[0]!.at).toBeGreaterThanOrEqual(1000);
    expect(errors.map(({ message }) => message)).toEqual([
      `cannot watch pods: http://127.0.0.1:${server.port} answers 429. It is asked again later.`,
    ]);
  });

  const silence: Answer = () => new Promise(() => {});

  test("is back, as others have seen, is asked at once", async () => {
    const { reflector, stream, until } = run([silence], { patience: 50 });
    await until(() => reflector.plan().delay === 1000);
    const count = requests.length;
    stream.wake();
    await until(() => requests.length > count);
    expect(requests.at(-1)!.at - requests.at(-2)!.at).toBeLessThan(1000);
    // Also where others see it while a request is under way that comes too early.
    stream.wake();
    await until(() => requests.length > count + 1);
    expect(requests.at(-1)!.at - requests.at(-2)!.at).toBeLessThan(1000);
  });

  test("answers, but not as it should, is not asked the sooner for others", async () => {
    const { reflector, stream, until } = run([status(422), whole("half")]);
    await until(() => reflector.plan().delay === 1000);
    const count = requests.length;
    stream.wake();
    await until(() => requests.length > count);
    expect(requests.at(-1)!.at - requests.at(-2)!.at).toBeGreaterThanOrEqual(1000);
  });

  test("says nothing any more is left", async () => {
    const { calls, errors, reflector, until } = run([open(line("ADDED", pod("a")) + LIST_END), open()], {
      patience: 100,
    });
    await until(() => reflector.counters.restarts.hung >= 2);
    expect(calls.filter((call) => call !== "well")).toEqual(["+a"]);
    expect(errors.map(({ object }) => object)).toContain("nothing came any more");
  });

  test("sends us elsewhere gets no token there", async () => {
    const { errors, until } = run([status(302, { location: `http://127.0.0.1:${server.port}/other` })]);
    await until(() => errors.length > 0);
    expect(errors[0]?.message).toContain(" answers 302");
    expect(requests.map(({ url }) => url.pathname)).not.toContain("/other");
  });

  test("says much as it refuses is quoted in part, and in ASCII", async () => {
    const message = (times: number) => JSON.stringify({ message: `\u001b[31m\n${"no ".repeat(times)}` });
    const { errors, until } = run([status(500, {}, message(200)), status(503, {}, message(100_000))]);
    await until(() => errors.length === 2);
    expect(errors.map(({ object }) => object.replace(/(no )+(n|no)?\)$/, "..."))).toEqual([
      `http://127.0.0.1:${server.port} answers 500 ([31m ...`,
      `http://127.0.0.1:${server.port} answers 503 ({"message":"\\u001b[31m\\n...`,
    ]);
    expect(Math.max(...errors.map(({ object }) => object.length))).toBeLessThan(350);
  });
});

test("a fault of our own at one object is told and counted, and the others go on", async () => {
  const events = ["a", "b", "c"].map((name) => line("ADDED", pod(name))).join("");
  const { calls, errors, stream, reflector, until } = run([open(events + LIST_END)], { fault: "b" });
  await until(() => reflector.synced);
  expect(calls).toEqual(["+a", "+c"]);
  expect(stream.counters.faults).toBe(1);
  expect(errors.map(({ message }) => message)).toEqual([
    "cannot take in pods: n/b: a fault of our own. This is a fault of Ringside: please report it. The other objects are not concerned.",
  ]);
});
