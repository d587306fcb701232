/** The exposition in protobuf, read by somebody else's library. */
import { Root } from "protobufjs";

/** io.prometheus.client: names, numbers and types of the fields that we send. */
const messages = Root.fromJSON({
  nested: {
    Family: {
      fields: {
        name: { type: "string", id: 1 },
        help: { type: "string", id: 2 },
        type: { type: "uint32", id: 3 },
        metric: { rule: "repeated", type: "Metric", id: 4 },
      },
    },
    Metric: {
      fields: {
        label: { rule: "repeated", type: "Label", id: 1 },
        gauge: { type: "Value", id: 2 },
        counter: { type: "Value", id: 3 },
        summary: { type: "Summary", id: 4 },
        histogram: { type: "Histogram", id: 7 },
      },
    },
    Label: { fields: { name: { type: "string", id: 1 }, value: { type: "string", id: 2 } } },
    Value: { fields: { value: { type: "double", id: 1 }, created: { type: "Time", id: 3 } } },
    Time: { fields: { seconds: { type: "int64", id: 1 }, nanos: { type: "int32", id: 2 } } },
    Summary: {
      fields: {
        count: { type: "uint64", id: 1 },
        sum: { type: "double", id: 2 },
        created: { type: "Time", id: 4 },
      },
    },
    Histogram: {
      fields: {
        count: { type: "uint64", id: 1 },
        sum: { type: "double", id: 2 },
        bucket: { rule: "repeated", type: "Bucket", id: 3 },
        schema: { type: "sint32", id: 5 },
        zeroThreshold: { type: "double", id: 6 },
        zeroCount: { type: "uint64", id: 7 },
        span: { rule: "repeated", type: "Span", id: 12 },
        delta: { rule: "repeated", type: "sint64", id: 13, options: { packed: true } },
        created: { type: "Time", id: 15 },
      },
    },
    Bucket: { fields: { count: { type: "uint64", id: 1 }, bound: { type: "double", id: 2 } } },
    Span: { fields: { offset: { type: "sint32", id: 1 }, length: { type: "uint32", id: 2 } } },
  },
});

interface Time {
  seconds: number;
  nanos: number;
}
export interface Family {
  name: string;
  help: string;
  type: number;
  metric: {
    label: { name: string; value: string }[];
    gauge: { value: number } | null;
    counter: { value: number; created: Time | null } | null;
    summary: { count: number; sum: number; created: Time | null } | null;
    histogram: {
      count: number;
      sum: number;
      bucket: { count: number; bound: number }[];
      schema: number;
      zeroThreshold: number;
      zeroCount: number;
      span: { offset: number; length: number }[];
      delta: number[];
      created: Time | null;
    } | null;
  }[];
}

/** Delimited messages, as /metrics answers who asks for protobuf. */
export function decode(bytes: Uint8Array): Family[] {
  const type = messages.lookupType("Family");
  const families: Family[] = [];
  let rest = bytes;
  while (rest.length > 0) {
    let length = 0;
    let digits = 0;
    do length += (rest[digits]! & 127) * 2 ** (7 * digits);
    while (rest[digits++]! & 128);
    const message = type.decode(rest.subarray(digits, digits + length));
    families.push(type.toObject(message, { longs: Number, defaults: true }) as Family);
    rest = rest.subarray(digits + length);
  }
  return families;
}

export const escaped = (value: string): string =>
  value.replace(/[\\"\n]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`));

/** What the text format says of these families: a sample's line without its value, and the value. */
export function samplesOf(families: Family[]): Map<string, number> {
  const samples = new Map<string, number>();
  for (const { name, metric } of families) {
    for (const { label, gauge, counter, summary, histogram } of metric) {
      const put = (suffix: string, value: number, last: string[] = []) => {
        const labels = [...label.map((one) => `${one.name}="${escaped(one.value)}"`), ...last].join(",");
        samples.set(`${name}${suffix}${labels && `{${labels}}`}`, value);
      };
      const value = gauge ?? counter;
      if (value) put("", value.value);
      for (const { bound, count } of histogram?.bucket ?? []) {
        const le = bound === Number.POSITIVE_INFINITY ? "+Inf" : bound === 2 ** -14 ? "0.00006103515625" : bound;
        put("_bucket", count, [`le="${le}"`]);
      }
      const distribution = histogram ?? summary;
      if (distribution) put("_sum", distribution.sum);
      if (distribution) put("_count", distribution.count);
    }
  }
  return samples;
}
