// As much of Redis' own protocol (RESP2) as the shop speaks.

/** A reply that is a line or a bulk string, for `Frame`. */
export function frame(bytes: Buffer): number {
  const line = bytes.indexOf("\r\n");
  if (line < 0) return 0;
  const bulk = bytes[0] === 0x24 ? Number(bytes.toString("latin1", 1, line)) : -1; // $LENGTH; -1 is null
  const end = line + 2 + (bulk < 0 ? 0 : bulk + 2);
  return bytes.length >= end ? end : 0;
}

export function command(...words: string[]): Buffer {
  return Buffer.from(
    `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`,
  );
}

/** The text of a reply; empty for null. */
export function textOf(reply: Buffer): string {
  return reply[0] === 0x24
    ? reply.toString("utf8", reply.indexOf("\r\n") + 2, reply.length - 2)
    : reply.toString("utf8", 1);
}
