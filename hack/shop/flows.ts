import { allPods, type Pod } from "./cluster.ts";
import type { Process } from "./process.ts";

/** What went between two pods, as one end tells it: `sent` is from the client to the server, whoever tells. */
export type Flow = {
  reporter: "client" | "server";
  client: Pod;
  server: Pod;
  port: number;
  sent: number;
  received: number;
  requests: number;
};

/**
 * The flows of all programs, told by both ends. Redis cannot tell its clients apart: its end is what they read and
 * wrote, and its own sums are checked against them.
 */
export function flowsOf(programs: Process[]): Flow[] {
  const told = programs.flatMap(({ pod, tallies }) =>
    tallies.map(({ role, peer, port, sent, received, requests }): Flow => {
      const other = allPods.find(({ v4, v6 }) => peer === v4 || peer === v6)!;
      return role === "client"
        ? { reporter: role, client: pod, server: other, port, sent, received, requests }
        : { reporter: role, client: other, server: pod, port, sent: received, received: sent, requests };
    }),
  );
  const redis = told.filter(({ server }) => server.workload === "db");
  return [...told, ...redis.map((flow): Flow => ({ ...flow, reporter: "server" }))];
}

export type Totals = Pick<Flow, "sent" | "received" | "requests">;

export function totals(flows: Flow[]): Totals {
  const sum = (field: keyof Totals) => flows.reduce((all, flow) => all + flow[field], 0);
  return { sent: sum("sent"), received: sum("received"), requests: sum("requests") };
}
