/** A real API server and etcd on loopback, with TLS and RBAC as in a cluster. No controllers run: a test makes what it needs. */
import { createSign } from "node:crypto";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import type { Access } from "../../src/kube/client.ts";
import { inCluster } from "../../src/kube/incluster.ts";

const programs = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "ringside/kind/bin");
export const ADMIN = "admin-token";
/** The API server is ready in some 3 s; a loaded machine takes longer. */
const READY_MS = 60_000;

/** All that the agent may do, as its chart says it. */
export const READER = [
  { apiGroups: [""], resources: ["pods", "services", "nodes"], verbs: ["list", "watch"] },
  { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
];

type Json = Record<string, unknown>;

/** This second, as Kubernetes writes it. */
export const stamp = () => `${new Date().toISOString().slice(0, 19)}Z`;

export class Cluster {
  readonly folder = mkdtempSync(join(tmpdir(), "ringside-api-"));
  readonly #host: string;
  readonly #port = freePort();
  readonly #store = freePort();
  readonly #peer = freePort();
  #etcd: Subprocess | undefined;
  #server: Subprocess | undefined;

  private constructor(host: string) {
    this.#host = host;
  }

  /** @param flags of the API server */
  static async start(flags: string[] = [], host = "127.0.0.1"): Promise<Cluster> {
    const cluster = new Cluster(host);
    cluster.certify("ca");
    openssl("genrsa", "-out", cluster.file("accounts.key"), "2048");
    writeFileSync(cluster.file("tokens"), `${ADMIN},admin,admin,system:masters\n`);
    cluster.startStore();
    await cluster.startServer(flags);
    return cluster;
  }

  file(name: string): string {
    return join(this.folder, name);
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `https://${this.#host.includes(":") ? `[${this.#host}]` : this.#host}:${this.#port}`;
  }

  /** A new authority, and with it a new certificate of the server, from its next start on. */
  certify(authority: string): void {
    const [ca, caKey] = [this.file(`${authority}.crt`), this.file(`${authority}.key`)];
    const days = ["-days", "2"];
    openssl(
      "req",
      "-x509",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-subj",
      `/CN=${authority}`,
      ...days,
      "-keyout",
      caKey,
      "-out",
      ca,
    );
    writeFileSync(this.file("names"), "subjectAltName=DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:::1");
    this.sign(authority, "server", "/CN=kube-apiserver", ["-extfile", this.file("names")]);
    writeFileSync(this.file("ca-in-use.crt"), readFileSync(ca));
  }

  /** A certificate by that authority: name.crt and name.key. */
  sign(authority: string, name: string, subject: string, more: string[] = []): void {
    const request = this.file(`${name}.csr`);
    openssl(
      "req",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-subj",
      subject,
      "-keyout",
      this.file(`${name}.key`),
      "-out",
      request,
    );
    const by = ["-CA", this.file(`${authority}.crt`), "-CAkey", this.file(`${authority}.key`), "-CAcreateserial"];
    openssl("x509", "-req", "-in", request, ...by, "-days", "2", "-out", this.file(`${name}.crt`), ...more);
  }

  private startStore(): void {
    const [store, peer] = [`http://127.0.0.1:${this.#store}`, `http://127.0.0.1:${this.#peer}`];
    this.#etcd = this.spawn("etcd", [
      ...["--data-dir", this.file("etcd"), "--unsafe-no-fsync", "--log-level", "error"],
      // As kubeadm has it: so all bookmarks move on, also of what does not change.
      ...["--watch-progress-notify-interval", "5s"],
      ...["--listen-client-urls", store, "--advertise-client-urls", store],
      ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", `default=${peer}`],
    ]);
  }

  async startServer(flags: string[] = []): Promise<void> {
    const accounts = this.file("accounts.key");
    this.#server = this.spawn("kube-apiserver", [
      ...["--etcd-servers", `http://127.0.0.1:${this.#store}`],
      ...["--bind-address", this.#host, "--secure-port", String(this.#port), "--advertise-address", "127.0.0.1"],
      ...["--endpoint-reconciler-type", "none", "--service-cluster-ip-range", "10.96.0.0/16"],
      ...["--tls-cert-file", this.file("server.crt"), "--tls-private-key-file", this.file("server.key")],
      ...["--client-ca-file", this.file("ca.crt"), "--token-auth-file", this.file("tokens")],
      ...["--service-account-issuer", "https://kubernetes.default.svc"],
      ...["--service-account-signing-key-file", accounts, "--service-account-key-file", accounts],
      ...["--authorization-mode", "RBAC", "--disable-admission-plugins", "ServiceAccount"],
      ...flags,
    ]);
    await this.ready();
  }

  async ready(): Promise<void> {
    const end = Date.now() + READY_MS;
    for (;;) {
      const answer = await this.fetch("GET", "/readyz").catch(() => undefined);
      if (answer?.ok) return;
      const ended = this.#server?.exitCode ?? this.#etcd?.exitCode;
      if (ended !== null || Date.now() > end) {
        throw new Error(`no API server: ${readFileSync(this.file("kube-apiserver.log"), "utf8").slice(-2000)}`);
      }
      await Bun.sleep(50);
    }
  }

  /** At once, as when its machine fails. */
  async killServer(): Promise<void> {
    this.#server?.kill("SIGKILL");
    await this.#server?.exited;
  }

  /** Keeps what the store has now, for `restore`. */
  async snapshot(): Promise<void> {
    await this.killStore();
    cpSync(this.file("etcd"), this.file("snapshot"), { recursive: true });
    this.startStore();
    await this.ready();
  }

  /** All that happened since the snapshot never did: as when a cluster comes back from a backup. */
  async restore(): Promise<void> {
    await this.killServer();
    await this.killStore();
    rmSync(this.file("etcd"), { recursive: true });
    cpSync(this.file("snapshot"), this.file("etcd"), { recursive: true });
    this.startStore();
    await this.startServer();
  }

  private async killStore(): Promise<void> {
    this.#etcd?.kill("SIGKILL");
    await this.#etcd?.exited;
  }

  /** From now on it takes in and says nothing; its connections stay open. */
  freezeServer(): void {
    this.#server?.kill("SIGSTOP");
  }

  thawServer(): void {
    this.#server?.kill("SIGCONT");
  }

  async stop(): Promise<void> {
    this.thawServer();
    await this.killServer();
    await this.killStore();
    rmSync(this.folder, { recursive: true });
  }

  private spawn(program: string, args: string[]): Subprocess {
    const log = Bun.file(this.file(`${program}.log`));
    return Bun.spawn([join(programs, program), ...args], { stdout: log, stderr: log, stdin: "ignore" });
  }

  /** As the cluster's administrator. */
  async fetch(method: string, path: string, body?: unknown, type = "application/json"): Promise<Response> {
    return fetch(`${this.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${ADMIN}`, "content-type": type },
      tls: { ca: readFileSync(this.file("ca-in-use.crt"), "utf8") },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  /** @throws for any answer but 2xx */
  async ask(method: string, path: string, body?: unknown, type?: string): Promise<Json> {
    const response = await this.fetch(method, path, body, type);
    const answer = (await response.json()) as Json;
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${answer.message}`);
    return answer;
  }

  /** A service account with these rules, mounted as the kubelet would: the folder with its token and ca.crt. */
  async serviceAccount(name: string, rules: unknown[] = READER): Promise<string> {
    const metadata = { name };
    const subject = { kind: "ServiceAccount", name, namespace: "default" };
    const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name };
    const rbac = "/apis/rbac.authorization.k8s.io/v1";
    await this.ask("POST", "/api/v1/namespaces/default/serviceaccounts", { metadata });
    await this.ask("POST", `${rbac}/clusterroles`, { metadata, rules });
    await this.ask("POST", `${rbac}/clusterrolebindings`, { metadata, roleRef, subjects: [subject] });
    const folder = mkdtempSync(this.file("account-"));
    writeFileSync(join(folder, "token"), await this.token(name));
    writeFileSync(join(folder, "ca.crt"), readFileSync(this.file("ca-in-use.crt")));
    return folder;
  }

  /** By a TokenRequest, as the kubelet asks for it. */
  async token(account: string): Promise<string> {
    const path = `/api/v1/namespaces/default/serviceaccounts/${account}/token`;
    const { status } = await this.ask("POST", path, { spec: { expirationSeconds: 3600 } });
    return (status as { token: string }).token;
  }

  /**
   * A token that is the server's own but for its times, for a TokenRequest gives none for less than 10 minutes.
   * The server takes it for a minute longer than it says.
   */
  async shortToken(account: string, seconds: number): Promise<string> {
    const [header = "", payload = ""] = (await this.token(account)).split(".");
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
    const now = Math.floor(Date.now() / 1000);
    const short = Buffer.from(
      JSON.stringify({ ...claims, iat: now - 60, nbf: now - 60, exp: now - 60 + seconds }),
    ).toString("base64url");
    const signature = createSign("RSA-SHA256")
      .update(`${header}.${short}`)
      .sign(readFileSync(this.file("accounts.key")));
    return `${header}.${short}.${signature.toString("base64url")}`;
  }

  /** The way to this server of a pod with that service account. */
  access(folder: string, port = this.#port): Access {
    const access = inCluster({ KUBERNETES_SERVICE_HOST: this.#host, KUBERNETES_SERVICE_PORT: String(port) }, folder);
    if (access === undefined) throw new Error(`${folder} is no service account's`);
    return access;
  }

  /** etcd forgets all that was before now, as the API server tells it to every five minutes. */
  async compact(): Promise<void> {
    const store = async (path: string, body: unknown): Promise<Json> => {
      const response = await fetch(`http://127.0.0.1:${this.#store}/v3/kv/${path}`, {
        method: "POST",
        body: JSON.stringify(body),
      });
      return (await response.json()) as Json;
    };
    const { header } = await store("range", { key: btoa("x") });
    await store("compaction", { revision: (header as { revision: string }).revision, physical: true });
  }

  /** A kubeconfig with the token of that service account, by its folder. */
  kubeconfig(folder: string): string {
    const config = {
      "current-context": "c",
      clusters: [{ name: "c", cluster: { server: this.url, "certificate-authority": "ca-in-use.crt" } }],
      users: [{ name: "u", user: { tokenFile: join(folder, "token") } }],
      contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
    };
    writeFileSync(this.file("config"), JSON.stringify(config));
    return this.file("config");
  }

  /** A running pod, or one in another phase. @returns its uid */
  async pod(name: string, ip: string, { node = "node-a", phase = "Running", labels = {} } = {}): Promise<string> {
    const uid = await this.bind(name, { node, labels });
    await this.podStatus(name, { phase, podIP: ip, podIPs: [{ ip }] });
    return uid;
  }

  /** A pod that has its node, and no address yet. @returns its uid */
  async bind(name: string, { node = "node-a", labels = {} } = {}): Promise<string> {
    const spec = { nodeName: node, containers: [{ name: "main", image: "none" }] };
    const pod = { metadata: { name, labels }, spec };
    const { metadata } = await this.ask("POST", "/api/v1/namespaces/default/pods", pod);
    return (metadata as { uid: string }).uid;
  }

  async podStatus(name: string, status: Json): Promise<void> {
    const path = `/api/v1/namespaces/default/pods/${name}/status`;
    await this.ask("PATCH", path, { status }, "application/merge-patch+json");
  }

  async deletePod(name: string): Promise<void> {
    await this.ask("DELETE", `/api/v1/namespaces/default/pods/${name}?gracePeriodSeconds=0`);
  }

  /** A Service's port 80 on that address, and the pod's port behind it. */
  async service(name: string, clusterIP: string, backend: { ip: string; port: number }): Promise<void> {
    const namespace = "/namespaces/default";
    const ports = [{ port: 80, targetPort: backend.port }];
    const labels = { "kubernetes.io/service-name": name };
    await this.ask("POST", `/api/v1${namespace}/services`, { metadata: { name }, spec: { clusterIP, ports } });
    await this.ask("POST", `/apis/discovery.k8s.io/v1${namespace}/endpointslices`, {
      metadata: { name, labels },
      addressType: "IPv4",
      endpoints: [{ addresses: [backend.ip] }],
      ports: [{ port: backend.port }],
    });
  }

  async deleteService(name: string): Promise<void> {
    await this.ask("DELETE", `/api/v1/namespaces/default/services/${name}`);
    await this.ask("DELETE", `/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/${name}`);
  }

  async node(name: string, ip: string): Promise<void> {
    await this.ask("POST", "/api/v1/nodes", { metadata: { name } });
    const status = { addresses: [{ type: "InternalIP", address: ip }] };
    await this.ask("PATCH", `/api/v1/nodes/${name}/status`, { status }, "application/merge-patch+json");
  }
}

function openssl(...args: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(["openssl", ...args]);
  if (exitCode !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
}

export function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = listener;
  listener.stop(true);
  return port;
}
