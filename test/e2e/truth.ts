/** What the shop's programs say that they did: their accounts, in a folder of this machine that the nodes have, too. */
import { chmod, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cache } from "../chart/helm.ts";

/** /var/shop of each node. */
export const folder = join(cache, "shop");
const restFile = join(folder, "rest");
/** Longer than a caller waits for anything (PATIENCE_S in shop.c, for a connect, and an answer). */
const STILL_MS = 5000;

/** All connections of one kind of one process. */
export interface Tally {
  /** The process, of which a pod of a StatefulSet has several under one name, one after the other. */
  account: string;
  /** Whose account it is. */
  namespace: string;
  pod: string;
  workload: string;
  kind: string;
  node: string;
  /** A proxy keeps account of what it hands on to others: that is what goes over the network. */
  role: "client" | "server" | "proxy";
  /** Who said that he is at the other end: NAMESPACE/POD; "probe"; "-" where he said nothing. */
  peer: string;
  /** The server's name or address, as the client called it; a server knows none. */
  target: string;
  /** The one that the client called, or that the server serves. */
  port: number;
  /** Bytes of this side's own socket. */
  sent: number;
  received: number;
  requests: number;
  connections: number;
  failures: number;
}

/** The accounts of all processes since the shop was opened, those that have ended among them. */
export async function truth(): Promise<Tally[]> {
  const files = (await readdir(folder)).filter((file) => file !== "rest");
  const all = await Promise.all(
    files.map(async (file) => {
      const [who, ...lines] = (await readFile(join(folder, file), "utf8")).split("\n").filter((line) => line.trim());
      if (who === undefined) return [];
      return lines.map((line): Tally => ({ account: file, ...JSON.parse(who), ...JSON.parse(line) }));
    }),
  );
  return all.flat();
}

/** The sum of some tallies. */
export function sum(tallies: Tally[]): { sent: number; received: number; requests: number; connections: number } {
  const all = { sent: 0, received: 0, requests: 0, connections: 0 };
  for (const tally of tallies) {
    all.sent += tally.sent;
    all.received += tally.received;
    all.requests += tally.requests;
    all.connections += tally.connections;
  }
  return all;
}

/** Lets the callers finish what they have begun, and wait. */
export const hold = (): Promise<void> => writeFile(restFile, "");

/** Does so. @returns the truth once nothing has moved for a while */
export async function rest(patience = 60_000): Promise<Tally[]> {
  await hold();
  const end = Date.now() + patience;
  let last = "";
  for (let since = Date.now(); Date.now() < end; await Bun.sleep(200)) {
    const now = await truth();
    // The kubelet's probes go on.
    const text = JSON.stringify(now.filter(({ peer }) => peer !== "probe"));
    if (text !== last) {
      last = text;
      since = Date.now();
    }
    if (Date.now() - since > STILL_MS) return now;
  }
  throw new Error(`the shop's callers do not come to rest within ${patience / 1000} s`);
}

/** Lets the callers go on. */
export const go = (): Promise<void> => rm(restFile, { force: true });

/** Lets them trade for longer than an agent that has just started shows 0 (`hold` in values.yaml). */
export async function trade(): Promise<void> {
  await go();
  await Bun.sleep(8000);
}

/** Forgets all accounts: before the shop is opened. */
export async function forget(): Promise<void> {
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o1777); // a proxy is another user
  for (const file of await readdir(folder)) await rm(join(folder, file));
}
