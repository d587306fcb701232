import { Lists } from "./lists.ts";
import { grown } from "./table.ts";

/** Which Services lead to which ports of which owners: places, packed. -1 is no place. */
export class Backends {
  private readonly byOwner = new Lists();
  private readonly byService = new Lists();
  private owners = new Uint32Array();
  private ports = new Uint16Array();
  private services = new Uint32Array();
  /** All places are below. */
  private limit = 0;
  private readonly free: number[] = [];

  /** The first place of an owner, and the one after it. */
  first(owner: number): number {
    return this.byOwner.first(owner);
  }

  next(place: number): number {
    return this.byOwner.next(place);
  }

  /** Whether no place of its owner before it has its port. */
  isFirst(place: number): boolean {
    const port = this.port(place);
    let at = this.first(this.owner(place));
    while (this.port(at) !== port) at = this.next(at);
    return at === place;
  }

  /** All places of a Service. */
  of(service: number): Generator<number> {
    return this.byService.of(service);
  }

  owner(place: number): number {
    return this.owners[place]!;
  }

  port(place: number): number {
    return this.ports[place]!;
  }

  service(place: number): number {
    return this.services[place]!;
  }

  /** @returns its place */
  add(owner: number, port: number, service: number): number {
    const place = this.free.pop() ?? this.limit++;
    this.owners = grown(this.owners, place);
    this.ports = grown(this.ports, place);
    this.services = grown(this.services, place);
    this.owners[place] = owner;
    this.ports[place] = port;
    this.services[place] = service;
    this.byOwner.add(owner, place);
    this.byService.add(service, place);
    return place;
  }

  /** What it was can be asked for until another is added. */
  remove(place: number): void {
    this.byOwner.remove(this.owner(place), place);
    this.byService.remove(this.service(place), place);
    this.free.push(place);
  }
}
