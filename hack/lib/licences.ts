/**
 * The licences of what is inside the executable, as each module brings its own: licences.ts MODULES. Bun's package has none
 * to bring.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const top = join(import.meta.dir, "../..");
console.log(
  `bun ${Bun.version}: MIT; with JavaScriptCore (LGPL-2.0) and others: https://bun.com/docs/project/license\n`,
);
for (const folder of JSON.parse(readFileSync(process.argv[2] as string, "utf8")) as string[]) {
  const { name, version, license } = JSON.parse(readFileSync(join(top, folder, "package.json"), "utf8"));
  const texts = readdirSync(join(top, folder)).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file));
  console.log(`${name} ${version}: ${license}\n`);
  for (const text of texts.sort()) console.log(`${readFileSync(join(top, folder, text), "utf8").trim()}\n`);
}
