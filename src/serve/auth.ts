/** Basic authentication by bcrypt hashes. */
import { createHmac, randomBytes } from "node:crypto";

/** Passwords that passed are known again without bcrypt: so many of them. */
const REMEMBERED = 100;
/** So many may wait for bcrypt, which takes one at a time: guesses must not take the processor. */
const WAITING = 16;

/** `busy`: too many passwords are being looked at. */
export type Verdict = "admitted" | "refused" | "busy";

export class BasicAuth {
  /** Of user, hash and password that passed, oldest first, by a key of our own: none of it can be read back. */
  readonly #passed = new Set<string>();
  readonly #secret = randomBytes(32);
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  private constructor(
    private readonly users: ReadonlyMap<string, string>,
    /** Nobody's; as slow as the slowest of the users'. */
    private readonly nobody: string,
  ) {}

  /** @param users bcrypt hash by name */
  static async of(users: ReadonlyMap<string, string>): Promise<BasicAuth> {
    const cost = Math.max(...Array.from(users.values(), (hash) => Number(hash.slice(4, 6))));
    const password = randomBytes(32).toString("hex");
    return new BasicAuth(users, await Bun.password.hash(password, { algorithm: "bcrypt", cost }));
  }

  /** @param authorization the request's header */
  async admits(authorization: string | null): Promise<Verdict> {
    const [, encoded] = /^basic +([A-Za-z0-9+/]+=*)$/i.exec(authorization ?? "") ?? [];
    if (encoded === undefined) return "refused";
    const decoded = Buffer.from(encoded, "base64").toString();
    const colon = decoded.indexOf(":");
    if (colon < 0) return "refused";
    const [user, password] = [decoded.slice(0, colon), decoded.slice(colon + 1)];

    // Unknown users take as long as known ones.
    const hash = this.users.get(user) ?? this.nobody;
    const mark = createHmac("sha256", this.#secret)
      .update(JSON.stringify([user, hash, password]))
      .digest("base64");
    if (this.#passed.has(mark)) return "admitted";
    if (this.#waiting === WAITING) return "busy";
    if (!(await this.#inTurn(() => Bun.password.verify(password, hash)))) return "refused";
    this.#passed.add(mark);
    if (this.#passed.size > REMEMBERED) this.#passed.delete(this.#passed.values().next().value!);
    return "admitted";
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting++;
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => {});
    return mine.finally(() => this.#waiting--);
  }
}
