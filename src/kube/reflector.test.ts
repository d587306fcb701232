import { describe, expect, test } from "bun:test";
import { type End, Reflector, type Request, type Resource } from "./reflector.ts";

const PODS: Resource = { name: "pods", type: "pod", apiVersion: "v1", kind: "Pod", path: "/api/v1/pods" };
const SECOND = 1_000_000_000n;

/** Its name is a digit, the last one of its uid. */
const uidOf = (name: string): string => `0b5c2ad0-5a3e-4c4e-9a54-1df5f0b0f0a${name}`;
const pod = (name: string, resourceVersion = "1") => ({
  metadata: { name, namespace: "shop", uid: uidOf(name), resourceVersion },
});
const added = (name: string, version?: string) => ({ type: "ADDED", object: { kind: "Pod", ...pod(name, version) } });
const deleted = (name: string, version?: string) => ({
  type: "DELETED",
  object: { kind: "Pod", ...pod(name, version) },
});
const bookmark = (resourceVersion: string, annotations = {}) => ({
  type: "BOOKMARK",
  object: { kind: "Pod", metadata: { resourceVersion, annotations } },
});
const listEnd = (version: string) => bookmark(version, { "k8s.io/initial-events-end": "true" });
const page = (version: string, next = "") => ({
  kind: "PodList",
  metadata: { resourceVersion: version, continue: next },
});
const refused = (status: number, retryAfter?: number): End => ({ how: "refused", status, retryAfter });
const ENDED: End = { how: "ended" };
const HUNG: End = { how: "hung" };
const BROKEN: End = { how: "broken" };

/** A reflector in virtual time: each step is one of the request under way. */
class History {
  readonly calls: string[] = [];
  time = 0n;
  readonly reflector: Reflector;

  constructor(random = 0.5, jitter = 0) {
    this.reflector = new Reflector(
      PODS,
      {
        upsert: (row) => this.calls.push(`+${row.key.at(-1)}`),
        remove: (key) => this.calls.push(`-${key.at(-1)}`),
        malformed: (name, cause) => this.calls.push(`?${name}: ${cause.message}`),
      },
      () => random,
      jitter,
    );
  }

  /** Begins what is planned, after its delay. */
  begin(): { request: Request; delay: number } {
    const { request, delay } = this.reflector.plan();
    this.time += BigInt(Math.round(delay * 1e6));
    this.reflector.begin(request, this.time);
    return { request, delay };
  }
  after(seconds: number): this {
    this.time += BigInt(Math.round(seconds * 1e9));
    return this;
  }
  events(...events: unknown[]): this {
    for (const event of events) this.reflector.event(event, this.time);
    return this;
  }
  end(end: End): this {
    this.reflector.end(end, this.time);
    return this;
  }
  /** What was told since the last time. */
  told(): string[] {
    return this.calls.splice(0);
  }
  /** Seconds until which all is proven. */
  get proof(): number {
    return Number(this.reflector.counters.proof) / Number(SECOND);
  }
}

/** One that has the pods a and b by a streaming list of version 10, and goes on watching. */
function watching(): History {
  const history = new History();
  history.begin();
  history.events(added("a"), added("b"), listEnd("10"));
  history.told();
  return history;
}

describe("a streaming list", () => {
  test("tells each object as it comes, and goes over into the watch", () => {
    const history = new History();
    expect(history.begin().request).toEqual({ verb: "stream", watchSeconds: 450 });
    history.events(added("a"), added("b"));
    expect(history.told()).toEqual(["+a", "+b"]);
    expect(history.reflector.synced).toBe(false);
    history.events(listEnd("10"), deleted("a", "11"));
    expect(history.told()).toEqual(["-a"]);
    expect(history.reflector.synced).toBe(true);
  });

  test("that breaks off removes nothing, and is asked for again", () => {
    const history = watching();
    history.end(refused(410)).begin();
    history.events(added("c")).end(BROKEN);
    expect(history.told()).toEqual(["+c"]);
    expect(history.begin().request.verb).toBe("stream");
    history.events(added("a"), listEnd("20"));
    expect(history.told()).toEqual(["+a", "-b", "-c"]);
    expect(["a", "b", "c"].map((key) => history.reflector.has(uidOf(key)))).toEqual([true, false, false]);
  });

  for (const status of [400, 422]) {
    test(`that a server refuses with ${status} is not asked for again`, () => {
      const history = new History();
      history.begin();
      history.end(refused(status));
      expect(history.begin()).toEqual({ request: { verb: "page", continue: "" }, delay: 0 });
      history.reflector.page(page("10"), history.time);
      history.end(ENDED);
      expect(history.begin().request.verb).toBe("watch");
      history.end(refused(410));
      expect(history.begin().request.verb).toBe("page");
    });
  }

  test("that a server takes for a plain watch is not waited for", () => {
    const history = new History();
    history.begin();
    history.events(added("a"));
    const end = history.reflector.event(bookmark("10"), history.time);
    expect(end).toEqual(ENDED);
    history.end(ENDED);
    expect(history.begin().request.verb).toBe("page");
  });

  test("counts what is deleted while it comes", () => {
    const history = watching();
    history.end(refused(410)).begin();
    history.events(added("a"), added("b"), deleted("b"), listEnd("20"));
    expect(history.told()).toEqual(["+a", "+b", "-b"]);
    expect(history.reflector.has(uidOf("b"))).toBe(false);
  });
});

