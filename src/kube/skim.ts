/**
 * What `parse.ts` and `reflector.ts` read of an event, by field: all of its value, or fields of it, or that of each of
 * a list. The rest, nine tenths of a pod, need not become objects.
 */
type Kept = "all" | { readonly [field: string]: Kept } | readonly [Kept];

const port: Kept = { port: "all" };
const probe: Kept = { httpGet: port, tcpSocket: port, grpc: port };
const containers: Kept = [
  { ports: "all", restartPolicy: "all", livenessProbe: probe, readinessProbe: probe, startupProbe: probe },
];
const state: Kept = { state: { running: { startedAt: "all" }, terminated: { startedAt: "all", finishedAt: "all" } } };
const EVENT: Kept = {
  type: "all",
  object: {
    kind: "all",
    apiVersion: "all",
    metadata: {
      name: "all",
      namespace: "all",
      uid: "all",
      resourceVersion: "all",
      deletionTimestamp: "all",
      labels: "all",
      annotations: {
        "ringside.io/ignore": "all",
        "kubernetes.io/config.mirror": "all",
        "k8s.io/initial-events-end": "all",
      },
      ownerReferences: [{ controller: "all", kind: "all", name: "all" }],
    },
    spec: {
      // of pods
      nodeName: "all",
      hostNetwork: "all",
      containers,
      initContainers: containers,
      // of Services
      clusterIP: "all",
      clusterIPs: "all",
      externalIPs: "all",
      selector: "all",
      ports: "all",
      // of nodes
      podCIDR: "all",
      podCIDRs: "all",
    },
    status: {
      // of pods
      phase: "all",
      podIP: "all",
      podIPs: "all",
      startTime: "all",
      conditions: [{ type: "all", status: "all", lastTransitionTime: "all" }],
      initContainerStatuses: [state],
      containerStatuses: [state],
      // of Services
      loadBalancer: "all",
      // of nodes
      addresses: "all",
    },
    // of EndpointSlices
    addressType: "all",
    endpoints: [{ addresses: "all" }],
    ports: "all",
    // of a Status
    code: "all",
    details: "all",
  },
};

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** `Kept`, to be walked beside bytes. */
interface Node {
  /** By the length of their names, fields that are kept. */
  fields: { name: Uint8Array; node: Node | undefined }[][] | undefined;
  element: Node | undefined;
}

/** Undefined: all is kept. */
function nodeOf(kept: Kept): Node | undefined {
  if (kept === "all") return undefined;
  if (Array.isArray(kept)) return { fields: undefined, element: nodeOf(kept[0]) };
  const fields: Node["fields"] = [];
  for (const [field, value] of Object.entries(kept)) {
    const name = encode(field);
    fields[name.length] = [...(fields[name.length] ?? []), { name, node: nodeOf(value) }];
  }
  return { fields, element: undefined };
}

const root = nodeOf(EVENT);

/** Deeper texts are not skimmed; the deepest of Kubernetes have some 30 objects in objects. */
const DEEPEST = 100;

/** In ASCII; letters in lower case, which this bit makes of the others. */
const LOWER = 32;
const TAB = 9;
const NEWLINE = 10;
const RETURN = 13;
const SPACE = 32;
const QUOTE = 34;
const PLUS = 43;
const COMMA = 44;
const MINUS = 45;
const DOT = 46;
const ZERO = 48;
const NINE = 57;
const COLON = 58;
const OPEN_LIST = 91;
const BACKSLASH = 92;
const CLOSE_LIST = 93;
const A = 97;
const E = 101;
const F = 102;
const N = 110;
const T = 116;
const U = 117;
const OPEN = 123;
const CLOSE = 125;
const [TRUE, FALSE, NULL] = [encode("true"), encode("false"), encode("null")];
/** By the letter after a backslash: 1 where it means something. */
const escapes = new Uint8Array(256);
for (const code of encode('"\\/bfnrtu')) escapes[code] = 1;

/** It is no JSON, or JSON of a kind that nobody writes: whoever parses all of it will tell. */
const DOUBT = new Error("not skimmed");

/** What is to be kept: from one place to another, in pairs. */
const ranges: number[] = [];
let depth = 0;
/** Backslashes that were passed over in texts. */
let backslashes = 0;

/**
 * Cuts out of an event of a watch, in UTF-8, what nobody reads.
 *
 * @param line is overwritten
 * @returns a part of it; all of it where it is no JSON, which whoever parses it will tell
 */
export function skim(line: Uint8Array): Uint8Array {
  depth = 0;
  ranges.length = 0;
  try {
    if (space(line, keep(line, space(line, 0), root)) < line.length) return line;
  } catch (error) {
    if (error !== DOUBT) throw error;
    return line;
  }
  let length = 0;
  for (let i = 0; i < ranges.length; i += 2) {
    line.copyWithin(length, ranges[i]!, ranges[i + 1]);
    length += ranges[i + 1]! - ranges[i]!;
  }
  return line.subarray(0, length);
}

function add(from: number, to: number): void {
  if (ranges[ranges.length - 1] === from) ranges[ranges.length - 1] = to;
  else ranges.push(from, to);
}

/* Those below get the text and a place in it, and return the place behind what they pass over. */

