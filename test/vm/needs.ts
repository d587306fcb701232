/** Why this machine cannot emulate another, for tests to skip on and to print. */
export const missing: string | undefined =
  process.arch !== "x64"
    ? "machines are emulated on x86-64 alone"
    : Bun.which("qemu-system-x86_64") === null
      ? "qemu-system-x86_64 is not installed; hack/setup test installs it"
      : undefined;

if (missing) console.warn(`skipped: vm: ${missing}`);
