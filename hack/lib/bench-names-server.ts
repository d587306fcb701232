/**
 * Says what an API server of such a cluster says, byte for byte in its form: lists in pages, streaming lists, watches
 * with bookmarks, and after POST /churn the given number of pod events a second, with what they do to slices.
 * Its arguments are pods, services, nodes and the seed; it prints its address.
 */
import { gzipSync } from "node:zlib";
import { Cluster, type Pod, randomFrom } from "./bench-names-cluster.ts";

const [pods = 0, services = 0, nodes = 0, seed = 0] = process.argv.slice(2).map(Number);
const cluster = new Cluster({ pods, services, nodes }, seed);
const CHUNK = 256 << 10;
/** API servers begin there. */
const GZIP_FROM = 128 << 10;

interface Kind {
  kind: string;
  apiVersion: string;
  items: (fieldSelector: string) => Iterable<string>;
}

const kinds: Record<string, Kind> = {
  "/api/v1/pods": {
    kind: "Pod",
    apiVersion: "v1",
    *items(selector) {
      for (const pod of [...cluster.pods]) if (matches(pod, selector)) yield cluster.podText(pod);
    },
  },
  "/api/v1/services": {
    kind: "Service",
    apiVersion: "v1",
    *items() {
      for (let i = 0; i < services; i++) yield cluster.serviceText(i);
    },
  },
  "/api/v1/nodes": {
    kind: "Node",
    apiVersion: "v1",
    *items() {
      for (let i = 0; i < nodes; i++) yield cluster.nodeText(i);
    },
  },
  "/apis/discovery.k8s.io/v1/endpointslices": {
    kind: "EndpointSlice",
    apiVersion: "discovery.k8s.io/v1",
    *items() {
      for (let i = 0; i < services; i++) yield* cluster.sliceTexts(i);
    },
  },
};

/** Of selectors as the agent sends them: on the node, and on phases that no pod here is in. */
function matches(pod: Pod, selector: string): boolean {
  const [, not, node] = /spec\.nodeName(!?)=([^,]+)/.exec(selector) ?? [];
  return node === undefined || (pod.node === node) === (not === "");
}

interface Watcher {
  path: string;
  selector: string;
  send(text: string): void;
}
const watchers = new Set<Watcher>();

const bookmark = ({ kind, apiVersion }: Kind, initial: boolean): string => {
  const annotations = initial ? ',"annotations":{"k8s.io/initial-events-end":"true"}' : "";
  const metadata = `{"resourceVersion":"${cluster.version}","creationTimestamp":null${annotations}}`;
  return `{"type":"BOOKMARK","object":{"kind":"${kind}","apiVersion":"${apiVersion}","metadata":${metadata}}}\n`;
};

function watch(path: string, kind: Kind, query: URLSearchParams): Response {
  const encoder = new TextEncoder();
  const selector = query.get("fieldSelector") ?? "";
  let watcher: Watcher;
  const initial = query.get("sendInitialEvents") === "true" ? kind.items(selector)[Symbol.iterator]() : undefined;
  let listed = initial === undefined;
  let kept: string[] = [];
  const stream = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        watcher = {
          path,
          selector,
          send: (text) => {
            if (listed) controller.enqueue(encoder.encode(text));
            else kept.push(text);
          },
        };
        watchers.add(watcher);
      },
      async pull(controller) {
        if (listed || initial === undefined) return;
        let text = "";
        while (text.length < CHUNK) {
          const { value, done } = initial.next();
          if (done) {
            listed = true;
            text += bookmark(kind, true) + kept.join("");
            kept = [];
            break;
          }
          text += `{"type":"ADDED","object":${value}}\n`;
        }
        controller.enqueue(encoder.encode(text));
      },
      cancel() {
        watchers.delete(watcher);
      },
    },
    { highWaterMark: 2 },
  );
  return new Response(stream, { headers: { "content-type": "application/json" } });
}

/** Lists that were begun, by the token that goes on with them. */
const lists = new Map<string, Iterator<string>>();
let tokens = 0;

