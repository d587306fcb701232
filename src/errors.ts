/** What every refusal says: the step that failed, the object it failed on, and the remedy. */
export class RingsideError extends Error {
  /**
   * @param step   a lower-case verb phrase: "load the BPF object"
   * @param object what it was done to: a path, an address, a hook
   * @param remedy one sentence: what the reader can do
   */
  constructor(
    readonly step: string,
    readonly object: string,
    readonly remedy: string,
    options?: ErrorOptions,
  ) {
    const cause = options?.cause;
    const why = cause === undefined ? "" : `: ${cause instanceof Error ? cause.message : String(cause)}`;
    super(`cannot ${step}: ${object}${why}. ${remedy}`, options);
    this.name = new.target.name;
  }
}

/** Not a failure of ours: this kernel or machine does not have it. Tests skip on it, `check` reports it. */
export class Unsupported extends RingsideError {}
