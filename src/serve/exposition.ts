/** What /metrics answers: rendered at one moment, then sent in pieces, however slowly they are read. */
import { promisify } from "node:util";
import { gzip } from "node:zlib";

const compress = promisify(gzip);

const PIECE = 256 << 10;
/** Who asks while another is still being answered gets the same moment, where it is not older: ns. */
const SHARED = 1_000_000_000n;
/** So many renderings wait at once for clients to read them; a scraper reads its own before it asks again. */
const MOST = 4;

export interface ExpositionOptions<Form extends string> {
  /** Boot time in ns. */
  now: () => bigint;
  /** The exposition as of `started`, in memory of its own. */
  render: (form: Form, started: bigint) => Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Milliseconds after which a client that still reads is cut off; 60,000 by default. One that reads nothing at all is
   * cut off by the server's idle time-out.
   */
  patience?: number;
}

export interface ExpositionCounters {
  /** Answered in full. */
  completed: number;
  /** Given up in the middle: the client hung up, or was too slow. */
  broken: number;
  /** Turned away, for too many clients were slow. */
  refused: number;
}

interface Rendering {
  form: string;
  zipped: boolean;
  started: bigint;
  body: Promise<Uint8Array>;
  readers: number;
  /** Gives its memory back, once nobody reads it any more. */
  discard: () => void;
}

export class Exposition<Form extends string> {
  /** Those that are still read. */
  readonly #renderings = new Set<Rendering>();
  readonly #counters: ExpositionCounters = { completed: 0, broken: 0, refused: 0 };

  constructor(private readonly options: ExpositionOptions<Form>) {}

  counters(): ExpositionCounters {
    return { ...this.#counters };
  }

  /**
   * The exposition as a stream.
   * @param zipped compress it by gzip
   * @param onCompleted told of the rendering's moment, once the client has taken all of it
   * @returns undefined where too many renderings wait for slow clients
   */
  async read(
    form: Form,
    zipped: boolean,
    onCompleted: (started: bigint) => void,
  ): Promise<ReadableStream<Uint8Array> | undefined> {
    const rendering = this.#rendering(form, zipped);
    if (!rendering) {
      this.#counters.refused++;
      return undefined;
    }
    rendering.readers++;
    const end = (how: "completed" | "broken"): void => {
      this.#counters[how]++;
      if (--rendering.readers > 0) return;
      this.#renderings.delete(rendering);
      rendering.discard();
    };
    let body: Uint8Array;
    try {
      body = await rendering.body;
    } catch (error) {
      end("broken");
      throw error;
    }
    const deadline = performance.now() + (this.options.patience ?? 60_000);
    let at = 0;
    return new ReadableStream(
      {
        pull: (controller) => {
          if (at === body.length) {
            end("completed");
            onCompleted(rendering.started);
            controller.close();
          } else if (performance.now() > deadline) {
            end("broken");
            controller.error(new Error("the client is too slow"));
          } else {
            const piece = body.subarray(at, at + PIECE);
            at += piece.length;
            controller.enqueue(piece);
          }
        },
        cancel: () => end("broken"),
      },
      { highWaterMark: 0 },
    );
  }

  /** The one that others still read, or a new one. */
  #rendering(form: Form, zipped: boolean): Rendering | undefined {
    const started = this.options.now();
    for (const one of this.#renderings) {
      if (one.form === form && one.zipped === zipped && started - one.started < SHARED) return one;
    }
    if (this.#renderings.size === MOST) return undefined;
    const rendered = this.options.render(form, started);
    // Large buffers go at once: the collector would let a dozen of them pile up.
    const discard = (): void => void rendered.then(({ buffer }) => buffer.transfer(0)).catch(() => {});
    // In Bun's thread pool; the lowest level, for the highest saves few bytes and takes many times as long.
    const zip = async () => compress(await rendered, { level: 1 }).finally(discard);
    const rendering: Rendering = {
      form,
      zipped,
      started,
      body: zipped ? zip() : rendered,
      discard: zipped ? () => {} : discard,
      readers: 0,
    };
    this.#renderings.add(rendering);
    return rendering;
  }
}
