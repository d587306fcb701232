import { isUuid, Keys } from "./keys.ts";
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

/**
 * Objects by number, packed: of a pod some 80 bytes, and what it shares with others of its workload. Whole rows would be
 * a kilobyte each.
 */
export class Objects {
  readonly counts = { pod: 0, service: 0, node: 0 };
  private readonly keys = new Keys();
  private readonly shapes = new Pool<Shape>();
  private readonly nodes = new Pool<string>();
  /** By number: 0 where there is none, else 1 and a number. Addresses beyond the first two lie apart. */
  private shape = new Uint32Array();
  private node = new Uint32Array();
  private owner = new Uint32Array();
  private first = new Uint32Array();
  private second = new Uint32Array();
  private readonly more = new Map<number, number[]>();
  /** Milliseconds since 1970, NaN for those that are not told. */
  private started = new Float64Array();
  private ready = new Float64Array();
  private ended = new Float64Array();

  find(type: OwningRow["type"], key: string): number | undefined {
    return this.keys.find(keyOf(type, key));
  }

  key(number: number): string {
    const key = this.keys.key(number);
    return key.slice(key.indexOf(" ") + 1);
  }

  /** Those of a type; some may go meanwhile. */
  *all(type: OwningRow["type"]): Generator<number> {
    for (const number of this.keys.numbers()) if (this.shapeOf(number).type === type) yield number;
  }

  shapeOf(number: number): Shape {
    return this.shapes.get(this.shape[number]! - 1);
  }

  ownerOf(number: number): number | undefined {
    const owner = this.owner[number]!;
    return owner === 0 ? undefined : owner - 1;
  }

  addressesOf(number: number): number[] {
    const [first, second] = [this.first[number]!, this.second[number]!];
    if (second === 0) return first === 0 ? [] : [first - 1];
    return [first - 1, second - 1, ...(this.more.get(number) ?? [])];
  }

  endOf(number: number): number | undefined {
    return told(this.ended[number]!);
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
      node: this.node[number] === 0 ? "" : this.nodes.get(this.node[number]! - 1),
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
    const number = this.keys.add(keyOf(shape.type, key));
    this.grow(number);
    const [oldShape, oldNode] = [this.shape[number]!, this.node[number]!];
    this.shape[number] = 1 + this.shapes.add(shape, shape.type === "pod" ? JSON.stringify(shape) : undefined);
    this.node[number] = node === "" ? 0 : 1 + this.nodes.add(node, node);
    if (oldShape === 0) this.counts[shape.type]++;
    else this.shapes.drop(oldShape - 1);
    if (oldNode > 0) this.nodes.drop(oldNode - 1);
    this.owner[number] = owner === undefined ? 0 : owner + 1;
    const [first, second, ...more] = addresses;
    this.first[number] = first === undefined ? 0 : first + 1;
    this.second[number] = second === undefined ? 0 : second + 1;
    if (more.length > 0) this.more.set(number, more);
    else this.more.delete(number);
    this.started[number] = entry.startedAt ?? Number.NaN;
    this.ready[number] = entry.readyAt ?? Number.NaN;
    this.ended[number] = entry.endedAt ?? Number.NaN;
    return number;
  }

  remove(number: number): void {
    this.counts[this.shapeOf(number).type]--;
    this.shapes.drop(this.shape[number]! - 1);
    if (this.node[number]! > 0) this.nodes.drop(this.node[number]! - 1);
    this.shape[number] = 0;
    this.node[number] = 0;
    this.more.delete(number);
    this.keys.remove(number);
  }

  /** Whether an object is kept as just that. */
  has(number: number, { shape, node, owner, addresses, ...times }: Entry): boolean {
    const kept = this.get(number);
    if (shape.type !== "pod") return Bun.deepEquals(kept.shape, shape);
    return (
      kept.owner === owner &&
      kept.node === node &&
      kept.startedAt === times.startedAt &&
      kept.readyAt === times.readyAt &&
      kept.endedAt === times.endedAt &&
      kept.addresses.length === addresses.length &&
      kept.addresses.every((address, i) => address === addresses[i]) &&
      Bun.deepEquals(kept.shape, shape)
    );
  }

  private grow(number: number): void {
    this.shape = grown(this.shape, number);
    this.node = grown(this.node, number);
    this.owner = grown(this.owner, number);
    this.first = grown(this.first, number);
    this.second = grown(this.second, number);
    this.started = grown(this.started, number);
    this.ready = grown(this.ready, number);
    this.ended = grown(this.ended, number);
  }
}

/** A pod's UUID is kept as such. */
const keyOf = (type: OwningRow["type"], key: string): string =>
  type === "pod" && isUuid(key) ? key : `${type} ${key}`;
const told = (time: number): number | undefined => (Number.isNaN(time) ? undefined : time);
