import { existsSync, readFileSync } from "node:fs";
import { connect } from "bun";
import { RingsideError } from "../../src/errors.ts";
import { inPod, type Pod } from "./cluster.ts";
import { command, frame, textOf } from "./resp.ts";

/** What Redis itself says that its clients sent it and read from it, in bytes and commands. */
export type RedisCounts = { input: number; output: number; commands: number };

/** The shop's database: a real Redis with nothing on disk, and a Unix socket to ask it without touching TCP. */
export class Redis {
  private constructor(readonly socket: string) {}

  /** @param folder where its socket and its log go */
  static async start(pod: Pod, folder: string): Promise<Redis> {
    const socket = `${folder}/redis.sock`;
    const files = `--unixsocket ${socket} --dir ${folder} --logfile ${folder}/redis.log`;
    const flags = `--port ${pod.port} --bind 0.0.0.0 :: --protected-mode no ${files}`;
    const argv = ["redis-server", ...flags.split(" "), "--save", ""];
    const child = Bun.spawn(inPod(pod, argv), { stdio: ["ignore", "ignore", "inherit"], detached: true });
    for (let tries = 0; tries < 100; tries++) {
      if (child.exitCode !== null) break;
      if (existsSync(socket)) return new Redis(socket);
      await Bun.sleep(50);
    }
    const log = existsSync(`${folder}/redis.log`) ? readFileSync(`${folder}/redis.log`, "utf8") : "";
    throw new RingsideError("start Redis", pod.name, "These are the last words of its log.", {
      cause: log.trim().split("\n").at(-1),
    });
  }

  /**
   * Asks once, as the first and only one on the Unix socket. Redis has counted the question by the time it answers, and
   * not yet the answer nor the command.
   */
  async counts(): Promise<RedisCounts> {
    const question = command("INFO");
    const answer = Promise.withResolvers<string>();
    let received = Buffer.alloc(0);
    const socket = await connect({
      unix: this.socket,
      socket: {
        data(_, bytes) {
          received = Buffer.concat([received, bytes]);
          if (frame(received) > 0) answer.resolve(textOf(received));
        },
        close: () =>
          answer.reject(new RingsideError("ask Redis", "INFO", "It closed the connection; run the demo again.")),
      },
    });
    socket.write(question);
    const info = await answer.promise;
    socket.end();
    const value = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, "m").exec(info)?.[1]);
    return {
      input: value("total_net_input_bytes") - question.length,
      output: value("total_net_output_bytes"),
      commands: value("total_commands_processed"),
    };
  }
}
