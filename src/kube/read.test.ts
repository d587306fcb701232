import { describe, expect, test } from "bun:test";
import type { Row } from "./parse.ts";
import { readLists } from "./read.ts";

/** Reads a text in chunks of so many bytes, each in the same memory, as the file's reader gives them. */
async function read(text: string | Uint8Array, chunk = 64 << 10): Promise<Row[]> {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  const rows: Row[] = [];
  async function* chunks() {
    const buffer = new Uint8Array(chunk);
    for (let at = 0; at < bytes.length; at += chunk) {
      const part = bytes.subarray(at, at + chunk);
      buffer.set(part);
      yield buffer.subarray(0, part.length);
    }
  }
  await readLists(chunks(), "names", (row) => rows.push(row));
  return rows;
}

const names = (rows: Row[]) => rows.map((row) => `${row.type} ${row.key}`);
const refusal = (text: string | Uint8Array) => read(text).then(() => "not refused", String);
const EXPECTED = "It must be what `kubectl get pods,services,nodes,endpointslices -A -o json` (or yaml) prints.";

/** As `kubectl get pods,svc,nodes -A -o json` (or yaml) prints it. */
const JSON_LIST = `{
    "apiVersion": "v1",
    "items": [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "annotations": {
                    "note": "\\u00e9 é, a \\"quote\\", {braces} and [brackets]"
                },
                "creationTimestamp": "2026-01-31T11:59:57Z",
                "labels": {
                    "app": "web"
                },
                "name": "web-1",
                "namespace": "shop",
                "uid": "4b3f8a52-0d0e-4a7e-9d5e-0a5b4f0a1c11"
            },
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "ports": [
                            {
                                "containerPort": 8080,
                                "name": "http",
                                "protocol": "TCP"
                            }
                        ]
                    }
                ],
                "nodeName": "node-a"
            },
            "status": {
                "phase": "Running",
                "podIP": "10.244.1.7",
                "podIPs": [
                    {
                        "ip": "10.244.1.7"
                    }
                ],
                "startTime": "2026-01-31T11:59:57Z"
            }
        },
        {
            "apiVersion": "v1",
            "data": {
                "a": "b"
            },
            "kind": "ConfigMap",
            "metadata": {
                "name": "skipped",
                "namespace": "shop"
            }
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "web",
                "namespace": "shop"
            },
            "spec": {
                "clusterIP": "10.96.0.5",
                "ports": [
                    {
                        "port": 80,
                        "protocol": "TCP",
                        "targetPort": "http"
                    }
                ],
                "selector": {
                    "app": "web"
                }
            },
            "status": {
                "loadBalancer": {}
            }
        }
    ],
    "kind": "List",
    "metadata": {
        "resourceVersion": ""
    }
}
`;

/** The same as `-o yaml` prints it. */
const YAML_LIST = `apiVersion: v1
items:
- apiVersion: v1
  kind: Pod
  metadata:
    annotations:
      note: |-
        é é
        - a line like an item
        kind: and one like a key
      long: "folded over a \\
        line"
    creationTimestamp: "2026-01-31T11:59:57Z"
    labels:
      app: web
    name: web-1
    namespace: shop
    uid: 4b3f8a52-0d0e-4a7e-9d5e-0a5b4f0a1c11
  spec:
    containers:
    - name: web
      ports:
      - containerPort: 8080
        name: http
        protocol: TCP
    nodeName: node-a
  status:
    phase: Running
    podIP: 10.244.1.7
    podIPs:
    - ip: 10.244.1.7
    startTime: "2026-01-31T11:59:57Z"
- apiVersion: v1
  data:
    a: b
  kind: ConfigMap
  metadata:
    name: skipped
    namespace: shop
- apiVersion: v1
  kind: Service
  metadata:
    name: web
    namespace: shop
  spec:
    clusterIP: 10.96.0.5
    ports:
    - port: 80
      protocol: TCP
      targetPort: http
    selector:
      app: web
  status:
    loadBalancer: {}
kind: List
metadata:
  resourceVersion: ""
`;

const ROWS: Row[] = [
  {
    type: "pod",
    key: "4b3f8a52-0d0e-4a7e-9d5e-0a5b4f0a1c11",
    namespace: "shop",
    name: "web-1",
    workload: "web-1",
    kind: "Pod",
    node: "node-a",
    hostNetwork: false,
    addresses: ["10.244.1.7"],
    labels: ["app=web"],
    ports: [{ name: "http", port: 8080 }],
    finished: false,
    startedAt: Date.UTC(2026, 0, 31, 11, 59, 57),
  },
  {
    type: "service",
    key: "shop/web",
    namespace: "shop",
    name: "web",
    addresses: ["10.96.0.5"],
    selector: ["app=web"],
    ports: [{ name: "", port: 80, target: "http" }],
  },
];

