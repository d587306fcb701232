/** The programs of `talk.c`, in the network namespaces of `namespaces`. */
import { join } from "node:path";
import { $, type Subprocess } from "bun";

const here = import.meta.dir;
const talk = join(here, "../../../build/test/talk");
/** A call that has no answer by then never will. */
const PATIENCE_S = 5;

export interface Where {
  cgroup?: string;
  uid?: number;
}

export async function namespaces(...args: string[]): Promise<void> {
  await $`${join(here, "namespaces")} ${args}`.quiet();
}

/** A command in a namespace, a cgroup and a user's name. */
export function within(namespace: string, { cgroup, uid }: Where, ...command: (string | number)[]): string[] {
  const join = cgroup === undefined ? [] : ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', cgroup];
  const as = uid === undefined ? [] : ["setpriv", `--reuid=${uid}`, "--clear-groups"];
  return [...join, "nsenter", `--net=/run/netns/resolve-${namespace}`, ...as, ...command.map(String)];
}

/** Starts `talk` with these arguments. */
export function start(namespace: string, where: Where, ...args: (string | number)[]): Talk {
  return new Talk(within(namespace, where, talk, ...args));
}

/** One of them that runs. */
export class Talk {
  /** What it has said, and nobody has taken. */
  readonly #lines: string[] = [];
  readonly #child: Subprocess<"ignore", "pipe", "inherit">;
  readonly #said: Promise<void>;
  #news = Promise.withResolvers<void>();

  constructor(command: string[]) {
    this.#child = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
    this.#said = this.#listen();
  }

  /** Waits until a server serves. */
  async ready(): Promise<this> {
    await this.take("ready");
    return this;
  }

  /** The first line that begins so; it is waited for. @throws where it ends without that */
  async take(beginning: string): Promise<string> {
    for (;;) {
      const index = this.#lines.findIndex((line) => line.startsWith(beginning));
      if (index >= 0) return this.#lines.splice(index, 1)[0]!;
      const over = await Promise.race([this.#news.promise, this.#said.then(() => true)]);
      if (over && !this.#lines.some((line) => line.startsWith(beginning))) {
        throw new Error(`${beginning}: never said, but ${JSON.stringify(this.#lines)}`);
      }
    }
  }

  /** Waits for its end. @returns what it said @throws where it failed */
  async over(): Promise<string[]> {
    const late = setTimeout(() => this.#child.kill("SIGKILL"), PATIENCE_S * 1000);
    await this.#said;
    clearTimeout(late);
    if ((await this.#child.exited) !== 0) throw new Error(`it failed, and said ${JSON.stringify(this.#lines)}`);
    return this.#lines.splice(0);
  }

  /** SIGTERM. @returns what it said */
  async end(): Promise<string[]> {
    this.#child.kill("SIGTERM");
    await this.#child.exited;
    await this.#said;
    return this.#lines.splice(0);
  }

  async #listen(): Promise<void> {
    let rest = "";
    for await (const chunk of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      this.#lines.push(...lines);
      this.#news.resolve();
      this.#news = Promise.withResolvers();
    }
  }
}
