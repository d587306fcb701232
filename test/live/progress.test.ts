/** One blocking send that takes seconds is one event to the hooks: its bytes show all the same, sweep by sweep. */
import { expect, test } from "bun:test";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { checkMachine } from "../../src/bpf/check.ts";
import { trafficEnds } from "../truth/traffic.ts";
import { startAgent } from "./agent.ts";

const MIB = 1 << 20;
const BYTES = 64 * MIB;

/** Connects to the port that it is given, and sends everything by one call. */
const sender = `
  const { dlopen, ptr } = require("bun:ffi");
  const { symbols: c } = dlopen("libc.so.6", {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
    send: { args: ["i32", "ptr", "u64", "i32"], returns: "i64" },
  });
  const port = Number(process.argv.at(-1));
  const address = new Uint8Array([2, 0, port >> 8, port & 255, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  const fd = c.socket(2, 1, 0);
  if (c.connect(fd, ptr(address), address.length) !== 0) throw new Error("connect");
  if (c.send(fd, ptr(new Uint8Array(${BYTES})), ${BYTES}, 0) !== ${BYTES}n) throw new Error("send");
`;

const backends = (await checkMachine()).backends.filter(({ works }) => works).map(({ backend }) => backend);

test.each(backends)(
  "by %s a long send shows as it goes",
  async (backend) => {
    // A port that the kernel would choose itself is told as ephemeral.
    const server = createServer({ pauseOnConnect: true }).listen(21_082, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const agent = await startAgent(trafficEnds({ name: "progress" }), ["--loopback", "--backend", backend]);
    const child = Bun.spawn([process.execPath, "-e", sender, "--", String(port)], { stderr: "inherit" });
    try {
      const [socket] = (await once(server, "connection")) as [Socket];
      const sent = async () =>
        Number((await agent.links()).find((link) => link.reporter === "client" && link.port === port)?.sent ?? 0);
      const swept = async () => /^ringside_run_seconds_total\{work="sweep"\} (\S+)$/m.exec(await agent.metrics())![1];
      const seen = new Set<number>();
      for (let read = 0; read < BYTES; ) {
        const chunk: Buffer | null = socket.read();
        if (!chunk) {
          await once(socket, "readable");
          continue;
        }
        const before = read;
        read += chunk.length;
        // Every 4 MiB a rest of two sweeps, however slow the machine: of the second all is of this rest.
        if (Math.floor(read / (4 * MIB)) > Math.floor(before / (4 * MIB)) && read < BYTES) {
          for (let sweeps = 0, last = await swept(); sweeps < 2; await Bun.sleep(50)) {
            const now = await swept();
            if (now !== last) sweeps++;
            last = now;
          }
          seen.add(await sent());
        }
      }
      expect(await child.exited).toBe(0);
      // Each of the fifteen rests saw more than the one before, but for the first, when it had not settled yet.
      expect(seen.size).toBeGreaterThan(12);
      expect([...seen]).toEqual([...seen].toSorted((a, b) => a - b));
    } finally {
      child.kill();
      server.close();
      await agent.stop();
    }
  },
  60_000,
);
