import { Tokenizer, TokenParser, TokenType } from "@streamparser/json";

/** Objects in objects; the deepest of Kubernetes have some 30. */
const DEPTH_LIMIT = 200;

export interface ListListener {
  /** @param list what is known of the item's list so far: its kind may come before the items, or after. */
  item(item: unknown, list: Record<string, unknown>): void;
  /** @param list a whole document, less the items that were told already. */
  end(list: unknown): void;
  /** A part of more than the limit: an item, or all of a list but its items. It must throw. */
  tooLarge(offset: number): never;
  /** What is no JSON, near that byte. It must throw. */
  refuse(cause: unknown, offset: number): never;
}

/**
 * Reads JSON lists, also several in a row, item by item: each is told and dropped, so memory follows the largest item.
 */
export class JsonLists {
  private readonly tokenizer = new Tokenizer({ stringBufferSize: 64 << 10 });
  private written = 0;
  /** Bytes written as the last part ended. */
  private partStart = 0;
  private offset = 0;
  private depth = 0;
  /** What the listener threw is not the text's fault. */
  private thrown: unknown;

  /** @param limit of bytes of a part that is held at once */
  constructor(
    private readonly listener: ListListener,
    private readonly limit: number,
  ) {
    const parser = new TokenParser({ paths: ["$", "$.items.*"], separator: "" });
    parser.onValue = ({ value, parent, stack }) => {
      if (stack.length === 0) return this.tell(() => listener.end(value));
      if (!Array.isArray(parent)) return; // an object named items: told at the document's end
      parent.pop();
      const list = (stack[1]?.value ?? {}) as Record<string, unknown>;
      this.tell(() => listener.item(value, list));
      this.partStart = this.offset;
    };
    this.tokenizer.onToken = (token) => {
      this.offset = token.offset;
      if (token.token === TokenType.LEFT_BRACE || token.token === TokenType.LEFT_BRACKET) this.depth++;
      else if (token.token === TokenType.RIGHT_BRACE || token.token === TokenType.RIGHT_BRACKET) this.depth--;
      if (this.depth > DEPTH_LIMIT) throw new Error(`objects are more than ${DEPTH_LIMIT} deep`);
      parser.write(token);
    };
  }

  /** @param chunk of the text in UTF-8; it is not used any more afterwards */
  write(chunk: Uint8Array): void {
    this.attempt(() => this.tokenizer.write(chunk));
    this.written += chunk.length;
    if (this.written - this.partStart > this.limit) this.listener.tooLarge(this.partStart);
  }

  end(): void {
    this.attempt(() => this.tokenizer.end());
    if (this.depth > 0) this.listener.refuse(new Error("the text ends in the middle of an object"), this.written);
  }

  private tell(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.thrown = error;
      throw error;
    }
  }

  private attempt(step: () => void): void {
    try {
      step();
    } catch (cause) {
      if (cause === this.thrown) throw cause;
      this.listener.refuse(cause, this.offset);
    }
  }
}
