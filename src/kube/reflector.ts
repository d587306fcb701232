import { Keys } from "./keys.ts";
import { keyOf, Malformed, nameOf, parse, type Row } from "./parse.ts";
import { grown } from "./table.ts";

/** What is listed and watched: the objects of one kind, all or some. */
export interface Resource {
  /** What logs and metrics call it. */
  name: string;
  type: Row["type"];
  /** Of its items, as the API spells them. */
  apiVersion: string;
  kind: string;
  /** Of its URL, without the server: "/api/v1/pods". */
  path: string;
  fieldSelector?: string;
}

/** What to ask the API server for. */
export type Request =
  /** A watch that begins with all objects there are, and says where they end. */
  | { verb: "stream"; watchSeconds: number }
  /** A part of a list; "" is its first. */
  | { verb: "page"; continue: string }
  /** The changes since then. */
  | { verb: "watch"; resourceVersion: string; watchSeconds: number };

export interface Plan {
  request: Request;
  /** Milliseconds to wait before it. */
  delay: number;
  /** Milliseconds that it may take in all. Watches are asked to end before. */
  timeout: number;
}

/** How a request came to its end. */
export type End =
  /** The server said all that it wanted to say. */
  | { how: "ended" }
  /** Nothing came any more. */
  | { how: "hung" }
  /** The server answered, or its stream said, this HTTP status. */
  | { how: "refused"; status: number; retryAfter?: number | undefined }
  /** The network failed, or the answer is none. */
  | { how: "broken" };

export type Restart = "expired" | "ended" | "hung" | "error";

/** Whoever keeps the rows. */
export interface Rows {
  upsert(row: Row): void;
  remove(key: string): void;
}

export interface Listener extends Rows {
  /** An object is not what it should be. What was known of it stays. */
  malformed(name: string, cause: Malformed): void;
}

export interface ReflectorCounters {
  /** Whole lists taken. */
  syncs: number;
  events: Record<"added" | "modified" | "deleted" | "bookmark", number>;
  /** Objects and events that were not understood. */
  malformed: number;
  restarts: Record<Restart, number>;
  /** All changes until then have been told: boot time in ns; undefined before the first list. */
  proof: bigint | undefined;
}

/** Fields of the messages; none is trusted. */
type Fields = Record<string, unknown>;

/** Watches end by themselves after 5 to 10 minutes, each at another time: their servers change, and load spreads. */
const WATCH_SECONDS = 300;
/** After its time, a watch is waited for so long. */
const SLACK = 30_000;
/** Until the first byte, and between two of a list. */
const LIST_PATIENCE = 60_000;
const PAGE_TIMEOUT = 300_000;
const BACK_OFF = 500;
const MOST_BACK_OFF = 30_000;
/** A longer pause is not taken from any server. */
const MOST_RETRY_AFTER = 300_000;
/** A request that lived so long, and said something, was none of the failures in a row. */
const LIVED = 5_000_000_000n;
/** Longest texts that a server may give us to give back: a resource version, a place in a list. */
const LONGEST_VERSION = 64;
const LONGEST_CONTINUE = 4096;

/**
 * Keeps the rows of one resource like the API server's: decides what to ask for next, and what each answer means. It
 * does no input or output and knows no clock: times are boot time in ns, and whoever asks it asks in order.
 *
 * Names are never dropped for want of news. Only a DELETED event or a whole list that does not have the object removes
 * it; a list that breaks off adds what it had told, and removes nothing.
 */
export class Reflector {
  readonly counters: ReflectorCounters = {
    syncs: 0,
    events: { added: 0, modified: 0, deleted: 0, bookmark: 0 },
    malformed: 0,
    restarts: { expired: 0, ended: 0, hung: 0, error: 0 },
    proof: undefined,
  };

  private readonly known = new Keys();
  /** By a known object's number, the last list that had it. */
  private seen = new Uint32Array();
  /** This server has streaming lists, as far as we know. */
  private streams = true;
  /** Where a watch goes on; undefined: list first. */
  private resourceVersion: string | undefined;
  /** Lists that were begun. */
  private lists = 0;
  /** While a list comes: when it was asked for, which is when it is true, and its next page. */
  private list: { since: bigint; continue: string } | undefined;

  private delay: number;
  private failures = 0;
  /** Requests in a row that hung. */
  private hangs = 0;

  private running: Request | undefined;
  private beganAt = 0n;
  /** Something that we understood has come in this request. */
  private heard = false;
  /** How long before its arrival an event may have happened: those of a time without a watch arrive all at once. */
  private lag = 0n;

