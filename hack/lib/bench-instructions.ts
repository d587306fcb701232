/**
 * Instructions a hook takes under each backend: the same measurement as bench-kernel.ts, in emulated machines whose clock
 * counts instructions. There fentry and kprobes run, and there is no cache to be cold.
 */
import { realpathSync } from "node:fs";
import { join } from "node:path";
import { $ } from "bun";
import { checkout, top } from "../../test/vm/checkout.ts";

const REQUESTS = 2000;
/** Debian's redis-server is a link to another program's name. */
const programs = ["redis-server", "redis-benchmark", "redis-cli"].map(
  (name) => `${realpathSync(Bun.which(name) ?? name)}=${name}`,
);

for (const kernel of ["6.1", "7.x"]) {
  const { files, bun } = await checkout({ kernel });
  const bench = [join(top, "hack/lib"), join(top, "build/bench/empty.bpf.o"), ...programs];
  const more = bench.flatMap((file) => ["--file", file]);
  console.log(`\n${kernel}, instructions in the place of ns`);
  const inside = ["hack/lib/bench-kernel.ts", "--requests", String(REQUESTS), ...process.argv.slice(2)];
  await $`${top}/hack/vm ${files} ${more} --count --timeout 400 ${kernel} ${bun} ${inside}`;
}
