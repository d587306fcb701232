import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { RequestOptions } from "node:https";
import { dirname, resolve } from "node:path";
import type { KubeConfig } from "@kubernetes/client-node";
import { parse } from "yaml";
import { RingsideError } from "../errors.ts";
import type { Access, Credentials } from "./client.ts";

const STEP = "read the kubeconfig";
const REMEDY = "Name a file with a current context, as `kubectl config view --minify --raw` prints it.";

/**
 * The way to the API server that a kubeconfig's current context says: by client certificate, token, password or an
 * exec plugin. The library that reads it is loaded here, for it costs 60 MB; it makes no requests.
 *
 * @throws {RingsideError} where the file cannot be read or has no usable context
 */
export async function kubeconfig(file: string): Promise<Access> {
  const { KubeConfig } = await import("@kubernetes/client-node");
  const load = (): KubeConfig => {
    try {
      const config = new KubeConfig();
      config.loadFromFile(file);
      informPlugin(config.getCurrentUser()?.exec);
      return config;
    } catch (cause) {
      throw new RingsideError(STEP, file, REMEDY, { cause });
    }
  };
  let config = load();
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw new RingsideError(STEP, `${file} has no cluster in its current context`, REMEDY);
  if (!URL.canParse(cluster.server)) throw new RingsideError(STEP, `${file}: server ${cluster.server}`, REMEDY);
  if (cluster.proxyUrl !== undefined) {
    const remedy = "Set HTTPS_PROXY instead.";
    throw new RingsideError(STEP, `${file}: proxy-url is not supported`, remedy);
  }
  return {
    server: cluster.server,
    async credentials(refused) {
      // It remembers what an exec plugin gave it.
      if (refused) config = load();
      const options: RequestOptions = {};
      try {
        await config.applyToHTTPSOptions(options);
      } catch (cause) {
        throw new RingsideError(STEP, `${file}, user ${config.getCurrentUser()?.name}`, REMEDY, { cause });
      }
      const token = await tokenOf(file, config.getCurrentUser()?.name);
      return credentialsOf(options, token);
    },
  };
}

/** The protocol's part that the library leaves out, without which some plugins refuse to run. */
function informPlugin(exec: { apiVersion?: string; env?: { name: string; value: string }[] | null } | undefined): void {
  if (!exec) return;
  const info = { kind: "ExecCredential", apiVersion: exec.apiVersion, spec: { interactive: false } };
  exec.env = [...(exec.env ?? []), { name: "KUBERNETES_EXEC_INFO", value: JSON.stringify(info) }];
}

function credentialsOf(options: RequestOptions, token: string | undefined): Credentials {
  const { ca, cert, key, servername, rejectUnauthorized, auth } = options;
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) headers[name.toLowerCase()] = String(value);
  if (typeof auth === "string") headers.authorization = `Basic ${Buffer.from(auth).toString("base64")}`;
  if (token !== undefined) headers.authorization = `Bearer ${token}`;
  const tls = Object.entries({ ca, cert, key, serverName: servername, rejectUnauthorized });
  return { headers, tls: Object.fromEntries(tls.filter(([, value]) => value !== undefined)) };
}

/** From the user's `tokenFile`, which the library does not know; read anew each time, as the file may change. */
async function tokenOf(file: string, user: string | undefined): Promise<string | undefined> {
  const { users } = parse(readFileSync(file, "utf8")) as { users?: { name: string; user?: { tokenFile?: string } }[] };
  const path = users?.find(({ name }) => name === user)?.user?.tokenFile;
  if (path === undefined) return undefined;
  const tokenFile = resolve(dirname(file), path);
  try {
    return (await readFile(tokenFile, "utf8")).trim();
  } catch (cause) {
    throw new RingsideError(STEP, tokenFile, "The file that the user's tokenFile names must be readable.", { cause });
  }
}
