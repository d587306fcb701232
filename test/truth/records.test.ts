import { expect, test } from "bun:test";
import { compareRecords, type Life } from "./records.ts";
import { parseTruth } from "./truth.ts";

/** A client's end, as the program and as the kernel tell it. */
const line = (connectNs: number, sent = 64) =>
  parseTruth(
    `{"scenario":"burst","role":"client","local":"10.0.0.1","local_port":5001,"remote":"10.0.0.2","remote_port":81,"sent":${sent},"received":128,"exchanges":1,"duration_ns":1000,"connect_ns":${connectNs}}`,
  )[0]!;
const life = (id: number, connectUs: number): Life => {
  const ends = { local: "10.0.0.1 5001", remote: "10.0.0.2 81", role: "client", reason: "none" };
  const when = { id: BigInt(id), bornAt: BigInt(id), time: BigInt(id + 1), connectUs };
  return [{ ...ends, ...when, kind: "final", sent: 64, received: 128, exchanges: 1 } as unknown as Life[0]];
};

test("connections of the same four numbers are told apart, in whatever order they print", () => {
  const lives = [life(1, 3553), life(2, 32)];
  expect(compareRecords([line(32_391), line(3_553_100)], lives)).toEqual([]);
  expect(compareRecords([line(3_553_100), line(32_391)], lives)).toEqual([]);
});

test("each line has a life of its own", () => {
  expect(compareRecords([line(32_391), line(32_391)], [life(1, 32)])).toEqual(["burst: client: it has no records"]);
  expect(compareRecords([line(32_391)], [life(1, 32), life(2, 32)])).toEqual([
    "no scenario: 0 connections expected, got 10.0.0.1 5001 - 10.0.0.2 81 (final)",
  ]);
  expect(compareRecords([line(32_391, 63)], [life(1, 32)])).toEqual(["burst: client: sent: expected 63, got 64"]);
});
