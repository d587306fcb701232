import { expect, test } from "bun:test";
import type { TruthLine } from "../../test/truth/truth.ts";
import { truthTable } from "./truth-table.ts";

const line = (scenario: string, change: Partial<TruthLine> = {}): TruthLine => ({
  scenario,
  role: "client",
  local: "10.0.0.1",
  local_port: 5000,
  remote: "10.0.0.2",
  remote_port: 8101,
  sent: 1,
  received: 1,
  exchanges: 1,
  duration_ns: 1,
  ...change,
});

test("a row for each scenario, a column for each backend, counts and differences", () => {
  const lines = [line("slow"), line("slow", { role: "server" }), line("mptcp", { skipped: "no MPTCP" })];
  const table = truthTable([
    { name: "fentry", lines, differences: [] },
    { name: "kprobe", lines, differences: ["slow: client: sent: expected 1, got 2", "no scenario: client web"] },
  ]);
  expect(table).toBe(`\
scenario     fentry              kprobe
slow         ok                  FAIL
mptcp        skipped (no MPTCP)  skipped (no MPTCP)
no scenario                      FAIL
1 ok, 2 failed, 2 skipped
kprobe: slow: client: sent: expected 1, got 2
kprobe: no scenario: client web`);
});
