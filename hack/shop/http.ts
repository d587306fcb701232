// As much HTTP/1.1 as the shop speaks: no body in a request, Content-Length in a response, keep-alive throughout.

/** A request or a response, for `Frame`. */
export function frame(bytes: Buffer): number {
  const head = bytes.indexOf("\r\n\r\n");
  if (head < 0) return 0;
  const length = /^content-length: (\d+)$/im.exec(bytes.toString("latin1", 0, head))?.[1] ?? "0";
  const end = head + 4 + Number(length);
  return bytes.length >= end ? end : 0;
}

export function request(host: string, path: string): Buffer {
  return Buffer.from(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
}

export function response(body: string): Buffer {
  return Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

/** The path that a request asks for. */
export function pathOf(request: Buffer): string {
  return request.toString("latin1", 0, request.indexOf("\r\n")).split(" ")[1]!;
}

export function bodyOf(response: Buffer): string {
  return response.toString("utf8", response.indexOf("\r\n\r\n") + 4);
}
