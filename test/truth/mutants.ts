/**
 * Mutants of the kernel side: each breaks one rule by an exact replacement, and a test must turn red.
 * mutants.ts CLONE [NAME...] works in a clone of the repository, and leaves it broken.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { $ } from "bun";
import { RingsideError } from "../../src/errors.ts";

interface Edit {
  file: string;
  from: string;
  to: string;
}

interface Mutant {
  name: string;
  edits: Edit[];
  /** The test file that must catch it. */
  catcher: string;
}

const truth = "test/live/truth.test.ts";
const older = "test/live/older.test.ts";
const torn = "test/stress/torn.test.ts";
const churn = "test/stress/churn.test.ts";
const rules = "test/stress/rules.test.ts";
const paused = "test/stress/paused.test.ts";

const exchange = (from: string, to: string): Edit => ({ file: "bpf/exchange.h", from, to });
const hooks = (from: string, to: string): Edit => ({ file: "bpf/hooks.h", from, to });
const totals = (from: string, to: string): Edit => ({ file: "bpf/totals.h", from, to });

/** As on kernels before 6.16: there a send is a packet that leaves. */
const queue: Edit = {
  file: "src/bpf/hooks.ts",
  from: 'target: "tcp_sendmsg_locked",\n  type: "tracepoint"',
  to: 'target: "no_such_tracepoint",\n  type: "tracepoint"',
};

/**
 * Others may be at work on this machine: the clone's truth test has namespaces of its own, and does not ask for counters
 * that are of the whole kernel.
 */
const apart: Edit[] = [
  { file: truth, from: '{ name: "live", net: 71 }', to: '{ name: "mutant", net: 78 }' },
  { file: truth, from: 'test("nothing was lost', to: 'test.skip("nothing was lost' },
];

const mutants: Mutant[] = [
  {
    name: "a walk that pauses passes over what moved to the front",
    edits: [hooks("walk.skipped = progress.passed - gone", "walk.skipped = progress.passed")],
    catcher: paused,
  },
  {
    name: "a peek counts as a receive",
    edits: [
      exchange(
        "\tif (word == state->last_copied)\n\t\treturn;\n\tword = received_word_of(tp, word);\n\tif (word == state->last_copied)\n\t\treturn;\n",
        "\tword = received_word_of(tp, word);\n",
      ),
    ],
    catcher: rules,
  },
  {
    name: "a packet without new bytes counts as a send",
    edits: [queue, exchange("\tif ((s32)(word - state->last_write) <= 0)\n\t\treturn;\n", "")],
    catcher: truth,
  },
  {
    name: "a send whose packet is held back counts nowhere",
    edits: [queue, exchange("} else if (config.packet_sends && ", "} else if (0 && ")],
    catcher: truth,
  },
  {
    name: "a send that moved nothing counts",
    edits: [exchange("state->sent_at && (s32)(word - state->last_write) > 0", "state->sent_at")],
    catcher: rules,
  },
  {
    name: "the SYN counts as a byte",
    edits: [hooks("totals_anchor(state, &raw, syn, 0)", "totals_anchor(state, &raw, 0, 0)")],
    catcher: truth,
  },
  {
    name: "a sent FIN counts as a byte",
    edits: [hooks("\tstate->flags |= STATE_FIN;\n", "")],
    catcher: truth,
  },
  {
    name: "a received FIN counts as a byte",
    edits: [totals("copied -= copied == READ(tp->rcv_nxt)", "copied -= 0")],
    catcher: truth,
  },
  {
    name: "totals have no anchor",
    edits: [totals("(s64)sum + (s32)(word - (u32)sum)", "(s64)sum")],
    catcher: torn,
  },
  {
    name: "totals are not frozen at TCP_CLOSE",
    edits: [hooks("\ttotals_freeze(tp, state);\n", "")],
    catcher: truth,
  },
  {
    name: "there is no snapshot at TCP_CLOSE",
    edits: [hooks("\t\tpost_last(tp, state, KIND_CLOSED);\n", "\t\treturn;\n")],
    catcher: truth,
  },
  {
    name: "what never was established has totals",
    edits: [hooks("\tif (!(state->flags & STATE_ESTABLISHED)) {", "\tif (0) {")],
    catcher: rules,
  },
  {
    name: "the sweep tells of what is not established",
    edits: [hooks("return id && state->flags & STATE_ESTABLISHED &&\n", "return id &&\n")],
    catcher: rules,
  },
  {
    name: "the seed takes what is not established",
    edits: [{ file: "bpf/seed.bpf.c", from: "if (carries_data(tcp_state))", to: "if (tcp_state != TCP_LISTEN)" }],
    catcher: rules,
  },
  {
    name: "whoever accepts is a client",
    edits: [hooks("on_birth(tp, ROLE_SERVER, program)", "on_birth(tp, ROLE_CLIENT, program)")],
    catcher: truth,
  },
  {
    name: "older connections have no backlog to be known by",
    edits: [{ file: "bpf/seed.h", from: "READ(SOCK(tp)->sk_max_ack_backlog) || ", to: "" }],
    catcher: older,
  },
  {
    name: "older connections have no listener to be known by",
    edits: [{ file: "bpf/seed.h", from: " || bpf_map_lookup_elem(&listeners, &key)", to: " || !key" }],
    catcher: older,
  },
  {
    name: "a socket that connects again is the same connection",
    edits: [
      hooks(
        "\t\tif (state->flags & STATE_CLOSED)\n\t\t\tpost_last(tp, state, KIND_FINAL);\n\t\tend(state);\n",
        "\t\treturn;\n",
      ),
    ],
    catcher: rules,
  },
  {
    name: "the second program of a hook begins another connection",
    edits: [
      hooks("\t\tif (!(state->flags & (STATE_ESTABLISHED | STATE_CLOSED)))\n\t\t\treturn; /* born just now */\n", ""),
    ],
    catcher: rules,
  },
  {
    name: "the sweep does not look again",
    edits: [hooks("\tif (((volatile struct state *)state)->id != id ||\n", "\tif (0 &&\n")],
    catcher: churn,
  },
  {
    name: "snapshots may fall",
    edits: [hooks("\t\tif (record->sent < state->posted_sent)\n", "\t\tif (0)\n")],
    catcher: churn,
  },
  {
    name: "a socket's seed outlives it",
    edits: [hooks("\tbpf_map_delete_elem(&seeds, &key);\n", "\t(void)key;\n")],
    catcher: "test/stress/reuse.test.ts",
  },
];

