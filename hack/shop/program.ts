/** What one program of the shop did on all its sockets of one role with one peer, at the level of the socket. */
export type Tally = {
  role: "client" | "server";
  /** The peer's address, an IPv4 one without the prefix that maps it into IPv6. */
  peer: string;
  /** The server's port. */
  port: number;
  /** Bytes that the kernel accepted from us, and bytes that we read. */
  sent: number;
  received: number;
  requests: number;
};

const tallies = new Map<string, Tally>();

/** The one tally of this role, peer and port: at zero when first asked for. */
export function tally(role: Tally["role"], address: string, port: number): Tally {
  const peer = address.replace(/^::ffff:/, "");
  const key = `${role} ${peer} ${port}`;
  const known = tallies.get(key);
  if (known) return known;
  const fresh = { role, peer, port, sent: 0, received: 0, requests: 0 };
  tallies.set(key, fresh);
  return fresh;
}

/** One line of JSON, `Tally[]`, on standard output. */
export function report(): void {
  console.log(JSON.stringify([...tallies.values()]));
}

/** Reports now and once a second, until standard input ends: so the demo says that the program is to drain and stop. */
export async function untilStopped(): Promise<void> {
  report();
  const timer = setInterval(report, 1000);
  for await (const _ of Bun.stdin.stream());
  clearInterval(timer);
}

/** The value of an environment variable that the demo sets for its programs. */
export function given(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: the shop's programs are started by hack/demo`);
  return value;
}
