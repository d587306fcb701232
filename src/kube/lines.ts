const decoder = new TextDecoder();

/** Cuts a stream of bytes into its lines, as a watch has them: an event each. */
export class Lines {
  private parts: Uint8Array[] = [];
  private size = 0;
  /** The rest of this line is passed over. */
  private skipping = false;

  /**
   * @param limit    bytes of a line; a longer one is not kept
   * @param line     gets each line, without its end
   * @param tooLarge is told once for each longer one
   * @param skim     leaves of a line what is wanted of it, and may overwrite it
   */
  constructor(
    private readonly limit: number,
    private readonly line: (text: string) => void,
    private readonly tooLarge: () => void,
    private readonly skim = (line: Uint8Array): Uint8Array => line,
  ) {}

  /** @param chunk may be overwritten, and is not used any more afterwards */
  write(chunk: Uint8Array): void {
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(10, from);
      if (end < 0) {
        this.keep(chunk.slice(from));
        return;
      }
      this.keep(chunk.subarray(from, end));
      this.endLine();
      from = end + 1;
    }
  }

  /** @returns whether the stream ended with a line */
  end(): boolean {
    return this.size === 0 && !this.skipping;
  }

  private keep(part: Uint8Array): void {
    if (this.skipping || part.length === 0) return;
    this.size += part.length;
    if (this.size > this.limit) {
      this.tooLarge();
      this.skipping = true;
      this.parts = [];
    } else {
      this.parts.push(part);
    }
  }

  private endLine(): void {
    const { parts, skipping, size } = this;
    this.parts = [];
    this.size = 0;
    this.skipping = false;
    if (skipping || size === 0) return;
    const [first = Buffer.alloc(0)] = parts;
    this.line(decoder.decode(this.skim(parts.length === 1 ? first : Buffer.concat(parts))));
  }
}
