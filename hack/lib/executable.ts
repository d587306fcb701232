/**
 * Compiles the agent into one executable, the BPF objects and the core inside:
 * executable.ts OUTPUT TARGET BUN KPROBE, the last two of the target's architecture. Prints as JSON which modules are in it.
 */
import { join, resolve } from "node:path";

const [outfile, target, bun, kprobe] = process.argv.slice(2) as [string, Bun.Build.CompileTarget, string, string];
const top = join(import.meta.dir, "../..");

const { metafile } = await Bun.build({
  entrypoints: [join(top, "src/main.ts")],
  metafile: true,
  sourcemap: "none",
  compile: {
    target,
    outfile: resolve(outfile),
    executablePath: resolve(bun),
    // What lies in the folder that it is started from is none of its business.
    autoloadDotenv: false,
    autoloadBunfig: false,
  },
  plugins: [
    {
      // Of the objects, only this one's code depends on the architecture.
      name: "kprobe",
      setup: (build) => {
        build.onResolve({ filter: /\/kprobe\.bpf\.o$/ }, () => ({ path: resolve(kprobe) }));
      },
    },
  ],
});
const modules = Object.keys(metafile?.inputs ?? {}).flatMap(
  (input) => /(?:^|\/)(node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? [],
);
console.log(JSON.stringify([...new Set(modules)].sort()));
