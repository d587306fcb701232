/** The licences of the modules inside the executable, as each brings its own: licences.ts MODULES */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const top = join(import.meta.dir, "../..");
for (const folder of JSON.parse(readFileSync(process.argv[2] as string, "utf8")) as string[]) {
  const { name, version, license } = JSON.parse(readFileSync(join(top, folder, "package.json"), "utf8"));
  const texts = readdirSync(join(top, folder)).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file));
  console.log(`${name} ${version}: ${license}\n`);
  for (const text of texts.sort()) console.log(`${readFileSync(join(top, folder, text), "utf8").trim()}\n`);
}
