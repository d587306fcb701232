import { toBytes } from "./address.ts";
import { grown, Table } from "./table.ts";

/** An address, and the same as a key. */
const bytes = new Uint8Array(16);
const words = new Uint32Array(bytes.buffer);
/** In `naming`: several slices name the address. */
const SEVERAL = 0xffffffff;

/**
 * Addresses by number, packed, for as long as an object or a slice names them: who has each, and which slices name it.
 * There is one for each of 150,000 pods, so all claims and slices are kept only where there are several.
 */
export class Addresses {
  private readonly table = new Table();
  /** Objects and slices that name it. */
  private users = new Uint32Array();
  /** 1 and the object that has it, or 0; its number in the core as that was told; from when, boot time in ns. */
  private holders = new Uint32Array();
  private owners = new Uint32Array();
  private times = new BigUint64Array();
  private readonly claims = new Map<number, readonly number[]>();
  /** 1 and the number of the slice that names it, 0 or SEVERAL. */
  private naming = new Uint32Array();
  private readonly slices = new Map<number, readonly number[]>();

  /** The number of an address that somebody names. */
  use(address: string): number {
    toBytes(address, bytes);
    const number = this.table.find(words) ?? this.table.add(words);
    this.users = grown(this.users, number);
    this.holders = grown(this.holders, number);
    this.owners = grown(this.owners, number);
    this.times = grown(this.times, number);
    this.naming = grown(this.naming, number);
    this.users[number]!++;
    return number;
  }

  /** Somebody names it no more. */
  drop(number: number): void {
    if (--this.users[number]! === 0) this.table.remove(number);
  }

  /** 16 bytes in network order, until the next call. */
  bytes(number: number): Uint8Array {
    this.table.key(number, words);
    return bytes;
  }

  /** The object that has it. */
  holder(number: number): number | undefined {
    const holder = this.holders[number]!;
    return holder === 0 ? undefined : holder - 1;
  }

  /** Of one that is held: the holder's number in the core, as it was told. */
  owner(number: number): number {
    return this.owners[number]!;
  }

  /** Of one that is held: since when, boot time in ns. */
  since(number: number): bigint {
    return this.times[number]!;
  }

  /** The objects that claim it, in the order in which they came. */
  claimsOn(number: number): readonly number[] {
    const holder = this.holder(number);
    return this.claims.get(number) ?? (holder === undefined ? [] : [holder]);
  }

  /** Who claims it, and whose it is of those. */
  claim(number: number, claims: readonly number[], holder: number | undefined): void {
    this.holders[number] = holder === undefined ? 0 : holder + 1;
    if (claims.length > 1) this.claims.set(number, claims);
    else this.claims.delete(number);
  }

  /** The core is told. */
  tell(number: number, owner: number, since: bigint): void {
    this.owners[number] = owner;
    this.times[number] = since;
  }

  /** The slices that name it. */
  slicesOf(number: number): readonly number[] {
    const slice = this.naming[number]!;
    return slice === SEVERAL ? this.slices.get(number)! : slice === 0 ? [] : [slice - 1];
  }

  name(number: number, slice: number): void {
    this.setSlices(number, [...this.slicesOf(number), slice]);
  }

  unname(number: number, slice: number): void {
    this.setSlices(
      number,
      this.slicesOf(number).filter((other) => other !== slice),
    );
  }

  private setSlices(number: number, slices: readonly number[]): void {
    const [first] = slices;
    this.naming[number] = first === undefined ? 0 : slices.length > 1 ? SEVERAL : first + 1;
    if (slices.length > 1) this.slices.set(number, slices);
    else this.slices.delete(number);
  }
}
