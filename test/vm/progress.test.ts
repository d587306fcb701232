/** What of the live tier cannot fail on this kernel, for it may have no backend to which a send is one event. */
import { describe, expect, test } from "bun:test";
import { $ } from "bun";
import { checkout, top } from "./checkout.ts";
import { machines } from "./machines.ts";
import { missing } from "./needs.ts";

describe.skipIf(missing !== undefined)("where a send is one event", () => {
  test("a long one shows as it goes, under each backend", async () => {
    const machine = machines["6.1"]!;
    const { files, bun } = await checkout(machine);
    const ended =
      await $`${top}/hack/vm ${files} 6.1 env NO_COLOR=1 ${bun} test --timeout 100000 test/live/progress.test.ts`
        .nothrow()
        .quiet();
    const said = ended.stdout.toString() + ended.stderr.toString();
    for (const backend of machine.backends) expect(said).toContain(`(pass) by ${backend} a long send shows as it goes`);
    expect(ended.exitCode).toBe(0);
  }, 600_000);
});
