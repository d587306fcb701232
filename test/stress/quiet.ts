/** Counters of the kernel side are of all connections, and a test knows only its own. */
import type { Probe } from "../../src/bpf/probe.ts";
import { RingsideError } from "../../src/errors.ts";

const ATTEMPTS = 5;

/**
 * Tries until an attempt had the kernel for itself.
 *
 * @param attempt returns its probe's counters, and how many connections they must be of
 * @throws RingsideError where others were busy each time
 */
export async function undisturbed<Seen extends { counters: ReturnType<Probe["counters"]>; own: number }>(
  attempt: () => Promise<Seen>,
): Promise<Seen> {
  for (let i = 0; i < ATTEMPTS; i++) {
    const seen = await attempt();
    if (Number(seen.counters.connections) === seen.own) return seen;
  }
  throw new RingsideError(
    "count exactly",
    `${ATTEMPTS} attempts`,
    "Other programs have TCP connections at work: run this test when they have not.",
  );
}
