/** The records of the kernel side, kept whole, against what the programs of test/truth say of each connection. */
import type { Recorded } from "./recorded.ts";
import type { TruthLine } from "./truth.ts";

/** A connection's records, in their order. */
export type Life = [Recorded, ...Recorded[]];

/** @returns the connections by their first sight, those alone that live where one of `addresses` does */
export function lives(records: Recorded[], addresses: string[]): Life[] {
  const known = ({ local }: Recorded) => addresses.some((address) => local.startsWith(`${address} `));
  const namespaces = new Set(records.filter(known).map(({ netns }) => netns));
  const byId = new Map<bigint, Life>();
  for (const one of records) {
    if (!namespaces.has(one.netns)) continue;
    const life = byId.get(one.id);
    if (life) life.push(one);
    else byId.set(one.id, [one]);
  }
  return [...byId.values()].sort(([a], [b]) => Number(a.bornAt - b.bornAt));
}

/** What must hold of any life, whatever the connection did. */
export function breaches(life: Life): string[] {
  const kinds = life.map(({ kind }) => kind).join(" ");
  const found: string[] = [];
  if (!/^(failed|(snapshot )*(closed )?final)$/.test(kinds)) found.push(`it ended as ${kinds}`);
  for (const [i, one] of life.entries()) {
    const before = life[i - 1];
    if (one.time < one.bornAt) found.push("a record is older than its connection");
    if (!before) continue;
    if (one.bornAt !== before.bornAt || one.role !== before.role) found.push("its birth or role changed");
    if (one.time < before.time) found.push("its records are out of order");
    const fell = (["sent", "received", "exchanges"] as const).some((total) => one[total] < before[total]);
    if (fell) found.push("its totals fell");
  }
  return found;
}

/** How late a program may learn that its connect() has ended: the machine may be busy. */
const WAKE_NS = 900e6;

function compareLife(line: TruthLine, life: Life): string[] {
  const last = life.at(-1) as Recorded;
  const expected = line.failed
    ? { kind: "failed", reason: line.failed.replace("timed_out", "timedOut"), sent: 0, received: 0, exchanges: 0 }
    : { kind: "final", reason: last.reason, sent: line.sent, received: line.received, exchanges: line.exchanges };
  const differences = Object.entries({ role: line.role, ...expected })
    .filter(([field, value]) => last[field as keyof Recorded] !== value)
    .map(([field, value]) => `${field}: expected ${value}, got ${last[field as keyof Recorded]}`);
  const late = (line.connect_ns ?? 0) - last.connectUs * 1000;
  // The clock of microseconds is cut off, not rounded.
  if (line.connect_ns && (late < 0 || late > WAKE_NS)) {
    differences.push(`connect: expected up to ${line.connect_ns} ns, got ${last.connectUs} us`);
  }
  return [...differences, ...breaches(life)];
}

/**
 * Each end of each connection against the one life that is its own, and no life is left over.
 *
 * @returns one sentence for each difference, none where all agree
 */
export function compareRecords(lines: TruthLine[], found: Life[]): string[] {
  const waiting = new Map<string, Life[]>();
  // A connection that failed may have lost its local end.
  const keyOf = (local: string, remote: string, failed: boolean) => (failed ? `to ${remote}` : `${local} ${remote}`);
  for (const life of found) {
    const { local, remote } = life[0];
    const key = keyOf(local, remote, life[0].kind === "failed");
    waiting.set(key, [...(waiting.get(key) ?? []), life]);
  }
  const differences = lines
    // Who never accepted does not know his peer.
    .filter((line) => !line.skipped && line.remote_port !== 0)
    .flatMap((line) => {
      const remote = `${line.remote} ${line.remote_port}`;
      const known = waiting.get(keyOf(`${line.local} ${line.local_port}`, remote, Boolean(line.failed))) ?? [];
      // Ports are used again: of two such connections the first may print the last.
      const own = known.findIndex((life) => compareLife(line, life).length === 0);
      const [life] = known.splice(Math.max(own, 0), 1);
      const wrong = life ? compareLife(line, life) : ["it has no records"];
      return wrong.map((difference) => `${line.scenario}: ${line.role}: ${difference}`);
    });
  const unaccepted = lines.filter((line) => !line.skipped && line.remote_port === 0).length;
  const left = [...waiting.values()].flat();
  if (left.length !== unaccepted) {
    const ends = left.map(([{ local, remote, kind }]) => `${local} - ${remote} (${kind})`);
    differences.push(`no scenario: ${unaccepted} connections expected, got ${ends.join(", ") || "none"}`);
  }
  return differences;
}
