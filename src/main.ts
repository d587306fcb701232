#!/usr/bin/env bun
import { check, ringside, run, top } from "./config.ts";
import { RingsideError } from "./errors.ts";

// Each command loads its own parts only: `top` needs no libbpf, the agent no table.
run.action(async (options) => (await import("./agent.ts")).agent(options));
check.action(async ({ json }) => {
  const { checkMachine, describe } = await import("./bpf/check.ts");
  const result = await checkMachine();
  console.log(json ? JSON.stringify(result, null, 2) : describe(result));
  process.exitCode = result.uses ? 0 : 1;
});
top.action(async (options) => (await import("./top.ts")).top(options));

try {
  await ringside.parseAsync();
} catch (error) {
  console.error(error instanceof RingsideError ? `ringside: ${error.message}` : error);
  process.exit(1);
}
