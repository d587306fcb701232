/** The way to the API server, which a test can cut or block, byte by byte as it comes. */
import type { Socket, TCPSocketListener } from "bun";

interface Peer {
  other: Socket<Peer> | undefined;
  /** What came before there was the other one, or while nothing goes through. */
  held: Uint8Array[];
}

export class Way {
  readonly port: number;
  readonly #listener: TCPSocketListener<Peer>;
  readonly #sockets = new Set<Socket<Peer>>();
  #blocked = false;
  #cut = false;

  constructor(target: number) {
    const close = (socket: Socket<Peer>): void => {
      this.#sockets.delete(socket);
      if (!this.#blocked) socket.data.other?.end();
    };
    const data = (socket: Socket<Peer>, bytes: Uint8Array): void => {
      const { other, held } = socket.data;
      if (this.#blocked) return;
      if (other === undefined) held.push(bytes.slice());
      else other.write(bytes);
    };
    const handlers = { data, close, error: close };
    this.#listener = Bun.listen<Peer>({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        ...handlers,
        open: async (socket) => {
          socket.data = { other: undefined, held: [] };
          if (this.#cut) return void socket.end();
          this.#sockets.add(socket);
          const other = await Bun.connect<Peer>({
            hostname: "127.0.0.1",
            port: target,
            data: { other: socket, held: [] },
            socket: handlers,
          }).catch(() => undefined);
          if (other === undefined) return void socket.end();
          this.#sockets.add(other);
          socket.data.other = other;
          for (const bytes of socket.data.held.splice(0)) other.write(bytes);
        },
      },
    });
    this.port = this.#listener.port;
  }

  /** Ends all connections, and each new one at once. */
  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.terminate();
  }

  /** Connections stay, and nothing goes through any more: a way that is half open. */
  block(): void {
    this.#blocked = true;
  }

  /** New connections go through; what was blocked is lost with its connection. */
  restore(): void {
    this.#blocked = false;
    this.#cut = false;
  }

  close(): void {
    this.#listener.stop(true);
  }
}
