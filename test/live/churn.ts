/**
 * Pods that come and go on addresses that are used again, between two network namespaces, and short connections
 * between them whose bytes are known.
 */
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { $, type Subprocess } from "bun";
import { buildTalk } from "./cluster/talk.ts";

const namespaces = join(import.meta.dir, "../truth/namespaces");

type Role = "client" | "server";

interface Slot {
  role: Role;
  address: string;
  /** The pod that has it. */
  pod: string;
  startTime: string;
  /** When the list that names it was written, of Date.now(). */
  written: number;
}

export interface ChurnOptions {
  /** Of the namespaces, NAME-client and NAME-server, of the pods' namespace and of their node. */
  name: string;
  /** 10.NET.0.0/16. */
  net: number;
  /** Addresses of each of the two roles. */
  slots: number;
  ports: number[];
}

const random = <T>(list: T[]): T => list[Math.floor(Math.random() * list.length)]!;

export class Churn {
  /** What must have been counted: by family and labels as `keyOf` gives them. */
  readonly truth = new Map<string, number>();
  calls = 0;
  /** As many pods as there have been so far. */
  pods = 0;
  readonly #slots: Slot[] = [];
  readonly #children: Subprocess[] = [];
  readonly #talk: string;
  #caller!: Subprocess<"pipe", "pipe", "inherit">;
  #answers!: AsyncIterator<string>;
  /** When the names that the agent has were written, at least: a pod that is newer neither calls nor is called. */
  #known = 0;
  /** The calls that are under way: their pods stay until they are over. */
  #calling: Promise<void> = Promise.resolve();

  private constructor(
    private readonly options: ChurnOptions,
    talk: string,
  ) {
    this.#talk = talk;
  }

  /** Root is needed. */
  static async start(options: ChurnOptions): Promise<Churn> {
    const churn = new Churn(options, await buildTalk());
    const { name, net, slots, ports } = options;
    await $`${namespaces} up ${name} ${net}`.quiet();
    for (const [role, third, gateway] of [
      ["client", 1, 2],
      ["server", 2, 1],
    ] as const) {
      await $`ip -n ${name}-${role} route add 10.${net}.${3 - third}.0/24 via 10.${net}.0.${gateway}`;
      for (let i = 1; i <= slots; i++) {
        const address = `10.${net}.${third}.${i}`;
        await $`ip -n ${name}-${role} address add ${address}/32 dev eth0`;
        churn.#slots.push({ role, address, ...churn.#pod(role), written: 0 });
      }
    }
    await churn.serve(...ports);
    churn.#caller = Bun.spawn(churn.#within("client", "calls"), { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
    churn.#children.push(churn.#caller);
    churn.#answers = churn.#caller.stdout.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]();
    return churn;
  }