describe("kubectl's List", () => {
  test.each([1, 7, 65536])("as JSON, %d bytes at a time", async (chunk) => {
    expect(await read(JSON_LIST, chunk)).toEqual(ROWS);
  });
  test.each([1, 7, 65536])("as YAML, %d bytes at a time", async (chunk) => {
    expect(await read(YAML_LIST, chunk)).toEqual(ROWS);
  });
  test("as YAML with a Windows editor's line ends and a byte order mark", async () => {
    expect(await read(`\uFEFF${YAML_LIST.replaceAll("\n", "\r\n")}`)).toEqual(ROWS);
  });
  test("as JSON with a byte order mark", async () => {
    expect(await read(`\uFEFF${JSON_LIST}`)).toEqual(ROWS);
  });
});

const node = (name: string) => `{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "${name}"}}`;
const list = (...items: string[]) => `{"apiVersion": "v1", "items": [${items}], "kind": "List"}`;

test("several documents, JSON or YAML", async () => {
  expect(names(await read(`${list(node("a"))}\n${list(node("b"), node("c"))}`))).toEqual([
    "node a",
    "node b",
    "node c",
  ]);
  const yaml = (name: string) => `kind: List\nitems:\n- kind: Node\n  metadata: {name: ${name}}\n`;
  expect(names(await read(`# names\n---\n${yaml("a")}---\n${yaml("b")}...\n---\n${list(node("c"))}\n---\n`))).toEqual([
    "node a",
    "node b",
    "node c",
  ]);
});

test("a typed list, whose items have no kind", async () => {
  const json = '{"kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": [{"metadata": {"name": "a"}}]}';
  expect(names(await read(json))).toEqual(["node a"]);
  const yaml = "kind: NodeList\napiVersion: v1\nitems:\n- metadata:\n    name: a\n";
  expect(names(await read(yaml))).toEqual(["node a"]);
});

test("YAML in another layout than kubectl's", async () => {
  const yaml =
    "kind: List\nnotes:\n- not an item\nitems:\n  - kind: Node\n    metadata: {name: a}\n  - kind: Node\n    metadata: {name: b}\n";
  expect(names(await read(yaml))).toEqual(["node a", "node b"]);
});

test("an empty list is a list", async () => {
  expect(await read(list())).toEqual([]);
  expect(await read('{"kind": "PodList", "items": null}')).toEqual([]);
  expect(await read("kind: List\nitems: []\n")).toEqual([]);
});

