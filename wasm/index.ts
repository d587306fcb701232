import { ingest as walk } from "./batch";
import { setLoopback } from "./connections";
import { Area } from "./memory";
import { addOwner, addText, dropPorts, setPort } from "./owners";
import { REPORT_ROW, reportCounters, reportLinks } from "./report";
import { assigned, configure, fresh, host, released, settle } from "./settle";
import { render } from "./text";
import { written, writtenBytes } from "./writer";

/** What src/core/core.ts sees. Pointers are valid until the next call. */

export {
  addOwner,
  configure,
  dropPorts,
  fresh,
  host,
  REPORT_ROW,
  render,
  reportCounters,
  reportLinks,
  setLoopback,
  setPort,
  settle,
  written,
  writtenBytes,
};

const span = changetype<Area>(memory.data(8));
const words = changetype<Area>(memory.data(8));

/** Where the next span goes. */
export function batch(bytes: usize): usize {
  return span.reserve(bytes);
}

/** Takes the span that was put there. */
export function ingest(bytes: usize): void {
  walk(span.start, bytes);
}

/** Where the next text or address goes. */
export function word(bytes: usize): usize {
  return words.reserve(bytes);
}

/** The text that was put there becomes the next number. */
export function text(bytes: u32): void {
  addText(words.start, bytes);
}

/** The address that was put there. */
export function assign(owner: u32, since: u64): void {
  assigned(words.start, owner, since);
}

/** The address that was put there. */
export function release(at: u64): void {
  released(words.start, at);
}
