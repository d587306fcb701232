import { ingest as walk } from "./batch";
import { collectOwners, markTexts } from "./collect";
import { setLoopback } from "./connections";
import { render, renderMore } from "./exposition";
import { setFamilies } from "./family";
import { setHistograms } from "./measures";
import { Area } from "./memory";
import { addOwner, addText, drop, dropPorts, freeText, hold, setOther, setPort, setProbe } from "./owners";
import { reportCounters, reportLinks, reportRow } from "./report";
import { abandon, setLinks } from "./series";
import {
  assigned,
  cgroupTold,
  configure,
  fresh,
  host,
  ranged,
  released,
  setScope,
  settle,
  unranged,
  zoned,
} from "./settle";
import { written, writtenBytes } from "./writer";

/** What src/core/core.ts sees. Pointers are valid until the next call. */

export {
  abandon,
  addOwner,
  cgroupTold as cgroup,
  collectOwners,
  configure,
  drop,
  dropPorts,
  freeText,
  fresh,
  hold,
  host,
  markTexts,
  render,
  renderMore,
  reportCounters,
  reportLinks,
  reportRow,
  setFamilies,
  setHistograms,
  setLinks,
  setLoopback,
  setOther,
  setPort,
  setProbe,
  setScope,
  settle,
  written,
  writtenBytes,
  zoned as zone,
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

/** The text that was put there gets that number. */
export function text(number: u32, bytes: u32): void {
  addText(number, words.start, bytes);
}

/** The address that was put there. */
export function assign(owner: u32, since: u64, node: u32): void {
  assigned(words.start, owner, since, node);
}

/** The address that was put there. */
export function release(at: u64): void {
  released(words.start, at);
}

/** The range that begins with the address that was put there. */
export function range(bits: u32, owner: u32, waits: u32): void {
  ranged(words.start, bits, owner, waits);
}

/** The range that begins with the address that was put there. */
export function dropRange(bits: u32): void {
  unranged(words.start, bits);
}
