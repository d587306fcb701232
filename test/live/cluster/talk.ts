import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { $ } from "bun";

/** Compiles talk.c. @returns the program's path */
export async function buildTalk(): Promise<string> {
  const talk = join(import.meta.dir, "../../../build/test/talk");
  await mkdir(dirname(talk), { recursive: true });
  await $`gcc -O2 -Wall -Wextra -Werror -o ${talk} ${join(import.meta.dir, "talk.c")}`;
  return talk;
}
