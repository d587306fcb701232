import type { BigIntStats } from "node:fs";
import { open, stat } from "node:fs/promises";
import { RingsideError } from "../errors.ts";
import { Turns } from "../turns.ts";
import type { Row } from "./parse.ts";
import { readLists } from "./read.ts";
import type { Resolver } from "./resolve.ts";

const CHUNK = 64 << 10;

export interface FileOptions {
  file: string;
  resolver: Resolver;
  /** Boot time in ns. */
  now: () => bigint;
  /** Told once for each content that could not be read; the names stay as they were. */
  onError: (error: RingsideError) => void;
  /** Milliseconds between two checks; 1,000 by default. */
  interval?: number;
}

export interface FileCounters {
  /** Times that the whole file was read and understood. */
  reads: number;
  /** Times that it could not be read or understood. */
  failures: number;
  /** Objects known, by type. */
  objects: Record<Row["type"], number>;
  /** Seconds for which it may have been other than what is known: it was read, or was unchanged, so long ago. */
  age: number;
}

/**
 * Names from a file, read again when it changes: by its own device, inode, size and time, so that a file replaced by
 * rename or by a symbolic link's swap (a mounted ConfigMap) is seen, too.
 */
export class IdentitiesFile {
  private version = "";
  private broken = false;
  private reads = 0;
  private failures = 0;
  /** Boot time in ns at which the names were last known to be complete. */
  private proof = 0n;
  private timer: Timer | undefined;
  private closed = false;

  private constructor(private readonly options: FileOptions) {}

  /**
   * Reads the file, tells the resolver, and keeps checking until `close()`.
   *
   * @throws {RingsideError} if the file cannot be read or understood now; later that is told to `onError`
   */
  static async open(options: FileOptions): Promise<IdentitiesFile> {
    const identities = new IdentitiesFile(options);
    await identities.read();
    identities.plan();
    return identities;
  }

  counters(): FileCounters {
    const { reads, failures, proof } = this;
    const { now, resolver } = this.options;
    return { reads, failures, objects: resolver.counts(), age: Number(now() - proof) / 1e9 };
  }

  /** One check: rereads a file that changed; an unchanged one proves that the names are complete until now. */
  async check(): Promise<void> {
    try {
      await this.read();
    } catch (error) {
      if (!(error instanceof RingsideError)) throw error;
      this.failures++;
      this.options.onError(error);
    }
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private plan(): void {
    if (this.closed) return;
    this.timer = setTimeout(() => this.check().finally(() => this.plan()), this.options.interval ?? 1000);
    this.timer.unref();
  }

  private async read(): Promise<void> {
    const { file, resolver, now } = this.options;
    const at = now();
    const found = await stat(file, { bigint: true }).catch((cause: Error) => cause);
    const version = found instanceof Error ? found.message : versionOf(found);
    if (version !== this.version) {
      this.version = version;
      this.broken = true;
      const rows = await rowsOf(file, found);
      if (this.closed) return;
      // Not before it was read: on a busy machine that takes a while, and who is gone now may have been there until then.
      await inTurns(resolver.replacing(rows, now()));
      this.broken = false;
      this.reads++;
    }
    if (this.broken) return;
    this.proof = at;
    resolver.fresh(at);
  }
}

/** Takes all steps, and lets others have their turn in between. */
async function inTurns(steps: Generator<void>): Promise<void> {
  const turns = new Turns();
  for (const _ of steps) if (turns.isOver) await turns.rest();
}

/** Changes with the file's content. */
function versionOf({ dev, ino, size, mtimeNs }: BigIntStats): string {
  return `${dev} ${ino} ${size} ${mtimeNs}`;
}

async function rowsOf(file: string, found: BigIntStats | Error): Promise<Row[]> {
  if (found instanceof Error) throw unreadable(file, found);
  if (found.isDirectory()) throw unreadable(`${file} is a directory`);
  // A pipe can be read once only, and never says that it has changed.
  if (!found.isFile()) throw unreadable(`${file} is not a regular file`);
  const rows: Row[] = [];
  await readLists(chunksOf(file), file, (row) => rows.push(row));
  return rows;
}

/** The file's bytes, each chunk in the same memory. Between two chunks others have their turn. */
async function* chunksOf(file: string): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(CHUNK);
  try {
    await using handle = await open(file);
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, CHUNK);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

function unreadable(object: string, cause?: unknown): RingsideError {
  const remedy =
    "Name a file that the agent may read, made by `kubectl get pods,services,nodes,endpointslices -A -o json`.";
  return new RingsideError("read the identities", object, remedy, cause === undefined ? {} : { cause });
}
