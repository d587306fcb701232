/** The agent's own counters and gauges as messages of protobuf; the core writes its own (wasm/protobuf.ts). */
import type { MetricObjectWithValues, MetricValue } from "prom-client";
import { Writer } from "protobufjs/minimal";

const FIELD = { varint: 0, bytes: 2 } as const;
const tag = (number: number, type: keyof typeof FIELD): number => (number << 3) | FIELD[type];

/** @returns a message MetricFamily of io.prometheus.client for each metric, each behind its length */
export function protobuf(metrics: MetricObjectWithValues<MetricValue<string>>[]): Uint8Array {
  const writer = Writer.create();
  for (const { name, help, type, values } of metrics) {
    if (values.length === 0) continue;
    const isGauge = String(type) === "gauge";
    writer.fork();
    writer.uint32(tag(1, "bytes")).string(name).uint32(tag(2, "bytes")).string(help);
    writer.uint32(tag(3, "varint")).int32(isGauge ? 1 : 0);
    for (const { labels, value } of values) {
      writer.uint32(tag(4, "bytes")).fork();
      for (const [label, text] of Object.entries(labels)) {
        writer.uint32(tag(1, "bytes")).fork();
        writer.uint32(tag(1, "bytes")).string(label).uint32(tag(2, "bytes")).string(String(text)).ldelim();
      }
      writer
        .uint32(tag(isGauge ? 2 : 3, "bytes"))
        .fork()
        .uint32((1 << 3) | 1)
        .double(value)
        .ldelim();
      writer.ldelim();
    }
    writer.ldelim();
  }
  return writer.finish();
}
