/** Has the program `sockets` open, move and close connections. */
import { join } from "node:path";
import { $, type Subprocess } from "bun";

const program = join(import.meta.dir, "../../build/test/sockets");

export class Sockets {
  /** Inodes of the network namespaces that it has had so far. */
  readonly namespaces: number[] = [];

  private constructor(
    private readonly child: Subprocess<"pipe", "pipe", "inherit">,
    private readonly answers: AsyncIterator<string>,
  ) {}

  /** Compiles the program, where its source is newer, and starts it in a network namespace of its own; root is needed. */
  static async start(): Promise<Sockets> {
    await $`${join(import.meta.dir, "build")}`.quiet();
    const child = Bun.spawn([program], { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
    const sockets = new Sockets(child, child.stdout.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]());
    sockets.namespaces.push(...(await sockets.tell("namespace")));
    return sockets;
  }

  /**
   * One command of sockets.c, after the one before was answered.
   *
   * @throws Error where the program has ended; what it said stands on the standard error
   */
  async tell(command: string): Promise<number[]> {
    this.child.stdin.write(`${command}\n`);
    this.child.stdin.flush();
    let answer = "";
    while (!answer.endsWith("\n")) {
      const chunk = await this.answers.next();
      if (chunk.done) throw new Error(`sockets ended at: ${command}`);
      answer += chunk.value;
    }
    return answer.trim().split(" ").map(Number);
  }

  /** Has the kernel close all connections, in the middle of whatever the caller does. */
  kill(): void {
    this.child.kill("SIGKILL");
  }

  /** Closes all connections, by ending the program. */
  async stop(): Promise<void> {
    this.child.stdin.end();
    await this.child.exited;
  }
}
