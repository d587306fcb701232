import { grown } from "./table.ts";

/** Which Services lead to which ports, by owner, packed: most have one. */
export class Backends {
  /** By owner, 1 and its first place, or 0; by place, the next one, and the next free one. */
  private heads = new Uint32Array();
  private nexts = new Uint32Array();
  private ports = new Uint16Array();
  private readonly services: string[] = [];
  private free = 0;

  /** The first place of an owner, the last that was added; 0: none. */
  first(owner: number): number {
    return this.heads[owner] ?? 0;
  }

  /** The owner's place after it; 0: none. */
  next(place: number): number {
    return this.nexts[place - 1]!;
  }

  port(place: number): number {
    return this.ports[place - 1]!;
  }

  /** "namespace/name" */
  service(place: number): string {
    return this.services[place - 1]!;
  }

  add(owner: number, port: number, service: string): void {
    const place = this.free > 0 ? this.free - 1 : this.services.length;
    this.heads = grown(this.heads, owner);
    this.nexts = grown(this.nexts, place);
    this.ports = grown(this.ports, place);
    if (this.free > 0) this.free = this.nexts[place]!;
    this.ports[place] = port;
    this.services[place] = service;
    this.nexts[place] = this.heads[owner]!;
    this.heads[owner] = place + 1;
  }

  remove(owner: number, port: number, service: string): void {
    let before = 0;
    for (let at = this.heads[owner] ?? 0; at > 0; at = this.nexts[at - 1]!) {
      if (this.ports[at - 1] === port && this.services[at - 1] === service) {
        const next = this.nexts[at - 1]!;
        if (before > 0) this.nexts[before - 1] = next;
        else this.heads[owner] = next;
        this.nexts[at - 1] = this.free;
        this.free = at;
        return;
      }
      before = at;
    }
  }
}