  /** A list as `kubectl get pods -o json` prints it. */
  list(): object {
    const { name } = this.options;
    const items = this.#slots.map(({ pod, startTime, address }) => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { namespace: name, name: pod, uid: `${name}-${pod}-${startTime}` },
      spec: { nodeName: name, containers: [{ name: pod, image: pod }] },
      status: { phase: "Running", startTime, podIP: address, podIPs: [{ ip: address }] },
    }));
    return { apiVersion: "v1", kind: "List", items };
  }

  /** Writes the list, so that nobody reads half of it. */
  async write(file: string): Promise<void> {
    const unwritten = this.#slots.filter(({ written }) => written === Number.POSITIVE_INFINITY);
    await writeFile(`${file}.new`, JSON.stringify(this.list()));
    await rename(`${file}.new`, file);
    for (const slot of unwritten) slot.written = Date.now();
  }

  /** The agent has all names that were written before: it says so itself, by their age. */
  know(until: number): void {
    this.#known = Math.max(this.#known, until);
  }

  /** A listener on these ports, at which one connection at a time is answered. */
  async serve(...ports: number[]): Promise<void> {
    const server = Bun.spawn(this.#within("server", "serve", ...ports), { stdout: "pipe", stderr: "inherit" });
    this.#children.push(server);
    const said = server.stdout.getReader();
    await said.read();
    // It says a line for each connection, and would wait for ever at a full pipe.
    const drain = async () => {
      while (!(await said.read()).done);
    };
    void drain();
  }

  /**
   * The pod of one address is deleted, and there is another: of a new name, or of its own as a StatefulSet's. The last
   * one of its role that may call or be called stays.
   */
  async replace(which: number, again = false): Promise<void> {
    const slot = this.#slots[which % this.#slots.length]!;
    const { pod, role } = slot;
    if (this.#ready(role).every((one) => one === slot)) return;
    slot.written = Number.POSITIVE_INFINITY;
    await this.#calling;
    Object.assign(slot, this.#pod(role), again ? { pod } : {});
  }

  /** So many connections, one after the other, between any two pods. */
  async call(count: number, ports = this.options.ports): Promise<void> {
    this.#calling = this.#call(count, ports);
    await this.#calling;
  }

  async #call(count: number, ports: number[]): Promise<void> {
    const calls = Array.from({ length: count }, () => ({
      client: this.#any("client"),
      server: this.#any("server"),
      port: random(ports),
      sent: 8 + random([0, 1, 100, 5000]),
      received: random([1, 77, 3000]),
    }));
    for (const { client, server, port, sent, received } of calls)
      this.#caller.stdin.write(`${client.address} ${server.address} ${port} ${sent} ${received}\n`);
    this.#caller.stdin.flush();
    for (let answered = 0; answered < count * "done\n".length; ) {
      const { done, value } = await this.#answers.next();
      if (done) throw new Error("the caller ended at a call");
      answered += value.length;
    }
    for (const { client, server, port, sent, received } of calls)
      this.#moved(client.pod, server.pod, port, { sent, received, connections: 1, requests: 1 });
  }

  /**
   * One connection that rests after half of what it sends, at a port that nobody else calls.
   * @returns sends the second half; what had been sent before it counts in `truth` at once
   */
  async half(port: number, sent: number, received: number): Promise<() => Promise<void>> {
    const [client, server] = [this.#any("client"), this.#any("server")];
    // It is theirs for all of its life, whoever has their addresses meanwhile.
    const pods = [client.pod, server.pod] as const;
    const command = this.#within("client", "halves", client.address, server.address, port, sent, received);
    const child = Bun.spawn(command, { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
    this.#children.push(child);
    await child.stdout.getReader().read();
    this.#moved(...pods, port, { sent: sent / 2, received: 0, connections: 1, requests: 0 });
    return async () => {
      child.stdin.write("\n");
      child.stdin.flush();
      await child.exited;
      // A connection older than the agent is one more of that agent's.
      this.#moved(...pods, port, { sent: sent / 2, received, connections: 1, requests: 1 });
    };
  }

  async stop(): Promise<void> {
    for (const child of this.#children) child.kill();
    await Promise.all(this.#children.map((child) => child.exited));
    await $`${namespaces} down ${this.options.name}`.quiet();
  }

  #pod(role: Role): Pick<Slot, "pod" | "startTime"> {
    return { pod: `${role}-${++this.pods}`, startTime: new Date().toISOString() };
  }

  #any(role: Role): Slot {
    return random(this.#ready(role));
  }

  #ready(role: Role): Slot[] {
    return this.#slots.filter((slot) => slot.role === role && slot.written <= this.#known);
  }

  #within(role: Role, ...command: (string | number)[]): string[] {
    return ["nsenter", `--net=/run/netns/${this.options.name}-${role}`, this.#talk, ...command.map(String)];
  }

  #moved(
    client: string,
    server: string,
    port: number,
    { sent, received, connections, requests }: Record<"sent" | "received" | "connections" | "requests", number>,
  ): void {
    const add = (key: string, count: number) => this.truth.set(key, (this.truth.get(key) ?? 0) + count);
    this.calls++;
    add(`transmitted_bytes ${client}`, sent);
    add(`transmitted_bytes ${server}`, received);
    add(`requests_sent ${client}`, requests);
    add(`acknowledged_bytes ${server}:${port}`, sent);
    add(`requests_received ${server}:${port}`, requests);
    add(`request_exchanged ${client} ${server}:${port}`, requests);
    for (const counted of ["once", "again"]) {
      const link = `${client} ${server}:${port} ${counted}`;
      add(`link_sent_bytes ${link}`, sent);
      add(`link_received_bytes ${link}`, received);
      add(`link_connections ${link}`, connections);
      add(`link_requests ${link}`, requests);
    }
  }
}

/** Of a counter's labels, its name among them: where it counts in `truth`; undefined for what has no truth there. */
export function keyOf({ __name__: name = "", ...labels }: Record<string, string>): string | undefined {
  const [, family] = /^kube_ebpf_(\w+)_total$/.exec(name) ?? [];
  const { port, source_workload, destination_workload, counted, source_name, destination_name } = labels;
  switch (family) {
    case "transmitted_bytes":
    case "requests_sent":
      return `${family} ${labels.name}`;
    case "acknowledged_bytes":
    case "requests_received":
      return `${family} ${labels.name}:${port}`;
    case "request_exchanged":
      return `${family} ${source_name} ${destination_name}:${labels.destination_port}`;
    case "link_sent_bytes":
    case "link_received_bytes":
    case "link_connections":
    case "link_requests":
      return `${family} ${source_workload} ${destination_workload}:${port} ${counted}`;
    default:
      return undefined;
  }
}

/** One sentence for each count that differs; both without those that are 0. */
export function differences(truth: Map<string, number>, seen: Map<string, number>): string[] {
  return [...new Set([...truth.keys(), ...seen.keys()])].flatMap((key) => {
    const [expected, got] = [truth.get(key) ?? 0, seen.get(key) ?? 0];
    return expected === got ? [] : [`${key}: expected ${expected}, got ${got}`];
  });
}
