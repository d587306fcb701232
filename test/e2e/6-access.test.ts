/** What a user sees of an agent through `kubectl port-forward`, and what the agents have taken of their nodes by now. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { parse, type Sample } from "../../hack/shop/exposition.ts";
import type { LinksReport } from "../../src/serve/links.ts";
import { cache } from "../chart/helm.ts";
import { runToEnd } from "../live/agent.ts";
import { agents, kubeconfig, list, namespace } from "./cluster.ts";
import { expectModest, used } from "./figures.ts";
import { settled } from "./links.ts";
import { query } from "./prometheus.ts";
import { go } from "./truth.ts";

/** What the install's notes say, with a local port that is free. */
async function forward(target: string): Promise<{ url: string } & AsyncDisposable> {
  const child = Bun.spawn([join(cache, "bin/kubectl"), "port-forward", "-n", namespace, target, ":12020"], {
    env: { ...process.env, KUBECONFIG: kubeconfig },
    stdout: "pipe",
    stderr: "inherit",
  });
  // It is read to its end: kubectl says a line for each connection, and would end where nobody hears it.
  const url = await new Promise<string>((resolve, reject) => {
    (async () => {
      let said = "";
      for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
        said += chunk;
        const port = /^Forwarding from 127\.0\.0\.1:(\d+) -> 12020$/m.exec(said)?.[1];
        if (port) resolve(`http://127.0.0.1:${port}`);
      }
      reject(new Error(`kubectl port-forward ${target} ended: ${said}`));
    })();
  });
  const end = async () => {
    child.kill();
    await child.exited;
  };
  return { url, [Symbol.asyncDispose]: end };
}

const families = ["sent_bytes", "received_bytes", "requests", "connections"].map(
  (what) => `kube_ebpf_link_${what}_total`,
);

/** The counters of the shop's links, as "NAME {LABELS} VALUE", without what a scrape adds. */
const shopLinks = (samples: Sample[]): string[] =>
  samples
    .filter(({ name, labels }) => families.includes(name) && /^(shop|tenant)$/.test(labels.destination_namespace!))
    .map(({ name, labels: { __name__, instance, job, namespace, ...own }, value }) => {
      // To Prometheus, a label that is empty is none.
      const labels = Object.keys(own).filter((label) => own[label] !== "");
      return `${name} ${JSON.stringify(own, labels.sort())} ${value}`;
    })
    .sort();

describe("through kubectl port-forward", () => {
  beforeAll(async () => {
    await settled();
  }, 120_000);
  afterAll(go);

  test("/metrics of each agent is what Prometheus has of its node", async () => {
    for (const [node, { metadata }] of await agents()) {
      await using way = await forward(`pod/${metadata.name}`);
      const rows = await query(`{__name__=~"${families.join("|")}",instance="${node}"}`);
      const scraped = shopLinks(rows.map(({ labels, value }) => ({ name: labels.__name__!, labels, value })));
      const shown = shopLinks(parse(await (await fetch(`${way.url}/metrics`)).text()));
      expect(shown.length).toBeGreaterThanOrEqual(families.length);
      expect([node, shown]).toEqual([node, scraped]);
    }
  }, 30_000);

  test("/api/links of each agent has the links of its node's pods, one by one", async () => {
    for (const [node, { metadata }] of await agents()) {
      await using way = await forward(`pod/${metadata.name}`);
      const { links } = (await (await fetch(`${way.url}/api/links`)).json()) as LinksReport;
      const own = links
        .map(({ reporter, source, destination }) => (reporter === "client" ? source : destination))
        .filter(({ type, namespace, kind }) => type === "pod" && namespace === "shop" && kind !== "CronJob");
      const pods = await list("pods", "-n", "shop", "--field-selector", `spec.nodeName=${node},status.phase=Running`);
      // One on the host's network is named where cgroups tell it, and a job's comes and goes.
      const there = pods.filter(
        ({ spec, metadata }) => !spec.hostNetwork && metadata.ownerReferences[0].kind !== "Job",
      );
      const names = [...new Set(own.map(({ name }) => name))].filter((name) => !name.startsWith("edge-"));
      expect([node, names.sort()]).toEqual([node, there.map(({ metadata }) => metadata.name).sort()]);
    }
  }, 30_000);

  test("ringside top draws them, by the command of the install's notes", async () => {
    await using way = await forward("daemonset/ringside");
    const { code, out, error } = await runToEnd(["top", "--once", "--url", way.url]);
    expect([code, error]).toEqual([0, ""]);
    // Client, server, port, sent, received, requests.
    expect(out).toMatch(/^shop\/\w+ +shop\/db +6379 +[\d.]+ [KM]iB +[\d.]+ [KM]iB +\d+ /m);
  }, 30_000);
});

test("memory and CPU are within what the chart asks for", async () => {
  // Of traffic, and not of the second that a start takes: these agents are new.
  const before = await used();
  await Bun.sleep(40_000);
  await expectModest(before);
}, 60_000);
