import { Keys } from "./keys.ts";
import type { NodeRow, PodRow, ServiceRow } from "./parse.ts";
import { Pool } from "./pool.ts";
import { grown } from "./table.ts";

/** Whatever may have addresses. */
export type OwningRow = PodRow | ServiceRow | NodeRow;

/** What pods of a workload have in common. */
export type PodShape = Omit<PodRow, "key" | "name" | "node" | "addresses" | "startedAt" | "readyAt" | "endedAt"> & {
  /** Of a finished one, which has no owner that knows its name. */
  name: string | undefined;
};

export type Shape = PodShape | ServiceRow | NodeRow;

/** An object as it is kept. */
export interface Entry {
  shape: Shape;
  /** Of a pod. */
  node: string;
  /** Its number in the core; of a finished pod undefined. It stands for all names of the object. */
  owner: number | undefined;
  /** Numbers of its addresses (addresses.ts). */
  addresses: number[];
  startedAt: number | undefined;
  readyAt: number | undefined;
  endedAt: number | undefined;
}

/** In the order of their codes; 0 is none. */
const TYPES = ["pod", "service", "node"] as const;
const codeOf = (type: OwningRow["type"]): number => TYPES.indexOf(type) + 1;

/**
 * Objects by number, packed: of a pod some 80 bytes. What it shares with others of its workload is kept once, and as
 * JSON, for it is seldom read. Whole rows would be a kilobyte each.
 */
export class Objects {
  readonly counts = { pod: 0, service: 0, node: 0 };
  private readonly keys = new Keys();
  private readonly shapes = new Pool();
  private readonly nodes = new Pool();
  /** The shape that was read last, for others of its workload often come next. */
  private last: { text: string; shape: Shape } | undefined;
  private types = new Uint8Array();
  /** By number: 0 where there is none, else 1 and a number. Addresses beyond the first two lie apart. */
  private shape = new Uint32Array();
  private node = new Uint32Array();
  private owner = new Uint32Array();
  private first = new Uint32Array();
  private second = new Uint32Array();
  private readonly more = new Map<number, number[]>();
  /** Milliseconds since 1970, NaN for those that are not told; few have ended. */
  private started = new Float64Array();
  private ready = new Float64Array();
  private readonly ended = new Map<number, number>();

  find(type: OwningRow["type"], key: string): number | undefined {
    return this.keys.find(key, codeOf(type));
  }

  /** As a UUID, by which it is found as well. */
  key(number: number): string {
    return this.keys.key(number, this.types[number]);
  }

  typeOf(number: number): OwningRow["type"] {
    return TYPES[this.types[number]! - 1]!;
  }

  /** Those of a type; some may go meanwhile. */
  *all(type: OwningRow["type"]): Generator<number> {
    for (const number of this.keys.numbers()) if (this.typeOf(number) === type) yield number;
  }

  /** Equal for pods of equal shapes. */
  shapeNumber(number: number): number {
    return this.shape[number]! - 1;
  }

  shapeOf(number: number): Shape {
    const text = this.shapes.get(this.shapeNumber(number));
    if (this.last?.text !== text) this.last = { text, shape: JSON.parse(text) };
    return this.last.shape;
  }

  ownerOf(number: number): number | undefined {
    const owner = this.owner[number]!;
    return owner === 0 ? undefined : owner - 1;
  }

  /** The name of the node that a pod is on, or "". */
  nodeOf(number: number): string {
    const node = this.node[number]!;
    return node === 0 ? "" : this.nodes.get(node - 1);
  }

  addressesOf(number: number): number[] {
    const [first, second] = [this.first[number]!, this.second[number]!];
    if (second === 0) return first === 0 ? [] : [first - 1];
    return [first - 1, second - 1, ...(this.more.get(number) ?? [])];
  }

  endOf(number: number): number | undefined {
    return this.ended.get(number);
  }

  /** When its addresses became its own. */
  readyOf(number: number): number | undefined {
    return told(this.ready[number]!);
  }

  startOf(number: number): number | undefined {
    return this.readyOf(number) ?? told(this.started[number]!);
  }

  get(number: number): Entry {
    return {
      shape: this.shapeOf(number),
      node: this.nodeOf(number),
      owner: this.ownerOf(number),
      addresses: this.addressesOf(number),
      startedAt: told(this.started[number]!),
      readyAt: this.readyOf(number),
      endedAt: this.endOf(number),
    };
  }

  /** Keeps an object, new or instead of what was kept of it. */
  put(key: string, entry: Entry): number {
    const { shape, node, owner, addresses } = entry;
    const { type } = shape;
    const number = this.keys.add(key, codeOf(type));
    this.grow(number);
    this.forget(number);
    this.types[number] = codeOf(type);
    this.counts[type]++;
    this.shape[number] = 1 + this.shapes.add(JSON.stringify(shape), type === "pod");
    this.node[number] = node === "" ? 0 : 1 + this.nodes.add(node);
    this.owner[number] = owner === undefined ? 0 : owner + 1;
    const [first, second, ...more] = addresses;
    this.first[number] = first === undefined ? 0 : first + 1;
    this.second[number] = second === undefined ? 0 : second + 1;
    if (more.length > 0) this.more.set(number, more);
    this.started[number] = entry.startedAt ?? Number.NaN;
    this.ready[number] = entry.readyAt ?? Number.NaN;
    if (entry.endedAt !== undefined) this.ended.set(number, entry.endedAt);
    return number;
  }

  remove(number: number): void {
    this.forget(number);
    this.keys.remove(number);
  }

  /** Whether an object is kept as just that. */
  has(number: number, { shape, node, owner, addresses, ...times }: Entry): boolean {
    const kept = this.addressesOf(number);
    return (
      this.ownerOf(number) === owner &&
      this.nodeOf(number) === node &&
      told(this.started[number]!) === times.startedAt &&
      this.readyOf(number) === times.readyAt &&
      this.endOf(number) === times.endedAt &&
      kept.length === addresses.length &&
      kept.every((address, i) => address === addresses[i]) &&
      this.shapes.get(this.shapeNumber(number)) === JSON.stringify(shape)
    );
  }

  private forget(number: number): void {
    if (this.types[number] === 0) return;
    this.counts[this.typeOf(number)]--;
    this.types[number] = 0;
    this.shapes.drop(this.shapeNumber(number));
    if (this.node[number]! > 0) this.nodes.drop(this.node[number]! - 1);
    this.more.delete(number);
    this.ended.delete(number);
  }

  private grow(number: number): void {
    this.types = grown(this.types, number);
    this.shape = grown(this.shape, number);
    this.node = grown(this.node, number);
    this.owner = grown(this.owner, number);
    this.first = grown(this.first, number);
    this.second = grown(this.second, number);
    this.started = grown(this.started, number);
    this.ready = grown(this.ready, number);
  }
}

const told = (time: number): number | undefined => (Number.isNaN(time) ? undefined : time);
