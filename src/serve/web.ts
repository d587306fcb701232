/** The format of `--web.config.file`, that of Prometheus' exporter toolkit: TLS, users and headers. */
import { constants } from "node:crypto";
import { dirname, resolve } from "node:path";
import { createSecureContext } from "node:tls";
import * as v from "valibot";
import { parse } from "yaml";
import { RingsideError } from "../errors.ts";
import { BasicAuth } from "./auth.ts";

/** What the file says, with the certificates that it names. */
export interface Web {
  /** For Bun.serve; undefined: HTTP. */
  tls: Bun.TLSOptions | undefined;
  /** undefined: everybody may ask. */
  auth: BasicAuth | undefined;
  /** On every answer. */
  headers: Record<string, string>;
}

/** Without a file. */
export const OPEN: Web = { tls: undefined, auth: undefined, headers: {} };

/** Known to the format, and not to be had here. */
const refused = (message: string) =>
  v.optional(
    v.pipe(
      v.unknown(),
      v.check(() => false, message),
    ),
  );
const one = <const T extends readonly string[]>(values: T, message: string) => v.optional(v.picklist(values, message));
const text = v.optional(v.string());
const header = v.optional(v.pipe(v.string(), v.regex(/^[\x20-\x7e]*$/, "It is printable ASCII.")));

const tlsConfig = v.strictObject({
  cert: text,
  cert_file: text,
  key: text,
  key_file: text,
  client_ca: text,
  client_ca_file: text,
  client_auth_type: one(
    ["NoClientCert", "RequireAndVerifyClientCert"],
    "It is NoClientCert or RequireAndVerifyClientCert; the others would let strangers in.",
  ),
  min_version: one(["TLS12", "TLS13"], "It is TLS12 or TLS13; older versions are not served."),
  max_version: one(["TLS13"], "The newest is always TLS13; leave it out."),
  client_allowed_sans: refused("Names in a client's certificate cannot be checked; use a CA that signs clients only."),
  cipher_suites: refused("Cipher suites cannot be chosen; leave it out."),
  prefer_server_cipher_suites: refused("The order of cipher suites cannot be chosen; leave it out."),
  curve_preferences: refused("Curves cannot be chosen; leave it out."),
});

const webConfig = v.strictObject({
  tls_server_config: v.nullish(tlsConfig),
  http_server_config: v.nullish(
    v.strictObject({
      http2: v.optional(v.literal(false, "HTTP/1.1 is all that is served; leave it out or say false.")),
      headers: v.nullish(
        v.strictObject({
          "Content-Security-Policy": header,
          "Strict-Transport-Security": header,
          "X-Content-Type-Options": one(["", "nosniff"], "It is nosniff."),
          "X-Frame-Options": one(["", "deny", "sameorigin"], "It is deny or sameorigin."),
          "X-XSS-Protection": header,
        }),
      ),
    }),
  ),
  basic_auth_users: v.nullish(
    v.record(
      v.pipe(v.string(), v.regex(/^[^:]+$/, "A user's name is not empty and has no colon.")),
      v.pipe(
        v.string(),
        v.regex(/^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/, "It is a bcrypt hash, as `htpasswd -nB USER` prints it."),
      ),
    ),
  ),
});

function wrong(object: string, remedy: string, cause?: unknown): RingsideError {
  return new RingsideError("use the web configuration", object, remedy, cause === undefined ? {} : { cause });
}

/**
 * @param file path of the YAML; paths in it are relative to its folder
 * @param read reads a file's text
 * @throws RingsideError for what cannot be read, is unknown, or cannot be served
 */
export async function readWeb(file: string, read: (path: string) => Promise<string>): Promise<Web> {
  const readable = async (path: string, object: string): Promise<string> => {
    try {
      return await read(path);
    } catch (cause) {
      throw wrong(object, "Name a file that the agent may read.", cause);
    }
  };
  const written = await readable(file, file);
  let parsed: unknown;
  try {
    parsed = parse(written) ?? {};
  } catch (cause) {
    // The lines below the first quote the file, which may hold a key.
    throw wrong(file, "It is YAML; mend what is named here.", (cause as Error).message.split(":\n")[0]);
  }
  const result = v.safeParse(webConfig, parsed, { abortEarly: true });
  if (!result.success) {
    const [issue] = result.issues;
    const key = v.getDotPath(issue);
    // Ours end with a full stop; valibot's own quote the file.
    const unknown = issue.expected === "never";
    throw wrong(
      key ? `${file}: ${key}` : file,
      unknown
        ? "There is no such key; leave it out."
        : issue.message.endsWith(".")
          ? issue.message
          : `It is of type ${issue.expected}.`,
    );
  }
  const { tls_server_config, http_server_config, basic_auth_users } = result.output;
  const users = Object.entries(basic_auth_users ?? {});
  const headers = Object.entries(http_server_config?.headers ?? {});
  return {
    tls: tls_server_config ? await tlsOf(file, tls_server_config, readable) : undefined,
    auth: users.length > 0 ? await BasicAuth.of(new Map(users)) : undefined,
    headers: Object.fromEntries(headers.flatMap(([name, value]) => (value ? [[name, value]] : []))),
  };
}

async function tlsOf(
  file: string,
  config: v.InferOutput<typeof tlsConfig>,
  read: (path: string, object: string) => Promise<string>,
): Promise<Bun.TLSOptions> {
  const section = `${file}: tls_server_config`;
  /** What stands in the file itself, or in the file that it names. */
  const pem = async (key: "cert" | "key" | "client_ca"): Promise<string | undefined> => {
    const path = config[`${key}_file`];
    if (config[key] && path) throw wrong(`${section}.${key}`, `Give ${key} or ${key}_file, not both.`);
    return path ? read(resolve(dirname(file), path), `${section}.${key}_file`) : config[key];
  };
  const [cert, key, ca] = [await pem("cert"), await pem("key"), await pem("client_ca")];
  if (!cert) throw wrong(section, "Give a certificate: cert_file or cert.");
  if (!key) throw wrong(section, "Give the certificate's key: key_file or key.");
  const verify = config.client_auth_type === "RequireAndVerifyClientCert";
  if (verify && !ca) throw wrong(section, "Give the CA of the clients' certificates: client_ca_file or client_ca.");
  if (!verify && ca) throw wrong(section, "With a client CA, client_auth_type is RequireAndVerifyClientCert.");
  try {
    createSecureContext({ cert, key });
  } catch (cause) {
    throw wrong(`${section}: certificate and key`, "Give a certificate in PEM and the key that belongs to it.", cause);
  }
  try {
    if (ca) createSecureContext({ ca });
  } catch (cause) {
    throw wrong(`${section}: client CA`, "Give a certificate in PEM.", cause);
  }
  return {
    cert,
    key,
    ...(config.min_version === "TLS13" ? { secureOptions: constants.SSL_OP_NO_TLSv1_2 } : {}),
    ...(ca ? { ca, requestCert: true, rejectUnauthorized: true } : {}),
  };
}
