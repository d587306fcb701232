#!/usr/bin/env bun
import { agent } from "./agent.ts";
import { ringside, run, top } from "./config.ts";
import { RingsideError } from "./errors.ts";
import { top as showTop } from "./top.ts";

run.action((options) => agent(options));
top.action((options) => showTop(options));

try {
  await ringside.parseAsync();
} catch (error) {
  console.error(error instanceof RingsideError ? `ringside: ${error.message}` : error);
  process.exit(1);
}
