import { edenGC } from "bun:jsc";
import { RingsideError } from "../errors.ts";
import { Turns } from "../turns.ts";
import { type ApiClient, ApiError } from "./client.ts";
import { JsonLists } from "./json.ts";
import { Lines } from "./lines.ts";
import { Malformed, nameOf } from "./parse.ts";
import type { End, Plan, Reflector, Request, Resource } from "./reflector.ts";
import { skim } from "./skim.ts";

/** The largest event, or item of a list, that is taken: etcd holds 1.5 MiB. */
const OBJECT_LIMIT = 8 << 20;
/** Of a chunk, which may have megabytes: some pods. */
const PART = 64 << 10;
/** While a list comes, its garbage is collected after so many bytes: the collector waits until it is as much as is kept. */
const COLLECTED = 8 << 20;
/** Of a list, as its clients ask for. */
const PAGE_SIZE = 500;

const RETRIED = "It is asked again.";

export interface StreamCounters {
  bytes: number;
  /** Requests that failed, by HTTP status, or "network", "broken", "hung". */
  errors: Map<string, number>;
  /** Exceptions of our own. */
  faults: number;
}

export interface StreamOptions {
  client: ApiClient;
  resource: Resource;
  reflector: Reflector;
  /** Boot time in ns. */
  now: () => bigint;
  /** Told of each failure that is not the one before again. */
  onError: (error: RingsideError) => void;
  /** Told when all is well after it. */
  onWell: () => void;
  /** Told after each chunk of a stream, and after each request: something may have changed. */
  onChange: () => void;
  /** Instead of the reflector's: milliseconds of silence after which a request has hung. */
  patience?: number;
}

/** Does what the reflector of one resource plans, as long as it is not told to stop. */
export class Stream {
  readonly counters: StreamCounters = { bytes: 0, errors: new Map(), faults: 0 };
  /** What failed last; undefined while all is well. */
  private failure: string | undefined;
  /** Cuts the pause after a request short; undefined once that request was answered, well or not. */
  private waking: AbortController | undefined;

  constructor(private readonly options: StreamOptions) {}

  /** Runs until it is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { reflector, now } = this.options;
    while (!signal.aborted) {
      const plan = reflector.plan();
      await pause(plan.delay, this.waking === undefined ? signal : AbortSignal.any([signal, this.waking.signal]));
      if (signal.aborted) return;
      this.waking = new AbortController();
      reflector.begin(plan.request, now());
      const { end, error } = await this.request(plan, signal);
      if (signal.aborted) return;
      const isWrong = reflector.end(end, now());
      if (isWrong && error !== undefined) this.failed(end, error);
      this.options.onChange();
    }
  }

  /**
   * The server is back, as another stream has seen: it is asked at once if nobody has answered the last request, or will
   * answer the one under way. After an answer the pause stays: two streams would wake each other without end.
   */
  wake(): void {
    this.waking?.abort();
  }

  private async request(plan: Plan, signal: AbortSignal): Promise<Outcome> {
    const { client, resource } = this.options;
    const watchdog = new Watchdog(signal, plan.timeout);
    const isPage = plan.request.verb === "page";
    const step = `${isPage ? "list" : "watch"} ${resource.name}`;
    try {
      watchdog.expect(this.patience());
      const path = pathOf(resource, plan.request);
      const response = await client.get(step, path, watchdog.signal);
      return await this.read(response, isPage ? this.pageReader() : this.eventReader(), watchdog);
    } catch (error) {
      if (watchdog.hung) {
        const why = new RingsideError(
          step,
          "nothing came any more",
          "It is asked again; look at the way to the server.",
        );
        return { end: { how: "hung" }, error: why };
      }
      if (error instanceof ApiError && error.status !== undefined) {
        this.waking = undefined;
        return { end: { how: "refused", status: error.status, retryAfter: error.retryAfter }, error };
      }
      const why =
        error instanceof RingsideError ? error : new RingsideError(step, "its answer", RETRIED, { cause: error });
      return { end: { how: "broken" }, error: why };
    } finally {
      watchdog.close();
    }
  }

  private patience(): number | undefined {
    const { reflector, patience } = this.options;
    return patience ?? reflector.patience;
  }

  /** Reads to the end; others have their turn between two parts. */
  private async read(response: Response, reader: Reader, watchdog: Watchdog): Promise<Outcome> {
    this.waking = undefined;
    this.well();
    const turns = new Turns();
    let garbage = 0;
    for await (const chunk of response.body ?? []) {
      this.counters.bytes += chunk.length;
      for (let at = 0; at < chunk.length; at += PART) {
        const outcome = reader.write(chunk.subarray(at, at + PART));
        if (outcome !== undefined) return outcome;
        if (!turns.isOver) continue;
        await turns.rest();
        watchdog.signal.throwIfAborted();
      }
      garbage += chunk.byteLength;
      release(chunk);
      if (garbage > COLLECTED && this.options.reflector.isListing) {
        edenGC();
        garbage = 0;
      }
      this.options.onChange();
      watchdog.expect(this.patience());
    }
    reader.end();
    return { end: { how: "ended" } };
  }

