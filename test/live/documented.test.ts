/** docs/metrics.md lists what a real agent says, with its types, labels and meanings, and nothing else. */
import { expect, test } from "bun:test";
import { runTraffic, trafficEnds } from "../truth/traffic.ts";
import { settled, startAgent } from "./agent.ts";
import { undocumented } from "./documented.ts";

const options = { name: "document", net: 79, only: ["half-close"] };

test("the document and a scrape agree", async () => {
  const agent = await startAgent(trafficEnds(options), ["--aggregate", "pod", "--scope"]);
  try {
    await runTraffic(options);
    const seen = /^kube_ebpf_link_response_seconds_count\{.*reporter="server".*\} [1-9]/m;
    await settled(async () => (seen.test(await agent.metrics()) ? [] : ["not yet"]));
    const text = await agent.metrics();
    expect(text).toMatch(seen);
    expect(await undocumented(text)).toEqual([]);
  } finally {
    await agent.stop();
  }
}, 60_000);