const [clone, ...names] = process.argv.slice(2) as [string, ...string[]];

function apply({ file, from, to }: Edit): void {
  const path = join(clone, file);
  const text = readFileSync(path, "utf8");
  if (text.split(from).length !== 2) {
    throw new RingsideError(
      "make a mutant",
      `${file}: ${JSON.stringify(from)} is not there exactly once`,
      "Follow the code in test/truth/mutants.ts.",
    );
  }
  writeFileSync(
    path,
    text.replace(from, () => to),
  );
}

/** Runs test files with these edits. @returns whether all passed, and all that was said */
async function run(edits: Edit[], files: string[]): Promise<{ passed: boolean; said: string }> {
  await $`git -C ${clone} checkout -q .`;
  for (const edit of [...apart, ...edits]) apply(edit);
  await $`${clone}/hack/build`.quiet();
  const { exitCode, stdout, stderr } = await $`${process.execPath} test --timeout 60000 ${files}`
    .cwd(clone)
    .nothrow()
    .quiet();
  return { passed: exitCode === 0, said: `${stdout}${stderr}` };
}

/** What a red test says first of what was wrong. */
const complaint = (said: string): string =>
  (/^\+ {2,}(?!"?\d+ pass).*$/m.exec(said) ?? /^error: .*$/m.exec(said) ?? /^\(fail\).*$/m.exec(said))?.[0].replace(
    /^\+ */,
    "",
  ) ?? said.slice(-200);

/** A mutant that the kernel does not load, or that other programs' connections disturbed, is not one that a test caught. */
const noVerdict = /cannot attach the BPF programs|bpf_object__load|cannot count exactly/;

const chosen = mutants.filter(({ name }) => names.length === 0 || names.includes(name));
if (chosen.length < names.length) {
  throw new RingsideError(
    "choose mutants",
    names.join(", "),
    `There are: ${mutants.map(({ name }) => name).join("; ")}.`,
  );
}

/** As if the kernel skipped the first program of every hook that has several. */
const skipped: Edit = {
  file: "src/bpf/hooks.ts",
  from: ".slice(0, copies)",
  to: ".slice(Math.min(1, copies - 1), copies)",
};
const controls: [string, Edit[], string[]][] = [
  ["none", [], [...new Set(chosen.map(({ catcher }) => catcher))]],
  ["none, where the first program of a hook never runs", [skipped], [truth]],
];
if (chosen.some(({ edits }) => edits.includes(queue)))
  controls.push(["none, where a send is a packet", [queue], [truth]]);
let survivors = 0;
for (const [name, edits, files] of controls) {
  const { passed, said } = await run(edits, files);
  if (!passed) throw new RingsideError("begin with green tests", `${name}: ${complaint(said)}`, "Mend them first.");
  console.log(`green     ${name}`);
}
for (const { name, edits, catcher } of chosen) {
  const { passed, said } = await run(edits, [catcher]);
  const verdict = passed ? "SURVIVED" : noVerdict.test(said) ? "UNTOLD" : "caught";
  if (verdict !== "caught") survivors++;
  console.log(`${verdict.padEnd(10)}${name.padEnd(58)}${passed ? "" : complaint(said)}`);
}
console.log(`${chosen.length - survivors} of ${chosen.length} mutants were caught`);
process.exit(survivors > 0 ? 1 : 0);
