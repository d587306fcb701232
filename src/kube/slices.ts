import { Keys } from "./keys.ts";
import { Lists } from "./lists.ts";
import type { NamedPort } from "./parse.ts";
import { Pool } from "./pool.ts";
import { grown } from "./table.ts";

/** An EndpointSlice as it is kept. */
export interface Slice {
  /** The number of its Service. */
  service: number;
  ports: NamedPort[];
  /** Numbers of its addresses, as often as it has them. */
  addresses: Uint32Array;
}

/** EndpointSlices by number, packed. */
export class Slices {
  private readonly keys = new Keys();
  private readonly byService = new Lists();
  private services = new Uint32Array();
  /** By number, the number of its text: most have equal ports. */
  private ports = new Uint32Array();
  private readonly texts = new Pool();
  private readonly addresses: (Uint32Array | undefined)[] = [];

  get size(): number {
    return this.keys.size;
  }

  find(key: string): number | undefined {
    return this.keys.find(key);
  }

  /** As a UUID, by which it is found as well. */
  key(number: number): string {
    return this.keys.key(number);
  }

  /** Some may go meanwhile. */
  numbers(): Iterable<number> {
    return this.keys.numbers();
  }

  get(number: number): Slice {
    const service = this.serviceOf(number);
    return { service, ports: JSON.parse(this.texts.get(this.ports[number]!)), addresses: this.addresses[number]! };
  }

  serviceOf(number: number): number {
    return this.services[number]!;
  }

  /** Those of a Service. */
  of(service: number): Generator<number> {
    return this.byService.of(service);
  }

  hasAny(service: number): boolean {
    return this.byService.first(service) >= 0;
  }

  /** Whether a slice is kept as just that. */
  has(number: number, { service, ports, addresses }: Slice): boolean {
    const kept = this.addresses[number]!;
    return (
      this.serviceOf(number) === service &&
      kept.length === addresses.length &&
      kept.every((address, i) => address === addresses[i]) &&
      this.texts.get(this.ports[number]!) === JSON.stringify(ports)
    );
  }

  /** Keeps a slice, new or instead of what was kept of it. */
  put(key: string, { service, ports, addresses }: Slice): number {
    const number = this.keys.add(key);
    this.forget(number);
    this.services = grown(this.services, number);
    this.ports = grown(this.ports, number);
    this.services[number] = service;
    this.ports[number] = this.texts.add(JSON.stringify(ports));
    this.addresses[number] = addresses;
    this.byService.add(service, number);
    return number;
  }

  remove(number: number): void {
    this.forget(number);
    this.keys.remove(number);
  }

  private forget(number: number): void {
    if (this.addresses[number] === undefined) return;
    this.addresses[number] = undefined;
    this.texts.drop(this.ports[number]!);
    this.byService.remove(this.serviceOf(number), number);
  }
}
