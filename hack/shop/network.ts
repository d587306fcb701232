import { spawnSync } from "bun";
import { RingsideError } from "../../src/errors.ts";
import { allPods, nodes, prefix } from "./cluster.ts";

/**
 * The shop's network: each node and each pod is a network namespace of its own; a node's pods hang on its bridge, the
 * nodes on one cable, and nothing of it touches the machine's own network.
 *
 * @throws {RingsideError} with the words of `ip` where something is refused
 */
export function createNetwork(): void {
  ip(
    [],
    [...nodes, ...allPods].map(({ namespace }) => `netns add ${namespace}`),
  );
  for (const { namespace } of [...nodes, ...allPods]) {
    // No duplicate address detection: nobody else is here, and until it is over IPv6 is deaf, for seconds.
    const settings = ["net.ipv6.conf.default.accept_dad=0", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"];
    run(["ip", "netns", "exec", namespace, "sysctl", "-qw", ...settings]);
  }
  const [one, two] = [nodes[0]!, nodes[1]!];
  ip(["-n", one.namespace], [`link add uplink type veth peer name uplink netns ${two.namespace}`]);
  for (const node of nodes) {
    const other = node === one ? two : one;
    const own = allPods.filter((pod) => nodes[pod.node - 1] === node);
    ip(
      ["-n", node.namespace],
      [
        ...link("lo"),
        ...link("uplink", `${node.v4}/24`, `${node.v6}/64`),
        "link add pods type bridge",
        ...link("pods", `${node.gateways[0]}/24`, `${node.gateways[1]}/64`),
        `route add ${other.podCIDRs[0]} via ${other.v4}`,
        `route add ${other.podCIDRs[1]} via ${other.v6}`,
        ...own.flatMap(({ namespace }, n) => [
          `link add pod${n} type veth peer name eth0 netns ${namespace}`,
          `link set pod${n} master pods up`,
        ]),
      ],
    );
    for (const pod of own) {
      ip(
        ["-n", pod.namespace],
        [
          ...link("lo"),
          ...link("eth0", `${pod.v4}/24`, `${pod.v6}/64`),
          `route add default via ${node.gateways[0]}`,
          `route add default via ${node.gateways[1]}`,
        ],
      );
    }
  }
}

/**
 * Before the first step.
 *
 * @throws {RingsideError} where another demo runs; a killed one leaves no process, only its network
 */
export function refuseSecond(): void {
  for (const name of namespaces()) {
    const pid = pids(name)[0];
    if (pid !== undefined)
      throw new RingsideError("start the shop", name, `Another demo runs there: stop process ${pid}.`);
  }
}

/** Removes what `createNetwork` made, also what a killed demo left, with every process in it. */
export function removeNetwork(): void {
  const names = namespaces();
  for (const pid of names.flatMap(pids)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {} // it has just ended by itself
  }
  ip(
    [],
    names.map((name) => `netns del ${name}`),
  );
}

function namespaces(): string[] {
  const names = run(["ip", "netns", "list"]).split("\n");
  return names.map((line) => line.split(" ")[0]!).filter((name) => name.startsWith(prefix));
}

function pids(namespace: string): number[] {
  return run(["ip", "netns", "pids", namespace]).split("\n").filter(Boolean).map(Number);
}

function link(name: string, ...addresses: string[]): string[] {
  return [...addresses.map((address) => `addr add ${address} dev ${name}`), `link set ${name} up`];
}

function ip(flags: string[], lines: string[]): void {
  run(["ip", ...flags, "-batch", "-"], lines.join("\n"));
}

function run(argv: string[], input = ""): string {
  const { exitCode, stdout, stderr } = spawnSync(argv, { stdin: Buffer.from(input) });
  if (exitCode === 0) return stdout.toString();
  const cause = stderr.toString().trim().replaceAll("\n", "; ");
  throw new RingsideError(
    "make the shop's network",
    argv.join(" "),
    "It takes root, network namespaces, veth and IPv6.",
    { cause },
  );
}
