import { ingest as walk } from "./batch";
import { collect } from "./collect";
import { setLoopback } from "./connections";
import { render, renderMore } from "./exposition";
import { setFamilies } from "./family";
import { numberOf, textOf } from "./labels";
import { setHistograms } from "./measures";
import { Area } from "./memory";
import { drop, dropPorts, hold, ownerNumber, ownerOf, setPort, setProbe } from "./owners";
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
  settle as settleDue,
  unranged,
  zoned,
} from "./settle";
import { written, writtenBytes } from "./writer";

/** What src/core/core.ts sees. Pointers are valid until the next call. */

export {
  abandon,
  cgroupTold as cgroup,
  configure,
  drop,
  dropPorts,
  fresh,
  hold,
  host,
  ownerNumber as owner,
  ownerOf,
  render,
  renderMore,
  reportCounters,
  reportLinks,
  reportRow,
  setFamilies,
  setHistograms,
  setLinks,
  setLoopback,
  setPort,
  setProbe,
  setScope,
  textOf,
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

/** Posts what is due, and gives back what nobody refers to any more. */
export function settle(now: u64, sweep: u32): void {
  settleDue(now, sweep);
  collect(now);
}

/** Where the next text or address goes, `bytes` at most. */
export function word(bytes: usize): usize {
  // A text has its length before it, and zeros after it.
  return words.reserve(4 + bytes + 8) + 4;
}

/** The number of the text that was put there. */
export function text(bytes: u32): u32 {
  store<u32>(words.start, bytes);
  store<u64>(words.start + 4 + bytes, 0);
  return numberOf(words.start);
}

/** The address that was put there. */
export function assign(owner: u32, since: u64, node: u32): void {
  assigned(words.start + 4, owner, since, node);
}

/** The address that was put there. */
export function release(at: u64): void {
  released(words.start + 4, at);
}

/** The range that begins with the address that was put there. */
export function range(bits: u32, owner: u32, waits: u32): void {
  ranged(words.start + 4, bits, owner, waits);
}

/** The range that begins with the address that was put there. */
export function dropRange(bits: u32): void {
  unranged(words.start + 4, bits);
}
