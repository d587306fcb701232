/** The web configuration: what is refused, and with real curl what is served. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $ } from "bun";
import { load } from "../core/fixture.ts";
import type { RingsideError } from "../errors.ts";
import { type Server, serve } from "./http.ts";
import { SelfMetrics } from "./metrics.ts";
import { Scrapers } from "./scrapers.ts";
import { WebFile } from "./webfile.ts";

let folder: string;
let file: string;
let webFile: WebFile | undefined;
let server: Server | undefined;
let errors: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "ringside-"));
  file = join(folder, "web.yaml");
  errors = [];
});

afterEach(async () => {
  webFile?.close();
  await server?.stop();
  webFile = server = undefined;
  await rm(folder, { recursive: true });
});

const path = (name: string): string => join(folder, name);

/** A certificate and its key, for 127.0.0.1. */
async function certificate(name: string): Promise<void> {
  const args = ["-days", "2", "-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1"];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path(`${name}.key`)];
  await $`openssl req -x509 ${key} ${args} -out ${path(`${name}.crt`)}`.quiet();
}

/** Writes the configuration and puts it to use. */
async function start(config: string): Promise<void> {
  await writeFile(file, config);
  webFile = await WebFile.open({ file, interval: 20, onError: (error) => errors.push(error.message) });
  const core = await load();
  const metrics = new SelfMetrics(core, undefined, webFile);
  const parts = { core, metrics, scrapers: new Scrapers(0n, 0n), now: () => 1n, web: webFile.current };
  const serving = serve({ hostname: "127.0.0.1", port: 0 }, parts);
  webFile.onChange = (web) => serving.use(web);
  server = serving;
}

/** What curl says of a path: the answer's status (000: none), and its own exit code. */
async function curl(to: string, ...args: string[]): Promise<string> {
  const url = new URL(to, server?.url).href;
  return $`curl -s -o /dev/null -w ${"%{http_code}"} ${args} ${url}`.nothrow().quiet().text();
}

async function until(what: () => Promise<boolean> | boolean): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await what()) return;
    await Bun.sleep(20);
  }
  throw new Error("it did not happen");
}

const hash = (password: string): Promise<string> => Bun.password.hash(password, { algorithm: "bcrypt", cost: 4 });
const hashed = "$2y$05$abcdefghijklmnopqrstuuLg0123456789abcdefghijklmnopqrs";

describe("is refused with its place and a remedy", () => {
  for (const [config, said] of [
    ["- a", "web.yaml: 0. There is no such key"],
    ["secret", "web.yaml. It is of type Object."],
    ["a: secret\nb: [", "web.yaml: Flow sequence"],
    ["tls: {}", "web.yaml: tls. There is no such key"],
    ["tls_server_config: {cert_fiel: x}", "web.yaml: tls_server_config.cert_fiel. There is no such key"],
    ["tls_server_config: {}", "web.yaml: tls_server_config. Give a certificate: cert_file or cert."],
    ["tls_server_config: {cert: x, cert_file: y, key: z}", "tls_server_config.cert. Give cert or cert_file, not both."],
    ["tls_server_config: {cert: x}", "tls_server_config. Give the certificate's key: key_file or key."],
    ["tls_server_config: {cert: x, key: y}", "certificate and key: error:"],
    ["tls_server_config: {cert_file: none, key: y}", "tls_server_config.cert_file: ENOENT"],
    ["tls_server_config: {cert: x, key: y, min_version: TLS11}", "min_version. It is TLS12 or TLS13"],
    ["tls_server_config: {cert: x, key: y, cipher_suites: [A]}", "cipher_suites. Cipher suites cannot be chosen"],
    [
      "tls_server_config: {cert: x, key: y, client_auth_type: RequestClientCert}",
      "client_auth_type. It is NoClientCert",
    ],
    [
      "tls_server_config: {cert: x, key: y, client_auth_type: RequireAndVerifyClientCert}",
      "tls_server_config. Give the CA of the clients' certificates",
    ],
    ["tls_server_config: {cert: x, key: y, client_ca: z}", "client_auth_type is RequireAndVerifyClientCert."],
    ["http_server_config: {http2: true}", "http_server_config.http2. HTTP/1.1 is all that is served"],
    ["http_server_config: {headers: {X-Other: a}}", "headers.X-Other. There is no such key"],
    ['http_server_config: {headers: {X-XSS-Protection: "a\\r\\nb"}}', "X-XSS-Protection. It is printable ASCII."],
    ["basic_auth_users: {a: secret}", "basic_auth_users.a. It is a bcrypt hash"],
    [`basic_auth_users: {"a:b": "${hashed}"}`, "basic_auth_users.a:b. A user's name"],
  ] as const) {
    test(config, async () => {
      await writeFile(file, config);
      const error = await WebFile.open({ file, onError: () => {} }).catch((thrown: RingsideError) => thrown);
      expect((error as Error).message).toStartWith("cannot use the web configuration: ");
      expect((error as Error).message).toContain(said);
      expect((error as Error).message).not.toContain("secret");
    });
  }
});

test("an empty file asks nothing of anybody", async () => {
  await start("");
  expect(await curl("/metrics")).toBe("200");
});