/** A value, of which the node says what is kept. */
function keep(text: Uint8Array, at: number, node: Node | undefined): number {
  if (node?.fields !== undefined && text[at] === OPEN) return fields(text, at, node.fields);
  if (node?.element !== undefined && text[at] === OPEN_LIST) return elements(text, at, node.element);
  const to = skip(text, at);
  add(at, to);
  return to;
}

/** A value, of which nothing is kept by this. */
function skip(text: Uint8Array, at: number): number {
  const first = text[at]!;
  if (first === QUOTE) return string(text, at);
  if (first === OPEN) return fields(text, at, undefined);
  if (first === OPEN_LIST) return elements(text, at, undefined);
  return first === MINUS || isDigit(first) ? number(text, at) : word(text, at);
}

/** @param kept undefined: none, nor the object itself */
function fields(text: Uint8Array, open: number, kept: Node["fields"]): number {
  let at = deeper(text, open);
  if (kept !== undefined) add(open, at);
  if (text[at] !== CLOSE) {
    let isFirst = true;
    let comma = 0;
    for (;;) {
      const from = at;
      const before = backslashes;
      const to = string(text, at);
      at = space(text, pass(text, space(text, to), COLON));
      if (kept !== undefined && backslashes > before) throw DOUBT; // it may be any
      const field = kept === undefined ? undefined : find(kept, text, from + 1, to - 1);
      if (field === undefined) {
        at = skip(text, at);
      } else {
        add(isFirst ? from : comma, at);
        isFirst = false;
        at = keep(text, at, field.node);
      }
      at = space(text, at);
      if (text[at] === CLOSE) break;
      comma = at;
      at = space(text, pass(text, at, COMMA));
    }
  }
  depth--;
  if (kept !== undefined) add(at, at + 1);
  return at + 1;
}

/** @param kept undefined: none, nor the list itself */
function elements(text: Uint8Array, open: number, kept: Node | undefined): number {
  let at = deeper(text, open);
  let from = open;
  if (text[at] !== CLOSE_LIST) {
    for (;;) {
      if (kept === undefined) {
        at = skip(text, at);
      } else {
        add(from, at);
        at = keep(text, at, kept);
      }
      at = space(text, at);
      from = at;
      if (text[at] === CLOSE_LIST) break;
      at = space(text, pass(text, at, COMMA));
    }
  }
  depth--;
  if (kept !== undefined) add(from, at + 1);
  return at + 1;
}

/** The bracket that opens an object or a list. */
function deeper(text: Uint8Array, at: number): number {
  if (++depth > DEEPEST) throw DOUBT;
  return space(text, at + 1);
}

/** The field whose name stands there. */
function find(kept: NonNullable<Node["fields"]>, text: Uint8Array, from: number, to: number) {
  const named = kept[to - from];
  if (named === undefined) return undefined;
  for (let i = 0; i < named.length; i++) if (isThere(text, from, named[i]!.name)) return named[i];
  return undefined;
}

function isThere(text: Uint8Array, from: number, letters: Uint8Array): boolean {
  for (let i = 0; i < letters.length; i++) if (text[from + i] !== letters[i]) return false;
  return true;
}

function pass(text: Uint8Array, at: number, code: number): number {
  if (text[at] !== code) throw DOUBT;
  return at + 1;
}

function space(text: Uint8Array, from: number): number {
  let at = from;
  while (text[at] === SPACE || text[at] === NEWLINE || text[at] === RETURN || text[at] === TAB) at++;
  return at;
}

function string(text: Uint8Array, from: number): number {
  let at = pass(text, from, QUOTE);
  for (;;) {
    let code = text[at++]!;
    while (code > QUOTE && code !== BACKSLASH) code = text[at++]!;
    if (code === QUOTE) return at;
    if (code === BACKSLASH) at = escaped(text, at);
    else if (!(code >= SPACE)) throw DOUBT; // also at the end
  }
}

/** What follows a backslash. */
function escaped(text: Uint8Array, at: number): number {
  backslashes++;
  const code = text[at]!;
  if (escapes[code] !== 1) throw DOUBT;
  if (code !== U) return at + 1;
  for (let i = at + 1; i <= at + 4; i++) {
    const letter = text[i]! | LOWER;
    if (!isDigit(text[i]!) && !(letter >= A && letter <= F)) throw DOUBT;
  }
  return at + 5;
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= NINE;
}

function digits(text: Uint8Array, from: number): number {
  let at = from;
  if (!isDigit(text[at]!)) throw DOUBT;
  while (isDigit(text[at]!)) at++;
  return at;
}

function number(text: Uint8Array, from: number): number {
  let at = text[from] === MINUS ? from + 1 : from;
  at = text[at] === ZERO ? at + 1 : digits(text, at);
  if (text[at] === DOT) at = digits(text, at + 1);
  if ((text[at]! | LOWER) !== E) return at;
  at++;
  return digits(text, text[at] === PLUS || text[at] === MINUS ? at + 1 : at);
}

function word(text: Uint8Array, from: number): number {
  const first = text[from];
  const letters = first === T ? TRUE : first === F ? FALSE : first === N ? NULL : undefined;
  if (letters === undefined || !isThere(text, from, letters)) throw DOUBT;
  return from + letters.length;
}
