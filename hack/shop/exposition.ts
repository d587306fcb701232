/** A sample of the Prometheus text format. */
export type Sample = { name: string; labels: Record<string, string>; value: number };

/** One scrape and its time, in seconds of `performance.now()`. */
export type Scrape = { time: number; samples: Sample[] };

export function parse(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split("\n")) {
    const [, name, labels, value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === undefined) continue; // a comment, the end
    const pairs = [...(labels ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, text]) => [label, text]);
    samples.push({ name, labels: Object.fromEntries(pairs), value: Number(value) });
  }
  return samples;
}

/** The samples of a family that carry these labels. */
export function select(scrape: Scrape, family: string, labels: Record<string, string> = {}): Sample[] {
  const wanted = Object.entries(labels);
  return scrape.samples.filter(
    (sample) => sample.name === family && wanted.every(([label, text]) => sample.labels[label] === text),
  );
}

/** Their sum. */
export function sum(scrape: Scrape, family: string, labels: Record<string, string> = {}): number {
  return select(scrape, family, labels).reduce((all, { value }) => all + value, 0);
}

/**
 * What each series of a counter grew by over the scrapes. As for Prometheus' `increase()` (but without its
 * extrapolation), the first value of a series adds nothing.
 */
export function increases(scrapes: Scrape[], family: string, labels: Record<string, string> = {}): Sample[] {
  const grown = new Map<string, { first: Sample; last: Sample }>();
  for (const scrape of scrapes) {
    for (const sample of select(scrape, family, labels)) {
      const key = JSON.stringify(sample.labels);
      const series = grown.get(key);
      if (series) series.last = sample;
      else grown.set(key, { first: sample, last: sample });
    }
  }
  return [...grown.values()].map(({ first, last }) => ({ ...last, value: last.value - first.value }));
}