describe("a paged list", () => {
  function paging(): History {
    const history = new History();
    history.begin();
    history.end(refused(422)).begin();
    history.reflector.item(pod("a"));
    history.reflector.page(page("10", "next"), history.time);
    history.end(ENDED);
    return history;
  }

  test("comes page by page, and a watch goes on from its version", () => {
    const history = paging();
    expect(history.begin()).toEqual({ request: { verb: "page", continue: "next" }, delay: 0 });
    history.reflector.item(pod("b"));
    history.reflector.page(page("10"), history.time);
    history.end(ENDED);
    expect(history.begin().request).toEqual({ verb: "watch", resourceVersion: "10", watchSeconds: 450 });
    expect(history.told()).toEqual(["+a", "+b"]);
  });

  test("asks for a page again that broke off", () => {
    const history = paging();
    history.begin();
    history.end(BROKEN);
    expect(history.begin().request).toEqual({ verb: "page", continue: "next" });
  });

  test("begins anew where its place has expired", () => {
    const history = paging();
    history.begin();
    history.end(refused(410));
    expect(history.begin().request).toEqual({ verb: "page", continue: "" });
    history.reflector.page(page("30"), history.time);
    expect(history.told()).toEqual(["+a", "-a"]);
    expect(history.reflector.counters.restarts.expired).toBe(1);
  });

  test("that ends before its own fields is no list", () => {
    const history = paging();
    history.begin();
    history.reflector.item(pod("b"));
    history.end(ENDED);
    expect(history.begin().request.verb).toBe("page");
    expect(history.reflector.synced).toBe(false);
  });

  test("of another kind is refused", () => {
    const history = paging();
    history.begin();
    const other = () => history.reflector.page({ kind: "Status", metadata: { resourceVersion: "1" } }, 0n);
    expect(other).toThrow("it is no PodList");
  });
});

describe("a watch", () => {
  test("goes on where it was, without a list", () => {
    const history = watching().events(added("c", "12")).after(300).end(ENDED);
    expect(history.begin()).toEqual({ request: { verb: "watch", resourceVersion: "12", watchSeconds: 450 }, delay: 0 });
    expect(history.reflector.counters.restarts.ended).toBe(1);
    history.events(bookmark("15")).after(300).end(BROKEN);
    expect(history.begin().request).toMatchObject({ verb: "watch", resourceVersion: "15" });
  });

  test("of a version that is too old is listed anew; nothing is dropped meanwhile", () => {
    const history = watching();
    const end = history.reflector.event({ type: "ERROR", object: { kind: "Status", code: 410 } }, history.time);
    expect(end).toEqual(refused(410));
    history.end(refused(410));
    expect(history.told()).toEqual([]);
    expect(history.begin().request.verb).toBe("stream");
    history.events(added("b"), added("c"));
    expect(history.told()).toEqual(["+b", "+c"]);
    history.events(listEnd("30"));
    expect(history.told()).toEqual(["-a"]);
  });

  test("that hangs is begun again, and listed anew after the second time", () => {
    const history = watching().after(200).end(HUNG);
    expect(history.begin().request.verb).toBe("watch");
    history.after(200).end(HUNG);
    expect(history.begin().request.verb).toBe("stream");
    expect(history.reflector.counters.restarts.hung).toBe(2);
  });

  test("may be silent for all of its time, which it is asked to end itself; a list may not", () => {
    const history = new History();
    history.begin();
    expect(history.reflector.patience).toBe(60_000);
    history.events(listEnd("10"));
    expect(history.reflector.patience).toBeUndefined();
    history.end(BROKEN);
    expect(history.reflector.plan()).toMatchObject({ request: { watchSeconds: 450 }, timeout: 480_000 });
  });

  test("passes over what it does not understand, and keeps what it knew of it", () => {
    const history = watching();
    const broken = { kind: "Pod", ...pod("a", "12"), spec: { nodeName: 7 } };
    history.events({ type: "MODIFIED", object: broken }, { type: "NEWS", object: {} }, null, added("c", "13"));
    history.events({ type: "ADDED", object: { kind: "Service", ...pod("d", "14") } });
    expect(history.told()).toEqual([
      "?shop/a: nodeName must be a text, and is 7",
      "?an event: type must be ADDED, MODIFIED, DELETED, BOOKMARK or ERROR",
      "?an event: type must be ADDED, MODIFIED, DELETED, BOOKMARK or ERROR",
      "+c",
      "?shop/d: it is no Pod",
    ]);
    expect(history.reflector.counters.malformed).toBe(4);
    history.end(refused(410)).begin();
    history.events({ type: "ADDED", object: broken }, listEnd("20"));
    expect(history.told().slice(1)).toEqual(["-b", "-c"]);
  });
});

