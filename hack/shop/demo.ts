// hack/demo, from where the build ends: opens the shop, starts one agent beside it, shows what it counts, and with
// --once proves it against what the programs say themselves.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { measurePrograms } from "../../src/bpf/libbpf.ts";
import { pictureOf } from "../lib/picture.ts";
import { Agent, port } from "./agent.ts";
import { checks } from "./checks.ts";
import { allPods, nodes } from "./cluster.ts";
import { flowsOf } from "./flows.ts";
import { refuseSecond } from "./network.ts";
import { Shop } from "./shop.ts";
import { Watch } from "./watch.ts";

const options = { once: { type: "boolean" }, picture: { type: "string" } } as const;
const { once, picture } = parseArgs({ options }).values;

const folder = "/run/ringside-demo";
const shop = new Shop(folder);
let agent: Agent | undefined;

/** Gives the exit code. */
async function demo(): Promise<number> {
  measurePrograms();
  say("agent: one, with the shop's names from a file");
  agent = await Agent.start(folder);
  const { url } = agent;
  say(`agent: ready, ${url}/metrics${url.endsWith(`:${port}`) ? "" : `, for port ${port} is taken`}`);
  const watch = new Watch(agent, shop, show);
  return Promise.race([watch.run(), traffic(watch)]);
}

async function traffic(watch: Watch): Promise<number> {
  say(`shop: ${allPods.length} pods on ${nodes.length} nodes`);
  await shop.open();
  say(once ? "traffic: 13 seconds, and a cron job" : "traffic: until Ctrl-C");
  await Bun.sleep(3000);
  await shop.once();
  await Bun.sleep(once ? 10_000 : 2 ** 31 - 1);

  watch.over();
  const redis = await shop.drain();
  say("traffic: over; the last bytes are on their way to /metrics");
  await watch.settled();
  const results = checks(flowsOf(shop.programs), redis, watch.ticks);
  const wrong = results.filter(({ ok }) => !ok).length;
  const verdict = wrong === 0 ? "\x1b[32mall equal\x1b[0m" : `\x1b[31m${wrong} WRONG\x1b[0m`;
  const proof = `${results.length} checks, byte for byte and request for request: ${verdict}`;
  print(["", watch.screen(), "", ...results.map(({ line }) => line), "", proof].join("\n"));
  if (picture) writeFileSync(picture, pictureOf(`$ ./hack/demo --once\n\n${watch.screen()}\n\n${proof}`));
  return wrong === 0 ? 0 : 1;
}

function show(screen: string): void {
  if (!once) print(process.stdout.isTTY ? `\x1b[H\x1b[J${screen}` : `\n${screen}`);
}

function print(text: string): void {
  console.log(process.stdout.isTTY ? text : Bun.stripANSI(text));
}

/** One step, with the seconds since hack/demo began. */
function say(what: string): void {
  const seconds = Math.floor(Date.now() / 1000) - Number(process.env.BEGAN);
  console.error(`${`${seconds}`.padStart(4)}s  ${what}`);
}

const interrupted = Promise.withResolvers<number>();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => interrupted.resolve(once ? 130 : 0));

async function main(): Promise<number> {
  refuseSecond();
  try {
    close(); // what a killed demo left
    mkdirSync(folder);
    return await Promise.race([demo(), interrupted.promise]);
  } finally {
    await agent?.stop();
    close();
  }
}

function close(): void {
  shop.close();
  rmSync(folder, { recursive: true, force: true });
}

const code = await main().catch((error) => {
  console.error(`ringside: demo: ${error.message}`);
  return 1;
});
process.exit(code);
