import { expect, test } from "bun:test";
import { $ } from "bun";
import { trafficEnds } from "../truth/traffic.ts";
import { settled, startAgent } from "./agent.ts";

/** Ids of the BPF programs, maps and links of the kernel. */
async function inKernel(): Promise<string[]> {
  const lists = await Promise.all(
    ["prog", "map", "link"].map(async (kind) => {
      const objects = (await $`bpftool -j ${kind} list`.quiet().json()) as { id: number; name?: string }[];
      return objects.map(({ id }) => `${kind} ${id}`);
    }),
  );
  return lists.flat();
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`${signal} ends the agent with 0, and leaves nothing in the kernel`, async () => {
    const before = await inKernel();
    const agent = await startAgent(trafficEnds({ name: "stop" }));
    const added = (await inKernel()).filter((object) => !before.includes(object));
    expect(added.length).toBeGreaterThan(12);
    agent.process.kill(signal);
    expect(await agent.process.exited).toBe(0);
    await agent.stop();
    // The kernel frees some of it after a grace period of its own.
    const left = async () => (await inKernel()).filter((object) => added.includes(object));
    expect(await settled(left, 5_000)).toEqual([]);
  }, 20_000);
}
