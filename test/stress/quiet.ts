/** Counters of the kernel side are of all connections, and a test knows only its own. */
import { RingsideError } from "../../src/errors.ts";

const ATTEMPTS = 5;

/**
 * Tries until an attempt had for itself what it counts.
 *
 * @param attempt says of itself whether others' connections were in its counters
 * @throws RingsideError where they were each time
 */
export async function undisturbed<Seen extends { disturbed: boolean }>(attempt: () => Promise<Seen>): Promise<Seen> {
  for (let i = 0; i < ATTEMPTS; i++) {
    const seen = await attempt();
    if (!seen.disturbed) return seen;
  }
  throw new RingsideError(
    "count exactly",
    `${ATTEMPTS} attempts`,
    "Other programs have TCP connections at work: run this test when they have not.",
  );
}