describe("waits", () => {
  test("longer after each failure, at most half a minute, never the same", () => {
    const delays = (random: number) => {
      const history = new History(random);
      return Array.from({ length: 9 }, () => {
        history.begin();
        history.end(BROKEN);
        return history.reflector.plan().delay;
      });
    };
    expect(delays(0)).toEqual([250, 500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
    expect(delays(1)).toEqual([500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  });

  test("as long as the server asks, and not longer than five minutes", () => {
    const history = new History(0);
    history.begin();
    history.end(refused(429, 7000));
    expect(history.reflector.plan().delay).toBe(7000);
    history.begin();
    history.end(refused(503, 1e12));
    expect(history.reflector.plan().delay).toBe(300_000);
  });

  test("not at all after a watch that has lived, and longer after each that has not", () => {
    const history = watching().after(6).end(ENDED);
    expect(history.begin().delay).toBe(0);
    history.events(bookmark("11")).end(ENDED);
    expect(history.begin().delay).toBe(375);
    history.events(bookmark("12")).end(ENDED);
    expect(history.begin().delay).toBe(750);
    history.events(bookmark("13")).after(6).end(BROKEN);
    expect(history.begin().delay).toBe(375);
  });

  test("before a list that would only expire again", () => {
    const history = watching().after(6).end(refused(410));
    for (const delay of [375, 750, 1500]) {
      expect(history.begin().delay).toBe(delay);
      history.events(listEnd("20")).end(refused(410));
    }
  });

  test("before its first request, at random", () => {
    expect(new History(0.25, 2000).reflector.plan().delay).toBe(500);
  });
});

describe("names are proven", () => {
  test("by a list until it was asked for, by a bookmark until now", () => {
    const history = new History().after(100);
    history.begin();
    history.after(3).events(added("a"));
    expect(history.reflector.counters.proof).toBeUndefined();
    history.events(listEnd("10"));
    expect(history.proof).toBe(100);
    // This one may have waited at the server while the list came.
    history.after(10).events(added("b", "11"));
    expect(history.proof).toBe(110);
    history.after(10).events(bookmark("12"));
    expect(history.proof).toBe(123);
    history.after(10).events(added("c", "13"));
    expect(history.proof).toBe(133);
  });

  test("after a time without a watch not by the first events, which are old, but by the first bookmark", () => {
    const history = new History().after(100);
    history.begin();
    history.events(listEnd("10"), bookmark("10")).end(BROKEN);
    history.after(3600 - 0.375);
    history.begin();
    history.events(added("a", "11"));
    expect(history.proof).toBe(100);
    history.after(5).events(added("b", "12"));
    expect(history.proof).toBe(105);
    history.after(1).events(bookmark("13"));
    expect(history.proof).toBe(3706);
  });

  test("by a watch that ends in time", () => {
    const history = new History().after(100);
    history.begin();
    history.events(listEnd("10"), bookmark("10")).after(300).end(ENDED);
    expect(history.proof).toBe(400);
  });

  test("by no request that hung or broke off", () => {
    for (const end of [HUNG, BROKEN, refused(500)]) {
      const history = new History().after(100);
      history.begin();
      history.events(listEnd("10"), bookmark("10")).after(300).end(end);
      expect(history.proof).toBe(100);
    }
  });
});
