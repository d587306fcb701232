import type { Subprocess } from "bun";
import { RingsideError } from "../../src/errors.ts";
import { inPod, type Pod } from "./cluster.ts";
import type { Tally } from "./program.ts";

/** A program of the shop, running in its pod. */
export class Process {
  /** What it last said that it did. */
  tallies: Tally[] = [];
  #child: Subprocess<"pipe", "pipe", "inherit">;
  #reported = Promise.withResolvers<void>();
  #ended: Promise<void>;

  /** Starts a program of this folder. */
  constructor(
    readonly pod: Pod,
    file: string,
    env: Record<string, string>,
  ) {
    this.#child = Bun.spawn(inPod(pod, [process.execPath, `${import.meta.dir}/${file}`]), {
      env: { ...process.env, ...env },
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
      detached: true, // Ctrl-C is the demo's to handle: it drains them
    });
    this.#ended = this.#read();
    this.#ended.catch(() => {}); // whoever waits for the end is told; until then it is no stray error
  }

  /** Waits for its first report: it has connected, it listens. */
  ready(): Promise<void> {
    return within("start the program", this.pod.name, Promise.race([this.#reported.promise, this.#ended]));
  }

  /** Waits for its end and its last report. */
  ended(): Promise<void> {
    return within("end the program", this.pod.name, this.#ended);
  }

  /** Lets it drain, and waits for its end. */
  stop(): Promise<void> {
    this.#child.stdin.end();
    return this.ended();
  }

  async #read(): Promise<void> {
    let rest = "";
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      const last = lines.at(-1);
      if (last === undefined) continue;
      this.tallies = JSON.parse(last);
      this.#reported.resolve();
    }
    const code = await this.#child.exited;
    if (code !== 0)
      throw new RingsideError("run the program", this.pod.name, `It ended with ${code}; its own words are above.`);
  }
}

/** @throws {RingsideError} where it takes too long */
async function within(step: string, object: string, done: Promise<void>): Promise<void> {
  const seconds = 20;
  const late = Promise.withResolvers<void>();
  const remedy = `It took more than ${seconds} s: see above, or try again on a less busy machine.`;
  const timer = setTimeout(() => late.reject(new RingsideError(step, object, remedy)), seconds * 1000);
  await Promise.race([done, late.promise]).finally(() => clearTimeout(timer));
}