test("TLS, of 1.3 alone where it is the oldest, with the headers", async () => {
  await certificate("a");
  await start(
    "tls_server_config: {cert_file: a.crt, key_file: a.key, min_version: TLS13}\nhttp_server_config: {headers: {X-Frame-Options: deny}}",
  );
  const trust = ["--cacert", path("a.crt")];
  expect(await curl("/metrics", ...trust)).toBe("200");
  expect(await curl("/api/links", ...trust)).toBe("200");
  expect(await curl("/metrics")).toBe("000");
  expect(await curl("/metrics", "--tls-max", "1.2", ...trust)).toBe("000");
  expect(await curl("http://127.0.0.1:".concat(new URL(server?.url ?? "").port, "/metrics"))).toBe("000");
  for (const asked of ["/metrics", "/healthz", "/nothing"]) {
    const answer = await $`curl -si ${trust} ${new URL(asked, server?.url).href}`.quiet().text();
    expect(answer.toLowerCase()).toContain("x-frame-options: deny\r\n");
  }
});

test("a client's certificate, of the right CA alone", async () => {
  for (const name of ["a", "client", "stranger"]) await certificate(name);
  await start(
    "tls_server_config: {cert_file: a.crt, key_file: a.key, client_ca_file: client.crt, client_auth_type: RequireAndVerifyClientCert}",
  );
  const as = (name: string) => ["--cacert", path("a.crt"), "--cert", path(`${name}.crt`), "--key", path(`${name}.key`)];
  expect(await curl("/metrics", ...as("client"))).toBe("200");
  expect(await curl("/metrics", ...as("stranger"))).toBe("000");
  expect(await curl("/metrics", "--cacert", path("a.crt"))).toBe("000");
});

test("users by password, and the kubelet's probes without one", async () => {
  await start(
    `basic_auth_users: {anna: "${await hash("s3:cret ü")}", bert: "${(await hash("b")).replace("$2b", "$2y")}"}`,
  );
  expect(await curl("/metrics", "-u", "anna:s3:cret ü")).toBe("200");
  expect(await curl("/metrics", "-u", "anna:s3:cret ü")).toBe("200");
  expect(await curl("/api/links", "-u", "bert:b")).toBe("200");
  for (const user of ["anna:b", "bert:s3:cret ü", "anna:", "nobody:b", ":"])
    expect(`${user} ${await curl("/metrics", "-u", user)}`).toBe(`${user} 401`);
  for (const value of ["", "Basic", "Basic ?", "Basic YW5uYQ==", "Bearer x"])
    expect(await curl("/metrics", "-H", `Authorization: ${value}`)).toBe("401");
  for (const asked of ["/api/links", "/nothing"]) expect(await curl(asked)).toBe("401");
  expect(await curl("/healthz")).toBe("200");
  expect(await curl("/readyz")).toBe("503");
  // As `ringside top --url` asks.
  const url = new URL("/api/links", (server?.url ?? "").replace("//", "//bert:b@"));
  expect((await fetch(url)).status).toBe(200);
});

describe("read again", () => {
  const served = async (name: string): Promise<boolean> =>
    (await curl("/metrics", "--cacert", path(`${name}.crt`))) === "200";

  test("with certificates, broken ones left alone and told once", async () => {
    for (const name of ["a", "b"]) await certificate(name);
    for (const part of ["crt", "key"]) await $`cp ${path(`a.${part}`)} ${path(`now.${part}`)}`;
    await start("tls_server_config: {cert_file: now.crt, key_file: now.key}");
    const { port } = new URL(server?.url ?? "");
    expect(await served("a")).toBe(true);

    await rename(path("b.key"), path("now.key")); // half of a change
    await until(() => errors.length > 0);
    await Bun.sleep(100);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain("certificate and key");
    expect(await served("a")).toBe(true);

    // In one step: half a file would be one more failure.
    await $`cp ${path("b.crt")} ${path("next.crt")}`;
    await rename(path("next.crt"), path("now.crt"));
    await until(() => served("b"));
    expect(await served("a")).toBe(false);
    expect(new URL(server?.url ?? "").port).toBe(port);
    expect(webFile?.counters()).toEqual({ reads: 2, failures: 1 });
  });

  test("behind a symbolic link that is swapped, as in a mounted Secret", async () => {
    for (const [version, password] of Object.entries({ one: "1", two: "2" })) {
      await mkdir(path(version));
      await writeFile(join(path(version), "web.yaml"), `basic_auth_users: {anna: "${await hash(password)}"}`);
    }
    await symlink("one", path("data"));
    file = join(path("data"), "web.yaml");
    await start(`basic_auth_users: {anna: "${await hash("1")}"}`);
    expect(await curl("/metrics", "-u", "anna:1")).toBe("200");
    await symlink("two", path("next"));
    await rename(path("next"), path("data"));
    await until(async () => (await curl("/metrics", "-u", "anna:2")) === "200");
    expect(await curl("/metrics", "-u", "anna:1")).toBe("401");
    expect(errors).toEqual([]);
  });

  test("a broken edit, a missing file and back", async () => {
    const config = `basic_auth_users: {anna: "${await hash("1")}"}`;
    await start(config);
    await writeFile(file, "basic_auth_users: {anna: x}");
    await until(() => errors.length === 1);
    await rm(file);
    await until(() => errors.length === 2);
    expect(await curl("/metrics", "-u", "anna:1")).toBe("200");
    expect(await curl("/metrics")).toBe("401");
    await writeFile(file, "");
    await until(async () => (await curl("/metrics")) === "200");
    expect(errors).toHaveLength(2);
  });
});
