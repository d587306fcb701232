/**
 * Lists what an image's root holds, in SPDX 2.3: sbom.ts ROOT ARCHITECTURE MODULES prints it as JSON. MODULES is what
 * executable.ts said; Debian's packages are those of the root's own list.
 */
import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import pkg from "../../package.json" with { type: "json" };

const [root, architecture, modules] = process.argv.slice(2) as [string, string, string];
const top = join(import.meta.dir, "../..");

interface Package {
  name: string;
  version: string;
  license?: string;
  purl: string;
  supplier?: string;
  /** SHA-512 of what npm served, base64. */
  integrity?: string;
}

const npm = (name: string, version: string): string => `pkg:npm/${name.replace("@", "%40")}@${version}`;

/** Of bun.lock, which is JSON but for its last commas. */
const locked = JSON.parse(readFileSync(join(top, "bun.lock"), "utf8").replace(/,(\s*[}\]])/g, "$1")) as {
  packages: Record<string, [string, ...unknown[]]>;
};

function modulePackage(folder: string): Package {
  const { name, version, license } = JSON.parse(readFileSync(join(top, folder, "package.json"), "utf8"));
  const entry = locked.packages[folder.replace("node_modules/", "")];
  const integrity = String(entry?.at(-1) ?? "").replace(/^sha512-/, "");
  if (entry?.[0] !== `${name}@${version}` || !integrity) throw new Error(`${folder} is not the one of bun.lock`);
  return { name, version, purl: npm(name, version), integrity, ...(typeof license === "string" ? { license } : {}) };
}

function debianPackage(control: string): Package {
  const field = (name: string): string => new RegExp(`^${name}: (.*)$`, "m").exec(control)?.[1] ?? "";
  const [name, version] = [field("Package"), field("Version")];
  const purl = `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${field("Architecture")}`;
  return { name, version, purl, supplier: `Person: ${field("Maintainer")}` };
}

function filesUnder(folder: string): string[] {
  return readdirSync(folder)
    .sort()
    .flatMap((name) => {
      const path = join(folder, name);
      return lstatSync(path).isDirectory() ? filesUnder(path) : [path];
    });
}

const status = join(root, "var/lib/dpkg/status.d");
const packages: Package[] = [
  {
    name: "bun",
    version: Bun.version,
    license: "MIT",
    purl: `${npm(`@oven/bun-linux-${architecture === "amd64" ? "x64" : "aarch64"}`, Bun.version)}`,
  },
  ...(JSON.parse(readFileSync(modules, "utf8")) as string[]).map(modulePackage),
  ...readdirSync(status)
    .sort()
    .map((name) => debianPackage(readFileSync(join(status, name), "utf8"))),
];

const id = (kind: string, name: string): string => `SPDXRef-${kind}-${name.replace(/[^A-Za-z0-9.-]+/g, "-")}`;
const described = (p: Package, of = "Package") => ({
  SPDXID: id(of, p.name),
  name: p.name,
  versionInfo: p.version,
  downloadLocation: "NOASSERTION",
  filesAnalyzed: false,
  supplier: p.supplier ?? "NOASSERTION",
  licenseConcluded: "NOASSERTION",
  licenseDeclared: p.license ?? "NOASSERTION",
  copyrightText: "NOASSERTION",
  ...(p.integrity
    ? { checksums: [{ algorithm: "SHA512", checksumValue: Buffer.from(p.integrity, "base64").toString("hex") }] }
    : {}),
  externalRefs: [{ referenceCategory: "PACKAGE-MANAGER", referenceType: "purl", referenceLocator: p.purl }],
});

const files = filesUnder(root).map((path) => {
  const bytes = readFileSync(path);
  const sum = (algorithm: string) => createHash(algorithm).update(bytes).digest("hex");
  const name = `./${relative(root, path)}`;
  return {
    SPDXID: id("File", name.slice(2).replaceAll("/", ".")),
    fileName: name,
    checksums: [
      { algorithm: "SHA1", checksumValue: sum("sha1") },
      { algorithm: "SHA256", checksumValue: sum("sha256") },
    ],
    licenseConcluded: "NOASSERTION",
    copyrightText: "NOASSERTION",
  };
});

// SPDX asks it of a package that contains files: a sum of their sums.
const sums = files.map(({ checksums: [sha1] }) => sha1!.checksumValue).sort();
const image = {
  ...described(
    {
      name: pkg.name,
      version: pkg.version,
      license: pkg.license,
      purl: `pkg:oci/ringside@${pkg.version}?arch=${architecture}`,
    },
    "Image",
  ),
  filesAnalyzed: true,
  packageVerificationCode: {
    packageVerificationCodeValue: createHash("sha1").update(sums.join("")).digest("hex"),
    packageVerificationCodeExcludedFiles: ["./usr/share/doc/ringside/sbom.spdx.json"],
  },
};
const contents = [...packages.map((p) => id("Package", p.name)), ...files.map(({ SPDXID }) => SPDXID)];
// The time of the sources, so that the same sources give the same list.
const created = new Date(Number(process.env.SOURCE_DATE_EPOCH) * 1000).toISOString().replace(".000", "");
const all = createHash("sha256").update(JSON.stringify(files)).digest("hex");
console.log(
  JSON.stringify(
    {
      spdxVersion: "SPDX-2.3",
      dataLicense: "CC0-1.0",
      SPDXID: "SPDXRef-DOCUMENT",
      name: `ringside-${pkg.version}-${architecture}`,
      documentNamespace: `https://spdx.org/spdxdocs/ringside-${pkg.version}-${architecture}-${all}`,
      creationInfo: { created, creators: [`Tool: ringside-hack-image-${pkg.version}`] },
      documentDescribes: [image.SPDXID],
      packages: [image, ...packages.map((p) => described(p))],
      files,
      relationships: [
        { spdxElementId: "SPDXRef-DOCUMENT", relationshipType: "DESCRIBES", relatedSpdxElement: image.SPDXID },
        ...contents.map((relatedSpdxElement) => ({
          spdxElementId: image.SPDXID,
          relationshipType: "CONTAINS",
          relatedSpdxElement,
        })),
      ],
    },
    null,
    2,
  ),
);
