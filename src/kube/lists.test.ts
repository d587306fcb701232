import { expect, test } from "bun:test";
import { Backends } from "./backends.ts";
import { Lists } from "./lists.ts";
import { Slices } from "./slices.ts";

/** The same ones each time. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = Math.imul(state, 48271) % 0x7fffffff;
    return Math.abs(state) % below;
  };
}

test("numbers in lists come and go, the last one first", () => {
  const random = randomFrom(1);
  const lists = new Lists();
  const model = new Map<number, number[]>();
  const listOf = new Map<number, number>();
  for (let step = 0; step < 20_000; step++) {
    const number = random(2000);
    const list = listOf.get(number);
    if (list === undefined) {
      const chosen = random(300);
      lists.add(chosen, number);
      listOf.set(number, chosen);
      model.set(chosen, [number, ...(model.get(chosen) ?? [])]);
    } else {
      lists.remove(list, number);
      listOf.delete(number);
      model.set(
        list,
        model.get(list)!.filter((other) => other !== number),
      );
    }
  }
  for (let list = 0; list < 5000; list++) expect([...lists.of(list)]).toEqual(model.get(list) ?? []);
});

test("backends are found by owner and by Service, also after others went", () => {
  const random = randomFrom(2);
  const backends = new Backends();
  const model = new Map<string, number>();
  for (let step = 0; step < 20_000; step++) {
    const [owner, port, service] = [random(40), 1 + random(4) * 20_000, random(30)];
    const key = `${owner} ${port} ${service}`;
    const place = model.get(key);
    if (place === undefined) model.set(key, backends.add(owner, port, service));
    else backends.remove(place);
    if (place !== undefined) model.delete(key);
  }
  const show = (place: number): string => `${backends.owner(place)} ${backends.port(place)} ${backends.service(place)}`;
  const byOwner: string[] = [];
  for (let owner = 0; owner < 100; owner++) {
    for (let at = backends.first(owner); at >= 0; at = backends.next(at)) byOwner.push(show(at));
  }
  const byService = Array.from({ length: 100 }, (_, service) => [...backends.of(service)].map(show)).flat();
  expect(byOwner.sort()).toEqual([...model.keys()].sort());
  expect(byService.sort()).toEqual([...model.keys()].sort());
  expect(Math.max(...model.values())).toBeLessThan(40 * 4 * 30);
});

test("slices are kept as they were, change, and leave nothing", () => {
  const slices = new Slices();
  const slice = (service: number, port: number, ...addresses: number[]) => ({
    ...{ service, ports: [{ name: "http", port }], addresses: Uint32Array.from(addresses) },
  });
  const [first, second] = [slice(7, 80, 1, 2), slice(7, 80, 3)];
  const [a, b] = [slices.put("shop/web-a", first), slices.put("shop/web-b", second)];
  expect([slices.get(a), slices.get(b)]).toEqual([first, second]);
  expect([slices.find("shop/web-a"), slices.find(slices.key(b)), slices.find("shop/web-c")]).toEqual([a, b, undefined]);
  expect([slices.size, [...slices.of(7)]]).toEqual([2, [b, a]]);
  for (const other of [slice(8, 80, 1, 2), slice(7, 81, 1, 2), slice(7, 80, 1), slice(7, 80, 1, 3)]) {
    expect(slices.has(a, other)).toBe(false);
    expect(slices.put("shop/web-a", other)).toBe(a);
    expect(slices.has(a, other)).toBe(true);
    expect(slices.get(a)).toEqual(other);
    expect(slices.put("shop/web-a", first)).toBe(a);
  }
  slices.remove(a);
  slices.remove(b);
  expect([slices.size, slices.hasAny(7), slices.hasAny(8), slices.find("shop/web-a")]).toEqual([
    ...[0, false, false, undefined],
  ]);
});
