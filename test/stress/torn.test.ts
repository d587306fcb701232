/**
 * Totals that are read without the socket's lock while they move: by the anchor they never fall and never say more than
 * there is; by the kernel's sums alone they do.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { role } from "../../src/bpf/abi.ts";
import { BpfObject, mapShared, pageSize, unmap } from "../../src/bpf/libbpf.ts";
import { Sockets } from "./sockets.ts";

/** At the least, both. */
const SECONDS = process.env.RINGSIDE_TEST_ALL ? 600 : 10;
const SAMPLES = 1e8;

/** struct connection of torn.bpf.c, in u64 words. */
const WORDS = 11;

interface Formula {
  sent: number;
  received: number;
  fell: number;
  beyond: number;
}

interface Connection {
  role: number;
  samples: number;
  anchored: Formula;
  naive: Formula;
}

let object: BpfObject;
let sockets: Sockets;

beforeAll(async () => {
  sockets = await Sockets.start();
  object = new BpfObject(await Bun.file(join(import.meta.dir, "../../build/test/torn.bpf.o")).bytes());
  object.setMaxEntries("states", 1 << 16);
  object.initialValue(".rodata.config").setUint32(0, 1 << 16, true);
  object.initialValue(".rodata.torn").setUint32(0, sockets.namespaces[0]!, true);
  object.keep("torn", "ringside_state", "ringside_destroy");
  object.load();
  object.attach("ringside_state");
  object.attach("ringside_destroy");
});

afterAll(async () => {
  await sockets?.stop();
  object?.close();
});

function read(): Connection[] {
  const buffer = mapShared(object.mapFd(".data.torn"), pageSize, 0, true);
  const words = Array.from(new BigUint64Array(buffer, 0, 8 * WORDS), Number);
  unmap(buffer);
  const formula = ([sent, received, fell, beyond]: number[]) => ({ sent, received, fell, beyond }) as Formula;
  return Array.from({ length: 8 }, (_, i) => words.slice(i * WORDS, (i + 1) * WORDS))
    .filter(([id]) => id !== 0)
    .map((row) => ({
      role: row[1]!,
      samples: row[2]!,
      anchored: formula(row.slice(3, 7)),
      naive: formula(row.slice(7)),
    }));
}

const total = (connections: Connection[], what: (connection: Connection) => number) =>
  connections.reduce((sum, connection) => sum + what(connection), 0);

test(
  "no anchored sample falls or exceeds the truth, and naive ones do",
  async () => {
    // In bulk, in ping-pong.
    await sockets.tell("open 2");
    const sampling = object.walker("torn");
    await sockets.tell("stream");
    const end = Date.now() + SECONDS * 1000;
    while (Date.now() < end || total(read(), ({ samples }) => samples) < SAMPLES) sampling.run(() => {});
    const truth = await sockets.tell("halt");
    sampling.run(() => {});
    const connections = read();

    expect(connections).toHaveLength(4);
    expect(total(connections, ({ anchored }) => anchored.fell)).toBe(0);
    expect(total(connections, ({ anchored }) => anchored.beyond)).toBe(0);
    // What one end has sent, the other has read.
    const ends = (of: number) =>
      connections
        .filter((connection) => connection.role === of)
        .map(({ anchored: { sent, received } }) => [sent, received])
        .sort();
    const clients = [truth.slice(0, 2), truth.slice(2)];
    expect(ends(role.client)).toEqual(clients.sort());
    expect(ends(role.server)).toEqual(clients.map(([sent, received]) => [received!, sent!]).sort());
    expect(total(connections, ({ naive }) => naive.beyond + naive.fell)).toBeGreaterThan(0);
    const samples = total(connections, ({ samples }) => samples);
    console.log(
      `${samples} samples over ${total(connections, ({ anchored }) => anchored.sent)} bytes; of the naive ones ` +
        `${total(connections, ({ naive }) => naive.beyond)} beyond the truth, ${total(connections, ({ naive }) => naive.fell)} fell`,
    );
  },
  (SECONDS + 60) * 1000,
);
