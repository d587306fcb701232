/** Who scrapes us, and since when every one of them has had what. Times are boot time in ns. */

/** More than this many at once is no monitoring; the one that was not seen for longest goes. */
const most = 16;
/** A scraper that was not seen for so long is gone, however slow it was. */
const longest = 300_000_000_000n;

interface Scraper {
  /** Start of its last completed scrape. */
  last: bigint;
  /** Between the starts of the last two. */
  interval?: bigint;
}

/**
 * Tells which rows of the exposition may show their values: a row starts at 0, and increase() sees what it grows to
 * only if every scraper has had that 0.
 */
export class Scrapers {
  readonly #scrapers = new Map<string, Scraper>();

  /**
   * @param start when the agent began
   * @param hold  how long nothing is released after that: slow scrapers are not known yet
   */
  constructor(
    readonly start: bigint,
    readonly hold: bigint,
  ) {}

  /** A scrape by that scraper (its address and user agent), begun at `start`, has been answered in full. */
  completed(scraper: string, start: bigint): void {
    const known = this.#scrapers.get(scraper);
    if (known && start <= known.last) return;
    // In the order of their last scrapes: the first is the oldest.
    this.#scrapers.delete(scraper);
    this.#scrapers.set(scraper, known ? { last: start, interval: start - known.last } : { last: start });
    if (this.#scrapers.size > most) this.#scrapers.delete(this.#scrapers.keys().next().value!);
  }

  /** Rows born before this have been seen at 0 by every live scraper; 0 where none is. */
  watermark(now: bigint): bigint {
    if (now < this.start + this.hold) return 0n;
    let oldest = 0n;
    for (const scraper of this.#scrapers.values()) {
      if (this.#live(scraper, now) && (oldest === 0n || scraper.last < oldest)) oldest = scraper.last;
    }
    return oldest;
  }

  /** Nobody has scraped for so long that nobody is waited for. */
  abandoned(now: bigint): boolean {
    let newest = this.start;
    for (const { last } of this.#scrapers.values()) if (last > newest) newest = last;
    return now - newest > longest;
  }

  #live({ last, interval }: Scraper, now: bigint): boolean {
    // No scraper is slower than the hold, but its second scrape may be a moment late.
    const patience = 2n * (interval ?? this.hold);
    return now - last <= (patience < longest ? patience : longest);
  }
}