describe("refused", () => {
  const at = (where: string, why: string) =>
    `RingsideError: cannot read the identities: names${where}: ${why}. ${EXPECTED}`;
  const cases: [string, string, string][] = [
    ["nothing", "", `RingsideError: cannot read the identities: names is empty. ${EXPECTED}`],
    ["white space", " \n\n", `RingsideError: cannot read the identities: names is empty. ${EXPECTED}`],
    ["a pod", node("a"), at(" is not a list", 'it has the kind "Node"')],
    ["an object of no kind", '{"items": []}', at(" is not a list", 'it has no "kind"')],
    ["a list of no items", '{"kind": "List"}', at(" is not a list", 'it has no list of "items"')],
    [
      "items that are an object",
      '{"kind": "List", "items": {"a": {}}}',
      at(" is not a list", 'it has no list of "items"'),
    ],
    ["a JSON array", `[${node("a")}]`, at(" is not a list", "it is not an object")],
    ["a text", "hello\n", at(" is not a list", "it is not an object")],
    ["YAML of a pod", "kind: Pod\nmetadata:\n  name: a\n", at(" is not a list", 'it has the kind "Pod"')],
    [
      "a JSON text that ends early",
      `{"kind": "List", "items": [${node("a")}`,
      at(", near byte 90", "the text ends in the middle of an object"),
    ],
    [
      "objects in objects without end",
      `{"kind": "List", "items": [${"[".repeat(300)}`,
      at(", near byte 225", "objects are more than 200 deep"),
    ],
  ];
  test.each(cases)("%s", async (_, text, message) => {
    expect(await refusal(text)).toBe(message);
  });

  test("a wrong character in JSON, with its byte", async () => {
    const text = list(node("é"), "}");
    const byte = new TextEncoder().encode(text.slice(0, text.indexOf(",}") + 1)).length;
    expect(await refusal(text.replace("é", "e"))).toStartWith(
      `RingsideError: cannot read the identities: names, near byte ${byte - 1}: Unexpected RIGHT_BRACE`,
    );
    expect(await refusal('{"kind": "List", x}')).toContain('absolute position "17"');
  });

  test("YAML that is none, with its line", async () => {
    const broken = YAML_LIST.replace("    clusterIP: 10.96.0.5\n", "    clusterIP: [10.96.0.5\n");
    const line = YAML_LIST.slice(0, YAML_LIST.indexOf("    clusterIP:")).split("\n").length;
    expect(await refusal(broken)).toStartWith(`RingsideError: cannot read the identities: names, line ${line + 1}: `);
    expect(await refusal("kind: List\nitems: []\nitems: []\n")).toStartWith(
      "RingsideError: cannot read the identities: names, line 3: Map keys must be unique",
    );
    expect(await refusal("kind: List\n\titems: []\n")).toStartWith(
      "RingsideError: cannot read the identities: names, line 2: ",
    );
  });

  test("text that is not UTF-8", async () => {
    expect(await refusal(Buffer.from("kind: List\nitems:\n- \xff\n", "latin1"))).toStartWith(
      "RingsideError: cannot read the identities: names, line 1: ",
    );
    expect(await refusal(Buffer.from(list('"\xff"'), "latin1"))).toStartWith(
      "RingsideError: cannot read the identities: names, near byte ",
    );
  });

  test("an item with its index and name", async () => {
    const bad =
      '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop"}, "status": {"podIP": 5}}';
    const message =
      "RingsideError: cannot read the identities: names, item 1 (shop/web-1): podIP must be a text, and is 5. " +
      "Correct the item, or take it out of the file.";
    expect(await refusal(list(node("a"), bad))).toBe(message);
    expect(await refusal(`kind: List\nitems:\n- ${node("a")}\n- ${bad}\n`)).toBe(message);
    expect(await refusal(list("5"))).toContain("item 0 (without a name): the item must be an object, and is 5. ");
    expect(await refusal(list('{"kind": "Pod"}'))).toContain("item 0 (without a name): metadata is missing");
  });

  test("an item whose kind comes after it", async () => {
    expect(await refusal('{"items": [{"metadata": {"name": "a"}}], "kind": "NodeList"}')).toContain(
      "item 0 (a): kind must be a text, and neither the item nor its list has one before it. ",
    );
  });

  test("an item that would have another document's kind", async () => {
    const items = "items:\n- metadata: {name: a}\n";
    expect(await refusal(`kind: NodeList\n${items}---\n${items}kind: NodeList\n`)).toContain(
      "item 1 (a): kind must be a text",
    );
  });

  test("an item of more than 32 MiB", async () => {
    const huge = `{"kind": "Node", "metadata": {"name": "a", "annotations": {"x": "${"x".repeat(33 << 20)}"}}}`;
    expect(await refusal(list(node("b"), huge))).toMatch(
      /^RingsideError: cannot read the identities: names, the item at byte \d+ is larger than 32 MiB\. /,
    );
  });

  test("YAML of more than 32 MiB, and one of its items of more than 4", async () => {
    const remedy = "Print it with `kubectl get ... -o json`, which may have any size.";
    const item = `- kind: ConfigMap\n  data: ${"x".repeat(3 << 20)}\n`;
    expect(await refusal(`kind: List\nitems:\n${item.repeat(11)}`)).toBe(
      `RingsideError: cannot read the identities: names is YAML of more than 32 MiB. ${remedy}`,
    );
    expect(
      await refusal(`kind: List\nitems:\n- {kind: ConfigMap, metadata: {name: a}}\n- x: ${"x".repeat(5 << 20)}\n`),
    ).toContain(`names, line 4 starts an item or list of more than 4 MiB. ${remedy}`);
  });

  test("aliases that would grow without end", async () => {
    const lines = ["kind: List", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"];
    for (let i = 1; i < 9; i++) lines.push(`a${i}: &a${i} [${`*a${i - 1}, `.repeat(10)}]`);
    expect(await refusal(`${lines.join("\n")}\nitems: []\n`)).toContain("Excessive alias count");
  });
});
