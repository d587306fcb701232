/** The agent's own way to its names, alone in a process: core, resolver and watch of the server at argv[2]. */
import { bootNs } from "../../src/bpf/libbpf.ts";
import { load } from "../../src/core/fixture.ts";
import { Resolver } from "../../src/kube/resolve.ts";
import { Watch } from "../../src/kube/watch.ts";
import { reportOn } from "./bench-names-report.ts";

const [server = "", node] = process.argv.slice(2);
const core = await load();
const resolver = new Resolver(core, (wall) => bootNs() + BigInt(Math.round((wall - Date.now()) * 1e6)), node);

let watch: Watch;
await reportOn(
  () => {
    watch = Watch.start({
      access: { server, credentials: async () => ({ headers: {}, tls: {} }) },
      resolver,
      node,
      now: bootNs,
      onError: (error) => console.error(error.message),
      onWell: () => {},
      jitter: 0,
    });
    return watch.settled;
  },
  () => {
    const { objects, streams } = watch.counters();
    const all = Object.values(streams);
    return {
      objects,
      events: all.reduce((sum, { events }) => sum + events.modified + events.deleted, 0),
      malformed: all.reduce((sum, { malformed }) => sum + malformed, 0),
    };
  },
);
