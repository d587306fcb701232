import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { RingsideError } from "../errors.ts";
import type { Access } from "./client.ts";

/** Where the kubelet mounts a pod's service account. */
const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * The way to the API server from a pod, as its service account; undefined where this is no pod, or one without a token.
 * The kubelet replaces the token about once an hour, and the CA when the cluster's changes: both are read for each request.
 */
export function inCluster(
  { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = "443" }: NodeJS.ProcessEnv = process.env,
  folder = SERVICE_ACCOUNT,
): Access | undefined {
  if (!host || !existsSync(join(folder, "token"))) return undefined;
  const read = async (name: string): Promise<string> => {
    const file = join(folder, name);
    try {
      return (await readFile(file, "utf8")).trim();
    } catch (cause) {
      const remedy = "The pod must have its service account's token mounted (automountServiceAccountToken).";
      throw new RingsideError("read the service account", file, remedy, { cause });
    }
  };
  return {
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    async credentials() {
      return { headers: { authorization: `Bearer ${await read("token")}` }, tls: { ca: await read("ca.crt") } };
    },
  };
}
