/**
 * Counts a JUnit report: junit.ts REPORT EXPECTED-SKIPS prints "PASSED FAILED SKIPPED". Each skip is told, and must
 * stand in the list as "FILE: TEST".
 */
import { readFileSync } from "node:fs";

const [report, list] = process.argv.slice(2) as [string, string];
const xml = readFileSync(report, "utf8");
const expected = new Set(readFileSync(list, "utf8").split("\n"));

const decoded = (text: string): string =>
  text.replace(
    /&(quot|apos|lt|gt|amp);/g,
    (_, name) => ({ quot: '"', apos: "'", lt: "<", gt: ">", amp: "&" })[name as "amp"],
  );
const attribute = (tag: string, name: string): string => decoded(new RegExp(` ${name}="([^"]*)"`).exec(tag)?.[1] ?? "");

const counts = { passed: 0, failed: 0, skipped: 0 };
let surprises = 0;
for (const [, tag, body = ""] of xml.matchAll(/<testcase([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g) as Iterable<
  string[]
>) {
  if (/<(failure|error)/.test(body)) counts.failed++;
  else if (body.includes("<skipped")) {
    counts.skipped++;
    const name = `${attribute(tag!, "file")}: ${attribute(tag!, "name")}`;
    const known = expected.has(name);
    if (!known) surprises++;
    console.error(`(skip) ${name}${known ? "" : " (not expected)"}`);
  } else counts.passed++;
}
if (counts.passed + counts.failed + counts.skipped === 0) throw new Error(`${report} has no tests`);
console.log(counts.passed, counts.failed, counts.skipped);
process.exit(surprises > 0 ? 1 : 0);