function page({ kind, apiVersion, items }: Kind, query: URLSearchParams, gzip: boolean): Response {
  const token = query.get("continue") ?? "";
  const list = lists.get(token) ?? items(query.get("fieldSelector") ?? "")[Symbol.iterator]();
  lists.delete(token);
  const limit = Number(query.get("limit") ?? 0) || Number.POSITIVE_INFINITY;
  const texts: string[] = [];
  let more = true;
  while (more && texts.length < limit) {
    const { value, done } = list.next();
    more = !done;
    // Items of a list do not repeat their kind.
    if (!done) texts.push(value.replace(/^\{"kind":"\w+","apiVersion":"[\w./]+",/, "{"));
  }
  const next = more ? String(++tokens) : "";
  if (more) lists.set(next, list);
  const metadata = `{"resourceVersion":"${cluster.version}"${more ? `,"continue":"${next}"` : ""}}`;
  const text = `{"kind":"${kind}List","apiVersion":"${apiVersion}","metadata":${metadata},"items":[${texts.join(",")}]}\n`;
  const headers = { "content-type": "application/json" };
  if (!gzip || text.length < GZIP_FROM) return new Response(text, { headers });
  return new Response(gzipSync(text, { level: 4 }), { headers: { ...headers, "content-encoding": "gzip" } });
}

const sent = { pods: 0, slices: 0, bytes: 0 };

function tell(path: string, type: string, text: string, pod?: Pod): void {
  const line = `{"type":"${type}","object":${text}}\n`;
  for (const watcher of watchers) {
    if (watcher.path !== path || (pod !== undefined && !matches(pod, watcher.selector))) continue;
    watcher.send(line);
    sent.bytes += line.length;
  }
}

function tellPod(type: string, pod: Pod): void {
  pod.version = ++cluster.version;
  tell("/api/v1/pods", type, cluster.podText(pod), pod);
  sent.pods++;
}

/** Of all slices of a Service, one has changed. */
function tellSlice(workload: number): void {
  const [text = ""] = cluster.sliceTexts(workload);
  tell("/apis/discovery.k8s.io/v1/endpointslices", "MODIFIED", text);
  sent.slices++;
}

/** Pods go, and others of their workload come, on the addresses that became free: six pod events for each. */
async function churn(rate: number, seconds: number): Promise<void> {
  const random = randomFrom(seed + 1);
  const begin = performance.now();
  const free: string[] = [];
  let pending: Pod[] = [];
  while (performance.now() - begin < seconds * 1000) {
    const due = ((performance.now() - begin) / 1000) * rate;
    const touched = new Set<number>();
    for (const pod of pending) {
      pod.phase = "Running";
      tellPod("MODIFIED", pod);
      tellPod("MODIFIED", pod); // its containers' states, one after the other
      touched.add(pod.workload);
    }
    pending = [];
    while (sent.pods < due) {
      const index = Math.floor(random() * cluster.pods.length);
      const old = cluster.pods[index]!;
      if (old.phase !== "Running") continue; // it is on its way
      old.phase = "Terminating";
      tellPod("MODIFIED", old);
      tellPod("MODIFIED", old);
      tellPod("DELETED", old);
      cluster.members[old.workload]!.delete(old);
      touched.add(old.workload);
      free.push(old.address);
      const next = cluster.born(old.workload, free.shift()!, "Pending");
      cluster.pods[index] = next;
      cluster.members[next.workload]!.add(next);
      tellPod("ADDED", next);
      pending.push(next);
    }
    for (const workload of touched) tellSlice(workload);
    await Bun.sleep(100);
  }
  for (const watcher of watchers) watcher.send(bookmark(kinds[watcher.path]!, false));
}

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  idleTimeout: 0,
  async fetch(request) {
    const { pathname, searchParams: query } = new URL(request.url);
    if (pathname === "/churn") {
      Object.assign(sent, { pods: 0, slices: 0, bytes: 0 });
      await churn(Number(query.get("rate")), Number(query.get("seconds")));
      return Response.json(sent);
    }
    const kind = kinds[pathname];
    if (kind === undefined) return new Response("not found", { status: 404 });
    if (query.get("watch") !== "true") {
      return page(kind, query, (request.headers.get("accept-encoding") ?? "").includes("gzip"));
    }
    return watch(pathname, kind, query);
  },
});
const bytes = [...cluster.pods.slice(0, 1000)].map((pod) => cluster.podText(pod).length);
console.log(
  JSON.stringify({ url: server.url.origin, podBytes: { least: Math.min(...bytes), most: Math.max(...bytes) } }),
);
