/** All ways in that a kubeconfig can name, each at a real API server; and the way in of a pod. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ApiClient } from "../../src/kube/client.ts";
import { kubeconfig } from "../../src/kube/kubeconfig.ts";
import { Cluster } from "./cluster.ts";

let cluster: Cluster;
let account: string;

beforeAll(async () => {
  cluster = await Cluster.start();
  account = await cluster.serviceAccount("ringside");
  cluster.sign("ca", "reader", "/O=system:masters/CN=reader");
}, 90_000);
afterAll(() => cluster.stop());

interface Parts {
  cluster?: Record<string, unknown>;
  user?: Record<string, unknown>;
  context?: string;
}

/** A kubeconfig with two contexts, of which the other leads nowhere. */
function write({ cluster: more, user, context = "here" }: Parts): string {
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": context,
    clusters: [
      { name: "a", cluster: { server: "https://127.0.0.1:1" } },
      { name: "b", cluster: { server: cluster.url, "certificate-authority": "ca.crt", ...more } },
    ],
    users: [{ name: "u", user: user ?? {} }],
    contexts: [
      { name: "nowhere", context: { cluster: "a", user: "u" } },
      { name: "here", context: { cluster: "b", user: "u" } },
    ],
  };
  const file = cluster.file("kubeconfig");
  writeFileSync(file, JSON.stringify(config));
  return file;
}

async function list(parts: Parts): Promise<string> {
  const client = new ApiClient(await kubeconfig(write(parts)));
  const response = await client.get("list pods", "/api/v1/pods", AbortSignal.timeout(10_000));
  return ((await response.json()) as { kind: string }).kind;
}

const refusal = (parts: Parts): Promise<string> => list(parts).then(() => "not refused", String);
const token = (): string => readFileSync(join(account, "token"), "utf8");
const base64 = (name: string): string => readFileSync(cluster.file(name)).toString("base64");

describe("lets in", () => {
  test("a token", async () => {
    expect(await list({ user: { token: token() } })).toBe("PodList");
  });

  test("a token in a file, beside the kubeconfig, and each time the one that is there", async () => {
    const file = cluster.file("its-token");
    writeFileSync(file, "wrong");
    const client = new ApiClient(await kubeconfig(write({ user: { tokenFile: "its-token" } })));
    const status = () =>
      client.get("list pods", "/api/v1/pods", AbortSignal.timeout(10_000)).then(
        ({ status }) => status,
        ({ status }) => status,
      );
    expect(await status()).toBe(401);
    writeFileSync(file, `${token()}\n`);
    expect(await status()).toBe(200);
  });

  test("a client certificate in files", async () => {
    const user = { "client-certificate": "reader.crt", "client-key": "reader.key" };
    expect(await list({ user })).toBe("PodList");
  });

  test("a client certificate and a CA in the kubeconfig itself", async () => {
    const user = { "client-certificate-data": base64("reader.crt"), "client-key-data": base64("reader.key") };
    const data = { "certificate-authority": undefined, "certificate-authority-data": base64("ca.crt") };
    expect(await list({ cluster: data, user })).toBe("PodList");
  });

  test("an exec plugin, asked again when its token is refused", async () => {
    const plugin = cluster.file("plugin");
    const credential = (of: string) => JSON.stringify({ kind: "ExecCredential", status: { token: of } });
    writeFileSync(cluster.file("answer"), credential("wrong"));
    writeFileSync(plugin, `#!/bin/sh\n[ -n "$KUBERNETES_EXEC_INFO" ] && cat "$ANSWER"\n`);
    chmodSync(plugin, 0o755);
    const env = [{ name: "ANSWER", value: cluster.file("answer") }];
    const exec = { apiVersion: "client.authentication.k8s.io/v1", command: plugin, env };
    const client = new ApiClient(await kubeconfig(write({ user: { exec } })));
    const ask = () => client.get("list pods", "/api/v1/pods", AbortSignal.timeout(10_000));
    expect(await ask().catch(({ status }) => status)).toBe(401);
    writeFileSync(cluster.file("answer"), credential(token()));
    expect((await ask()).status).toBe(200);
  });

  test("whom it knows by another name of the server's", async () => {
    expect(await list({ cluster: { "tls-server-name": "kubernetes.default.svc" }, user: { token: token() } })).toBe(
      "PodList",
    );
    expect(await refusal({ cluster: { "tls-server-name": "other" }, user: { token: token() } })).toContain(
      "Its certificate must be for this name or address",
    );
  });

  test("without a look at the certificate, where it is told so", async () => {
    const insecure = { "certificate-authority": undefined, "insecure-skip-tls-verify": true };
    expect(await list({ cluster: insecure, user: { token: token() } })).toBe("PodList");
    expect(await refusal({ cluster: { "certificate-authority": undefined }, user: { token: token() } })).toContain(
      "by an authority of the CA file.",
    );
  });
});

describe("refuses", () => {
  test("a file that is not there, or is none", async () => {
    const missing = await kubeconfig("/nowhere/config").catch(String);
    expect(missing).toContain("cannot read the kubeconfig: /nowhere/config: ENOENT");
    writeFileSync(cluster.file("broken"), "{");
    expect(await kubeconfig(cluster.file("broken")).catch(String)).toContain("cannot read the kubeconfig: ");
  });

  test("a context that is not there", async () => {
    expect(await refusal({ context: "lost" })).toContain("has no cluster in its current context");
  });

  test("an exec plugin that fails", async () => {
    const exec = { apiVersion: "client.authentication.k8s.io/v1", command: "/bin/false" };
    expect(await refusal({ user: { exec } })).toContain("kubeconfig, user u");
  });
});

test("a pod's way to a server with an IPv6 address", async () => {
  const six = await Cluster.start([], "::1");
  try {
    const client = new ApiClient(six.access(await six.serviceAccount("ringside")));
    const response = await client.get("list pods", "/api/v1/pods", AbortSignal.timeout(10_000));
    expect(((await response.json()) as { kind: string }).kind).toBe("PodList");
  } finally {
    await six.stop();
  }
}, 60_000);
