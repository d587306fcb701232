/** `--web.config.file`, read again when it changes. */
import { readFile, stat } from "node:fs/promises";
import { RingsideError } from "../errors.ts";
import { OPEN, readWeb, type Web } from "./web.ts";

export interface WebCounters {
  /** Times that it was read and put to use. */
  reads: number;
  /** Times that it was of no use. */
  failures: number;
}

export interface WebFileOptions {
  file: string;
  /** Told once for each content that is of no use; the last good one stays. */
  onError: (error: RingsideError) => void;
  /** Milliseconds between two checks; 1,000 by default. */
  interval?: number;
}

/**
 * The file and those that it names are looked at by device, inode, size and time, so that one replaced by rename or by a
 * symbolic link's swap (a mounted Secret) is seen, too.
 */
export class WebFile {
  /** Told of each good change. @throws RingsideError where it cannot be put to use: the last good one still is */
  onChange: (web: Web) => void = () => {};
  /** Each file that was read last, as it was then. */
  #versions = new Map<string, string>();
  #reads = 0;
  #failures = 0;
  #timer: Timer | undefined;
  #closed = false;

  #current = OPEN;

  private constructor(readonly options: WebFileOptions) {}

  /**
   * Reads the file, and keeps checking until `close()`.
   * @throws RingsideError if it is of no use now; later that is told to `onError`
   */
  static async open(options: WebFileOptions): Promise<WebFile> {
    const file = new WebFile(options);
    await file.#read();
    file.#plan();
    return file;
  }

  /** The last good content. */
  get current(): Web {
    return this.#current;
  }

  counters(): WebCounters {
    return { reads: this.#reads, failures: this.#failures };
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #plan(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => this.#check().finally(() => this.#plan()), this.options.interval ?? 1000);
    this.#timer.unref();
  }

  async #check(): Promise<void> {
    if (!(await this.#changed())) return;
    try {
      await this.#read();
    } catch (error) {
      if (!(error instanceof RingsideError)) throw error;
      if (this.#closed) return;
      this.#failures++;
      this.options.onError(error);
    }
  }

  async #changed(): Promise<boolean> {
    for (const [path, version] of this.#versions) if ((await versionOf(path)) !== version) return true;
    return false;
  }

  async #read(): Promise<void> {
    this.#versions.clear();
    const web = await readWeb(this.options.file, async (path) => {
      // Before it is read: what changes meanwhile is read again.
      this.#versions.set(path, await versionOf(path));
      return readFile(path, "utf8");
    });
    if (this.#closed) return;
    this.onChange(web);
    this.#current = web;
    this.#reads++;
  }
}

/** Changes with the file's content. */
function versionOf(path: string): Promise<string> {
  return stat(path, { bigint: true }).then(
    ({ dev, ino, size, mtimeNs }) => `${dev} ${ino} ${size} ${mtimeNs}`,
    (error: Error) => error.message,
  );
}