  private eventReader(): Reader {
    const { reflector, resource, now } = this.options;
    let result: Outcome | undefined;
    const lines = new Lines(
      OBJECT_LIMIT,
      (line) => {
        if (result !== undefined) return;
        let event: unknown;
        try {
          event = JSON.parse(line);
        } catch (cause) {
          reflector.misunderstood("an event", new Malformed(`it is no JSON: ${(cause as Error).message}`));
          return;
        }
        this.guard(event, () => {
          const end = reflector.event(event, now());
          if (end === undefined) return;
          result = { end };
          const step = `watch ${resource.name}`;
          if (end.how === "refused")
            result.error = new RingsideError(step, `the watch ends with ${end.status}`, RETRIED);
        });
      },
      () => reflector.misunderstood("an event", tooLarge()),
      skim,
    );
    return {
      write: (bytes) => {
        lines.write(bytes);
        return result;
      },
      end: () => {
        if (!lines.end()) throw new Error("it ends in the middle of an event");
      },
    };
  }

  private pageReader(): Reader {
    const { reflector, now } = this.options;
    let isWhole = false;
    const lists = new JsonLists(
      {
        item: (item) => this.guard(item, () => reflector.item(item)),
        end: (page) => {
          reflector.page(page, now());
          isWhole = true;
        },
        tooLarge: () => {
          throw tooLarge();
        },
        refuse: (cause) => {
          throw cause;
        },
      },
      OBJECT_LIMIT,
    );
    return {
      write: (bytes) => {
        lists.write(bytes);
        return undefined;
      },
      end: () => {
        lists.end();
        if (!isWhole) throw new Error("it is empty");
      },
    };
  }

  /** One object that we fail on is told, and does not keep us from the others. */
  private guard(object: unknown, step: () => void): void {
    try {
      step();
    } catch (cause) {
      this.counters.faults++;
      const name = nameOf((object as { object?: unknown } | null)?.object ?? object);
      const remedy = "This is a fault of Ringside: please report it. The other objects are not concerned.";
      this.options.onError(new RingsideError(`take in ${this.options.resource.name}`, name, remedy, { cause }));
    }
  }

  private failed(end: End, error: RingsideError): void {
    const status =
      end.how === "refused"
        ? String(end.status)
        : end.how === "broken" && error instanceof ApiError
          ? "network"
          : end.how;
    this.counters.errors.set(status, (this.counters.errors.get(status) ?? 0) + 1);
    if (this.failure === status) return;
    this.failure = status;
    this.options.onError(error);
  }

  private well(): void {
    if (this.failure === undefined) return;
    this.failure = undefined;
    this.options.onWell();
  }
}

/** How a request went, and what is to be said of it. */
interface Outcome {
  end: End;
  error?: RingsideError;
}

interface Reader {
  /**
   * @param bytes are not used any more afterwards
   * @returns how the request ends, where the text says so
   */
  write(bytes: Uint8Array): Outcome | undefined;
  /** @throws where the text may not end here */
  end(): void;
}

/** Ends a request that takes too long, or from which nothing comes for too long. */
class Watchdog {
  hung = false;
  private readonly controller = new AbortController();
  private readonly whole: Timer;
  private silence: Timer | undefined;

  constructor(
    private readonly outer: AbortSignal,
    timeout: number,
  ) {
    outer.addEventListener("abort", this.abort, { once: true });
    this.whole = setTimeout(this.bark, timeout);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** The next part must come within so many milliseconds. */
  expect(patience: number | undefined): void {
    clearTimeout(this.silence);
    if (patience !== undefined) this.silence = setTimeout(this.bark, patience);
  }

  /** Also closes the connection of a request that is not at its end. */
  close(): void {
    clearTimeout(this.whole);
    clearTimeout(this.silence);
    this.outer.removeEventListener("abort", this.abort);
    this.abort();
  }

  private readonly bark = (): void => {
    this.hung = true;
    this.abort();
  };

  private readonly abort = (): void => this.controller.abort();
}

function pathOf(resource: Resource, request: Request): string {
  const query = new URLSearchParams();
  if (resource.fieldSelector !== undefined) query.set("fieldSelector", resource.fieldSelector);
  if (request.verb === "page") {
    query.set("limit", String(PAGE_SIZE));
    if (request.continue !== "") query.set("continue", request.continue);
  } else {
    query.set("watch", "true");
    query.set("allowWatchBookmarks", "true");
    query.set("timeoutSeconds", String(request.watchSeconds));
  }
  if (request.verb === "stream") {
    query.set("sendInitialEvents", "true");
    query.set("resourceVersionMatch", "NotOlderThan");
  }
  if (request.verb === "watch") query.set("resourceVersion", request.resourceVersion);
  return `${resource.path}?${query}`;
}

/** A list is hundreds of megabytes in chunks: their memory need not wait for the garbage collector. */
function release({ buffer, byteLength }: Uint8Array<ArrayBuffer>): void {
  if (byteLength === buffer.byteLength) buffer.transfer(0);
}

function tooLarge(): Malformed {
  return new Malformed(`it is larger than ${OBJECT_LIMIT >> 20} MiB`);
}

/** Waits, less long where it is aborted. */
async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (milliseconds <= 0 || signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  const stop = (): void => resolve();
  signal.addEventListener("abort", stop, { once: true });
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", stop);
}