  /**
   * @param random from 0 to 1, as Math.random
   * @param jitter milliseconds; the first request waits so long at most
   */
  constructor(
    private readonly resource: Resource,
    private readonly listener: Listener,
    private readonly random: () => number,
    jitter: number,
  ) {
    this.delay = jitter * random();
  }

  /** All objects that there were at some time are known. */
  get synced(): boolean {
    return this.counters.syncs > 0;
  }

  has(key: string): boolean {
    return this.known.find(key) !== undefined;
  }

  /**
   * Milliseconds without a byte after which the request has hung. A watch may be silent for all of its time, for
   * bookmarks come only while etcd moves on: there the kernel's keepalive notices a peer that is gone (Bun sets it: 70 s),
   * and the request's own time what is left.
   */
  get patience(): number | undefined {
    return this.isListing ? LIST_PATIENCE : undefined;
  }

  /** A list comes. */
  get isListing(): boolean {
    return this.list !== undefined;
  }

  /** What comes next. */
  plan(): Plan {
    const { delay, resourceVersion } = this;
    const watchSeconds = Math.floor(WATCH_SECONDS * (1 + this.random()));
    const timeout = watchSeconds * 1000 + SLACK;
    if (resourceVersion !== undefined)
      return { request: { verb: "watch", resourceVersion, watchSeconds }, delay, timeout };
    if (this.streams) return { request: { verb: "stream", watchSeconds }, delay, timeout };
    return { request: { verb: "page", continue: this.list?.continue ?? "" }, delay, timeout: PAGE_TIMEOUT };
  }

  /** The request goes out. */
  begin(request: Request, at: bigint): void {
    this.running = request;
    this.beganAt = at;
    this.heard = false;
    if (request.verb === "watch") this.lag = at - (this.counters.proof ?? at);
    else if (request.verb === "stream" || request.continue === "") {
      this.lists++;
      this.list = { since: at, continue: "" };
    }
  }

  /** An item of a page. */
  item(item: unknown): void {
    this.take(item);
  }

  /** A page's own fields, after its items. @throws {Malformed} where it is no page of this list */
  page(page: unknown, at: bigint): void {
    const { kind, metadata } = fieldsOf(page);
    if (kind !== `${this.resource.kind}List`) throw new Malformed(`it is no ${this.resource.kind}List`);
    const next = fieldsOf(metadata).continue;
    if (typeof next === "string" && next !== "" && this.list !== undefined) {
      if (next.length > LONGEST_CONTINUE) throw new Malformed("metadata.continue is too long");
      this.list.continue = next;
    } else {
      this.endList(versionOf(metadata), at);
    }
    this.heard = true;
  }

  /**
   * An event of a watch.
   * @returns the request's end, where the event says so
   */
  event(event: unknown, at: bigint): End | undefined {
    const { type, object } = fieldsOf(event);
    switch (type) {
      case "ADDED":
      case "MODIFIED":
        this.counters.events[type === "ADDED" ? "added" : "modified"]++;
        this.take(object);
        break;
      case "DELETED":
        this.counters.events.deleted++;
        this.drop(object);
        break;
      case "BOOKMARK":
        this.counters.events.bookmark++;
        return this.bookmark(object, at);
      case "ERROR": {
        const { code, details } = fieldsOf(object);
        const { retryAfterSeconds } = fieldsOf(details);
        const retryAfter = typeof retryAfterSeconds === "number" ? retryAfterSeconds * 1000 : undefined;
        return { how: "refused", status: typeof code === "number" ? code : 0, retryAfter };
      }
      default:
        this.misunderstood("an event", new Malformed("type must be ADDED, MODIFIED, DELETED, BOOKMARK or ERROR"));
        return undefined;
    }
    // A list's events come in any order; only its end says up to where they go.
    if (this.list === undefined) this.advance(object, at);
    return undefined;
  }

  /** What came was no event or no object. */
  misunderstood(name: string, cause: Malformed): void {
    this.counters.malformed++;
    this.listener.malformed(name, cause);
  }

