import { expect, test } from "bun:test";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { $ } from "bun";
import type { MachineCheck } from "../../src/bpf/check.ts";
import { trafficEnds } from "../truth/traffic.ts";
import { runToEnd, startAgent } from "./agent.ts";

test("check says which backend run will use, and each hook of it works", async () => {
  const { code, out } = await runToEnd(["check", "--json"]);
  const said = JSON.parse(out) as MachineCheck;
  expect(code).toBe(0);
  expect(said.backends.map(({ backend }) => backend)).toEqual(["fentry", "tracepoint", "kprobe"]);
  const used = said.backends.find(({ backend }) => backend === said.uses);
  expect(used?.hooks.map(({ hook, works }) => [hook, works])).toContainEqual(["inet_sock_set_state", true]);
  expect(used?.hooks.every(({ works }) => works)).toBe(true);
  for (const { works, hooks } of said.backends) expect(works).toBe(hooks.every((hook) => hook.works));
  for (const hook of said.backends.flatMap(({ hooks }) => hooks).filter(({ works }) => !works)) {
    expect(hook.why).not.toBe("");
    expect(hook.remedy).toEndWith(".");
  }

  const agent = await startAgent(trafficEnds({ name: "check" }));
  try {
    expect(await agent.metrics()).toContain(`ringside_hook_attached{hook="tcp_destroy_sock",backend="${said.uses}"} 1`);
  } finally {
    await agent.stop();
  }
}, 20_000);

test("check without the capabilities says so, and exits with 1", async () => {
  const { code, out } = await runToEnd(["check"], ["setpriv", "--reuid", "65534", "--clear-groups", "--inh-caps=-all"]);
  expect({ code, out }).toEqual({
    code: 1,
    out:
      "cannot load the BPF programs: uid 65534 lacks the capabilities BPF and PERFMON. " +
      "Run as root, or add BPF and PERFMON to the container's capabilities.\n",
  });
});

test("check tells a seccomp profile that forbids bpf() from a missing capability", async () => {
  const build = join(import.meta.dir, "../../build/test");
  const forbid = join(build, "forbid");
  await mkdir(build, { recursive: true });
  await $`gcc -O2 -Wall -Wextra -Werror -o ${forbid} ${join(import.meta.dir, "forbid.c")}`;
  const { code, out } = await runToEnd(["check"], [forbid]);
  expect({ code, out }).toEqual({
    code: 1,
    out:
      "cannot load the BPF programs: the capabilities are there, but the seccomp profile forbids bpf(). " +
      "Use a profile that allows bpf and perf_event_open, as containerd's RuntimeDefault, or Unconfined: " +
      "in the chart seccompProfile.type, or openshift.enabled.\n",
  });
});
