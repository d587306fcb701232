import { Keys } from "./keys.ts";
import { grown } from "./table.ts";

/** What the core was told of a Service: the number of its own owner, and digests of the Service itself and its ports. */
export interface Told {
  owner: number;
  row: bigint;
  ports: bigint;
}

/** Services by number, packed: those that there are, and those that slices, backends or the core still have. */
export class Services {
  private readonly keys = new Keys();
  /** By number: 1 and the number of its object, and of the owner that was told; 0: there is none. */
  private objects = new Uint32Array();
  private owners = new Uint32Array();
  private rows = new BigUint64Array();
  private ports = new BigUint64Array();

  /** @param key "namespace/name" */
  number(key: string): number {
    const number = this.keys.add(key);
    this.objects = grown(this.objects, number);
    this.owners = grown(this.owners, number);
    this.rows = grown(this.rows, number);
    this.ports = grown(this.ports, number);
    return number;
  }

  /** Those that have an object. */
  *all(): Generator<number> {
    for (const number of this.keys.numbers()) if (this.objects[number]! > 0) yield number;
  }

  object(number: number): number | undefined {
    const object = this.objects[number]!;
    return object === 0 ? undefined : object - 1;
  }

  setObject(number: number, object: number | undefined): void {
    this.objects[number] = object === undefined ? 0 : object + 1;
  }

  told(number: number): Told | undefined {
    const owner = this.owners[number]!;
    return owner === 0 ? undefined : { owner: owner - 1, row: this.rows[number]!, ports: this.ports[number]! };
  }

  tell(number: number, told: Told | undefined): void {
    this.owners[number] = told === undefined ? 0 : told.owner + 1;
    this.rows[number] = told?.row ?? 0n;
    this.ports[number] = told?.ports ?? 0n;
  }

  /** Nobody has it any more: without an object, and untold. */
  remove(number: number): void {
    this.keys.remove(number);
  }
}