  /**
   * The request is over.
   * @returns whether something is wrong: that a watch expires, or that a server has no streams, is the way of things
   */
  end(end: End, at: bigint): boolean {
    const { running, list } = this;
    this.running = undefined;
    const lived = at - this.beganAt >= LIVED;
    if (lived && this.heard) this.failures = 0;
    if (end.how === "hung") this.hangs = this.heard ? 1 : this.hangs + 1;
    else if (this.heard) this.hangs = 0;
    this.delay = 0;
    const isExpired = end.how === "refused" && end.status === 410;
    const isWrong = end.how !== "ended" && !isExpired;

    if (running?.verb === "page") {
      if (end.how === "ended" && this.heard) return false; // there is another page, or a watch to begin
      if (isExpired) this.list = undefined; // from the first page on
    } else if (list !== undefined) {
      this.list = undefined;
      // Such a server does not know streaming lists, or does not know how they end.
      const isUnknown = end.how === "refused" && (end.status === 400 || end.status === 422);
      if (isUnknown || end.how === "ended" || end.how === "hung") this.streams = false;
      if (isUnknown) return false;
    } else {
      if (end.how === "ended") this.prove(at);
      // A watch from a version that the server has not reached (it was restored) is silent, too.
      if (isExpired || this.hangs > 1) this.relist();
    }
    this.counters.restarts[isExpired ? "expired" : end.how === "ended" || end.how === "hung" ? end.how : "error"]++;
    if (end.how !== "ended" || !lived) this.delay = this.backOff(end);
    return isWrong;
  }

  private relist(): void {
    this.resourceVersion = undefined;
    this.hangs = 0;
  }

  private backOff(end: End): number {
    this.failures++;
    const own = Math.min(MOST_BACK_OFF, BACK_OFF * 2 ** (this.failures - 1)) * (0.5 + this.random() / 2);
    const asked = end.how === "refused" ? Math.min(end.retryAfter ?? 0, MOST_RETRY_AFTER) : 0;
    return Math.max(own, asked * (1 + this.random() / 4));
  }

  private bookmark(object: unknown, at: bigint): End | undefined {
    try {
      const { metadata } = fieldsOf(object);
      const version = versionOf(metadata);
      if (this.list !== undefined) {
        const isEnd = fieldsOf(fieldsOf(metadata).annotations)["k8s.io/initial-events-end"] === "true";
        if (!isEnd) return { how: "ended" }; // it was taken for a plain watch
        this.endList(version, at);
      } else {
        this.lag = 0n; // it comes after all that has happened
        this.advance(object, at);
      }
      this.heard = true;
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.misunderstood("a bookmark", error);
    }
    return undefined;
  }

  /** The list is whole: what it does not have is gone. */
  private endList(resourceVersion: string, at: bigint): void {
    if (this.list === undefined) return;
    const { since } = this.list;
    this.list = undefined;
    for (const number of this.known.numbers()) {
      if (this.seen[number] === this.lists) continue;
      const key = this.known.key(number);
      this.known.remove(number);
      this.listener.remove(key);
    }
    this.counters.syncs++;
    this.resourceVersion = resourceVersion;
    this.lag = at - since;
    this.prove(at);
  }

  private take(object: unknown): void {
    const { type, apiVersion, kind } = this.resource;
    try {
      const row = parse(object, { apiVersion, kind });
      if (row?.type !== type) throw new Malformed(`it is no ${kind}`);
      this.see(this.known.add(row.key));
      this.listener.upsert(row);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      // It is there, whatever it says: what was known of it stays.
      const key = keyOf(type, object);
      const known = key === undefined ? undefined : this.known.find(key);
      if (known !== undefined) this.see(known);
      this.misunderstood(nameOf(object), error);
    }
  }

  private see(number: number): void {
    this.seen = grown(this.seen, number);
    this.seen[number] = this.lists;
  }

  private drop(object: unknown): void {
    const key = keyOf(this.resource.type, object);
    if (key === undefined) {
      this.misunderstood("a deleted object", new Malformed("it has no name"));
      return;
    }
    const known = this.known.find(key);
    if (known !== undefined) this.known.remove(known);
    this.listener.remove(key);
  }

  /** An event says up to where the watch has come; all that happened before it has been told. */
  private advance(object: unknown, at: bigint): void {
    const { metadata } = fieldsOf(object);
    if (!isVersion(fieldsOf(metadata).resourceVersion)) return; // a malformed object
    this.resourceVersion = versionOf(metadata);
    this.heard = true;
    this.prove(at);
  }

  private prove(at: bigint): void {
    this.counters.proof = at - this.lag;
  }
}

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

function isVersion(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= LONGEST_VERSION;
}

function versionOf(metadata: unknown): string {
  const { resourceVersion } = fieldsOf(metadata);
  if (isVersion(resourceVersion)) return resourceVersion;
  throw new Malformed(`metadata.resourceVersion must be a text of 1 to ${LONGEST_VERSION} characters`);
}
