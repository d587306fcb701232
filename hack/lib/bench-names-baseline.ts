/** The baseline: informers of @kubernetes/client-node, which keep whole objects. */
import { KubeConfig, makeInformer } from "@kubernetes/client-node";
import { reportOn } from "./bench-names-report.ts";

const [server = ""] = process.argv.slice(2);
const PAGE = 500;
const lists = ["/api/v1/pods", "/api/v1/services", "/api/v1/nodes", "/apis/discovery.k8s.io/v1/endpointslices"];

const config = new KubeConfig();
config.loadFromOptions({
  clusters: [{ name: "bench", server, skipTLSVerify: true }],
  users: [{ name: "bench" }],
  contexts: [{ name: "bench", cluster: "bench", user: "bench" }],
  currentContext: "bench",
});

/** All pages of a list, as one, which is what an informer asks for. */
async function list(path: string) {
  const all: { metadata: unknown; items: object[] } = { metadata: {}, items: [] };
  let token = "";
  do {
    const answer = await fetch(`${server}${path}?limit=${PAGE}&continue=${token}`);
    const page = (await answer.json()) as { metadata: { continue?: string }; items: object[] };
    all.items.push(...page.items);
    all.metadata = page.metadata;
    token = page.metadata.continue ?? "";
  } while (token !== "");
  return all;
}

let events = 0;
const informers = lists.map((path) => makeInformer(config, path, () => list(path) as never));
for (const informer of informers) {
  for (const verb of ["update", "delete"] as const) informer.on(verb, () => void events++);
  informer.on("error", (error) => console.error(error));
}
await reportOn(
  () => Promise.all(informers.map((informer) => informer.start())),
  () => {
    const [pod = 0, service = 0, node = 0, slice = 0] = informers.map((informer) => informer.list().length);
    return { objects: { pod, service, node, slice }, events, malformed: 0 };
  },
);
