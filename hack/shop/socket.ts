import type { Socket, TCPSocketListener } from "bun";
import { type Tally, tally } from "./program.ts";

/** The length of the first whole message in `bytes`, 0 while it is not complete. */
export type Frame = (bytes: Buffer) => number;

// Bun's raw sockets and not an HTTP library: `write` says how many bytes the kernel accepted, so the counts are exact.
// A message is one write, and the next one waits for the answer: an exchange in the kernel is one request here.
class Wire {
  #in: Buffer = Buffer.alloc(0);
  #out: Buffer = Buffer.alloc(0);
  readonly closed = Promise.withResolvers<void>();

  constructor(
    readonly socket: Socket<Wire>,
    readonly tally: Tally,
    readonly frame: Frame,
    readonly onMessage: (wire: Wire, message: Buffer) => void,
  ) {}

  send(message: Buffer): void {
    this.#out = Buffer.concat([this.#out, message]);
    this.flush();
  }

  flush(): void {
    if (this.#out.length === 0) return;
    const accepted = this.socket.write(this.#out);
    if (accepted < 0) throw new Error(`${this.tally.peer} closed with ${this.#out.length} bytes unsent`);
    this.tally.sent += accepted;
    this.#out = this.#out.subarray(accepted);
  }

  receive(bytes: Buffer): void {
    this.tally.received += bytes.length;
    this.#in = Buffer.concat([this.#in, bytes]);
    for (let length = this.frame(this.#in); length > 0; length = this.frame(this.#in)) {
      const message = this.#in.subarray(0, length);
      this.#in = this.#in.subarray(length);
      this.onMessage(this, message);
    }
  }
}

const handlers = {
  data: (socket: Socket<Wire>, bytes: Buffer) => socket.data.receive(bytes),
  drain: (socket: Socket<Wire>) => socket.data.flush(),
  close: (socket: Socket<Wire>) => socket.data.closed.resolve(),
};

/** A keep-alive connection to a server. */
export class Client {
  #waiting: ((message: Buffer) => void)[] = [];
  #last: Promise<unknown> = Promise.resolve();
  #wire!: Wire;

  /** @throws where the server does not accept. */
  static async connect(hostname: string, port: number, frame: Frame): Promise<Client> {
    const client = new Client();
    const counts = tally("client", hostname, port);
    await Bun.connect<Wire>({
      hostname,
      port,
      socket: {
        ...handlers,
        open(socket) {
          socket.data = new Wire(socket, counts, frame, (_, message) => client.#waiting.shift()!(message));
          client.#wire = socket.data;
        },
      },
    });
    return client;
  }

  /** Sends one request and gives its answer; requests made meanwhile wait for their turn, nothing is pipelined. */
  exchange(request: Buffer): Promise<Buffer> {
    const turn = this.#last.then(() => {
      const answer = new Promise<Buffer>((resolve) => this.#waiting.push(resolve));
      this.#wire.send(request);
      return answer;
    });
    this.#last = turn.then(() => this.#wire.tally.requests++);
    return turn;
  }

  /** Waits for the last answer, then half-closes, then for the server to close: nothing is left unread. */
  async close(): Promise<void> {
    await this.#last;
    this.#wire.socket.shutdown();
    await this.#wire.closed.promise;
  }
}

/** A server on IPv4 and IPv6 that answers one request of a connection after the other. */
export class Server {
  #open = new Set<Promise<void>>();
  #listener: TCPSocketListener<Wire>;

  constructor(port: number, frame: Frame, answer: (request: Buffer) => Promise<Buffer>) {
    const reply = async (wire: Wire, request: Buffer) => {
      wire.send(await answer(request));
      wire.tally.requests++;
    };
    const open = this.#open;
    this.#listener = Bun.listen<Wire>({
      hostname: "::",
      port,
      socket: {
        ...handlers,
        open(socket) {
          socket.data = new Wire(socket, tally("server", socket.remoteAddress, port), frame, reply);
          const closed = socket.data.closed.promise;
          open.add(closed);
          closed.then(() => open.delete(closed));
        },
      },
    });
  }

  /** Waits until the clients have closed, then listens no more. */
  async close(): Promise<void> {
    await Promise.all(this.#open);
    this.#listener.stop();
  }
}
