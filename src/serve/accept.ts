/** Which form of the exposition a scraper asks for, by its Accept headers. */
import Negotiator from "negotiator";

export type Form = "text";

/** Media types as asked for; the first is sent to whoever has no wish, and to whoever wishes for none of them. */
const asked: Record<string, Form> = {
  "text/plain;version=0.0.4": "text",
};

/** What is said of each. */
export const contentType: Record<Form, string> = {
  text: "text/plain; version=0.0.4; charset=utf-8",
};

export function wanted(headers: Headers): { form: Form; zipped: boolean } {
  const accept = headers.get("accept");
  const encoding = headers.get("accept-encoding");
  const negotiator = new Negotiator({
    headers: {
      ...(accept === null ? {} : { accept }),
      // Without the header all encodings are allowed; but whoever says nothing may be a pipe to a terminal.
      "accept-encoding": encoding ?? "identity",
    },
  });
  return {
    form: asked[negotiator.mediaType(Object.keys(asked)) ?? ""] ?? "text",
    zipped: negotiator.encoding(["gzip", "identity"]) === "gzip",
  };
}
