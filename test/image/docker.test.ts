/** The image as docker builds and runs it, where an engine answers. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { $ } from "bun";
import pkg from "../../package.json" with { type: "json" };

const tag = `ringside:${pkg.version}`;
const engine = (await $`docker version`.nothrow().quiet()).exitCode === 0;
const run = ["docker", "run", "--rm", "--read-only", "--cap-drop=ALL"];

describe.skipIf(!engine)("in a container", () => {
  test("it is built, small, and says what it is", async () => {
    await $`${join(import.meta.dir, "../../hack/image")}`;
    const [{ Size, Config, Architecture }] = await $`docker image inspect ${tag}`.json();
    expect(Size).toBeLessThan(150e6);
    expect(Config.Entrypoint).toEqual(["/usr/bin/ringside"]);
    expect(Architecture).toBe(process.arch === "x64" ? "amd64" : "arm64");
    const label = (name: string) => Config.Labels[`org.opencontainers.image.${name}`];
    expect([label("version"), label("licenses")]).toEqual([pkg.version, "Apache-2.0"]);
    expect(label("revision")).toBe((await $`git rev-parse HEAD`.text()).trim());
    expect(label("created")).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  }, 1_200_000);

  test("with BPF and PERFMON alone it loads its programs", async () => {
    const said = await $`${run} --cap-add=BPF --cap-add=PERFMON ${tag} check --json`.json();
    expect(said.uses).toBeOneOf(["fentry", "tracepoint"]);
  });

  test.each([
    ["BPF", "PERFMON"],
    ["PERFMON", "BPF"],
  ])("with %s alone it says that %s is missing", async (has, lacks) => {
    const { exitCode, stdout } = await $`${run} --cap-add=${has} ${tag} check`.nothrow().quiet();
    expect([exitCode, stdout.toString()]).toEqual([1, expect.stringContaining(`lacks the capabilities ${lacks}.`)]);
  });
});
