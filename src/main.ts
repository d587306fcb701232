#!/usr/bin/env bun
import { ringside, run, top } from "./config.ts";
import { RingsideError } from "./errors.ts";

// Each command loads its own parts only: `top` needs no libbpf, the agent no table.
run.action(async (options) => (await import("./agent.ts")).agent(options));
top.action(async (options) => (await import("./top.ts")).top(options));

try {
  await ringside.parseAsync();
} catch (error) {
  console.error(error instanceof RingsideError ? `ringside: ${error.message}` : error);
  process.exit(1);
}
