import "./families";
import { BY_CLIENT, EITHER, Family, firstFamily } from "./family";
import { metrics, openFamily } from "./protobuf";
import { firstOf, isByServer, Series, turn } from "./series";
import { header, lines } from "./text";
import { begin, close, writtenBytes } from "./writer";

/** The exposition, in the order of src/core/core.ts's forms. */
const OPENMETRICS: u32 = 1;
const PROTOBUF: u32 = 2;

/** So that its text takes no memory to speak of, an exposition is written in pieces of about so many bytes. */
const PIECE: usize = 1 << 20;

/** What is being written, from which family and, where it is not 0, which of its rows on. */
let form: u32 = 0;
let epoch: u64 = 0;
let nextFamily: usize = 0;
let nextRow: usize = 0;

/**
 * Begins the exposition as of `now`, showing the values of rows born before `watermark` (both boot time in ns).
 * `bootedAt`: the ns of 1970 at boot time 0.
 */
export function render(asked: u32, now: u64, watermark: u64, bootedAt: u64): void {
  turn(now, watermark);
  form = asked;
  epoch = bootedAt;
  nextFamily = firstFamily;
  nextRow = 0;
}

/** Writes the next piece, or nothing after the last one. To be called until then, with no other call between. */
export function renderMore(): void {
  begin();
  while (nextFamily && writtenBytes() < PIECE) {
    const family = changetype<Family>(nextFamily);
    if (form == PROTOBUF) message(family);
    else textual(family);
    if (!nextRow) nextFamily = family.next;
  }
}

function textual(family: Family): void {
  const open = form == OPENMETRICS;
  if (!nextRow) {
    header(family, open);
    nextRow = rowFrom(family, firstOf(family.rows));
  }
  while (nextRow && writtenBytes() < PIECE) {
    lines(family, changetype<Series>(nextRow), open);
    nextRow = rowFrom(family, changetype<Series>(nextRow).next);
  }
}

/** All of a family: its length stands before it. */
function message(family: Family): void {
  let row = rowFrom(family, firstOf(family.rows));
  if (!row) return;
  const opened = openFamily(family);
  for (; row; row = rowFrom(family, changetype<Series>(row).next)) metrics(family, changetype<Series>(row), epoch);
  close(opened);
}

/** That row, or the next one whose reporter the family is of. */
function rowFrom(family: Family, row: usize): usize {
  while (row && family.reporter != EITHER && isByServer(row) == (family.reporter == BY_CLIENT)) {
    row = changetype<Series>(row).next;
  }
  return row;
}
