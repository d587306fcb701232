import { describe, expect, test } from "bun:test";
import { Scrapers } from "./scrapers.ts";

const second = 1_000_000_000n;
const at = (seconds: number): bigint => BigInt(Math.round(seconds * 1000)) * 1_000_000n;

describe("the watermark of scrapes", () => {
  test("is 0 until the hold after the start is over, whoever scrapes", () => {
    const scrapers = new Scrapers(at(100), 60n * second);
    scrapers.completed("a", at(130));
    scrapers.completed("a", at(145));
    expect(scrapers.watermark(at(159.999))).toBe(0n);
    expect(scrapers.watermark(at(160))).toBe(at(145));
  });

  test("is 0 while nobody scrapes", () => {
    expect(new Scrapers(0n, second).watermark(at(1000))).toBe(0n);
  });

  test("is the start of the oldest of the last scrapes", () => {
    const scrapers = new Scrapers(0n, second);
    scrapers.completed("slow", at(10));
    scrapers.completed("fast", at(25));
    scrapers.completed("slow", at(40));
    scrapers.completed("fast", at(41));
    scrapers.completed("fast", at(56));
    expect(scrapers.watermark(at(57))).toBe(at(40));
  });

  test("forgets a scraper after two of its own intervals", () => {
    const scrapers = new Scrapers(0n, second);
    scrapers.completed("gone", at(10));
    scrapers.completed("gone", at(20));
    scrapers.completed("here", at(20));
    scrapers.completed("here", at(35));
    expect(scrapers.watermark(at(40))).toBe(at(20));
    expect(scrapers.watermark(at(40.001))).toBe(at(35));
  });

  test("waits for a scraper of unknown interval twice as long as the hold", () => {
    const scrapers = new Scrapers(0n, 30n * second);
    scrapers.completed("once", at(100));
    expect(scrapers.watermark(at(160))).toBe(at(100));
    expect(scrapers.watermark(at(160.001))).toBe(0n);
  });

  test("waits for the second scrape of one that is as slow as the hold, and comes a moment late", () => {
    const scrapers = new Scrapers(0n, 60n * second);
    for (let i = 1; i <= 8; i++) scrapers.completed("fast", at(15 * i));
    scrapers.completed("slow", at(60));
    expect(scrapers.watermark(at(120.004))).toBe(at(60));
  });

  test("waits five minutes at most, however slow the scraper", () => {
    const scrapers = new Scrapers(0n, second);
    scrapers.completed("slow", at(1000));
    scrapers.completed("slow", at(2000));
    expect(scrapers.watermark(at(2300))).toBe(at(2000));
    expect(scrapers.watermark(at(2300.001))).toBe(0n);
  });

  test("ignores a scrape that completes after a later one", () => {
    const scrapers = new Scrapers(0n, second);
    scrapers.completed("a", at(20));
    scrapers.completed("a", at(10));
    expect(scrapers.watermark(at(21))).toBe(at(20));
  });

  test("knows sixteen scrapers: the seventeenth replaces the one that was not seen for longest", () => {
    const scrapers = new Scrapers(0n, 100n * second);
    for (let i = 0; i < 16; i++) scrapers.completed(`s${i}`, at(200 + i));
    expect(scrapers.watermark(at(220))).toBe(at(200));
    scrapers.completed("s0", at(216));
    scrapers.completed("s16", at(217));
    expect(scrapers.watermark(at(220))).toBe(at(202));
  });
});

test("an agent is abandoned five minutes after its last scrape, or its start", () => {
  const scrapers = new Scrapers(at(100), 60n * second);
  expect(scrapers.abandoned(at(400))).toBe(false);
  expect(scrapers.abandoned(at(400.001))).toBe(true);
  scrapers.completed("a", at(500));
  scrapers.completed("b", at(510));
  scrapers.completed("a", at(505));
  expect(scrapers.abandoned(at(810))).toBe(false);
  expect(scrapers.abandoned(at(810.001))).toBe(true);
});
