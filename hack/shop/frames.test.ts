import { expect, test } from "bun:test";
import * as http from "./http.ts";
import * as resp from "./resp.ts";

const whole: [name: string, frame: (bytes: Buffer) => number, message: Buffer][] = [
  ["an HTTP request", http.frame, http.request("web", "/orders/7")],
  ["an HTTP response", http.frame, http.response("naïve")],
  ["an empty HTTP response", http.frame, http.response("")],
  ["a RESP line", resp.frame, Buffer.from("+OK\r\n")],
  ["a RESP integer", resp.frame, Buffer.from(":12\r\n")],
  ["a RESP null", resp.frame, Buffer.from("$-1\r\n")],
  ["a RESP bulk string", resp.frame, Buffer.from("$8\r\na\r\nnaïv\r\n")],
  ["an empty RESP bulk string", resp.frame, Buffer.from("$0\r\n\r\n")],
];

test.each(whole)("%s ends where it ends, and not before", (_, frame, message) => {
  for (let length = 0; length < message.length; length++) expect(frame(message.subarray(0, length))).toBe(0);
  expect(frame(message)).toBe(message.length);
  expect(frame(Buffer.concat([message, message]))).toBe(message.length);
});

test("what was put in comes out", () => {
  expect(http.pathOf(http.request("web", "/orders/7"))).toBe("/orders/7");
  expect(http.bodyOf(http.response("naïve"))).toBe("naïve");
  expect(resp.command("SET", "ä", "").toString()).toBe("*3\r\n$3\r\nSET\r\n$2\r\nä\r\n$0\r\n\r\n");
  expect(["$2\r\nab\r\n", "$-1\r\n"].map((reply) => resp.textOf(Buffer.from(reply)))).toEqual(["ab", ""]);
});
