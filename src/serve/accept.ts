/** Which form of the exposition a scraper asks for, by its Accept headers. */
import Negotiator from "negotiator";
import type { Form } from "../core/core.ts";

const PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

/**
 * Media types as scrapers name them; the first is for whoever has no wish, and whoever wishes for none of them.
 * Prometheus 3 says of text that it takes names of any characters; ours have none that need it.
 */
const asked: Record<string, Form> = {
  "text/plain;version=0.0.4": "text",
  "application/openmetrics-text;version=1.0.0": "openmetrics",
  "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8": "openmetrics",
  [PROTOBUF]: "protobuf",
  [`${PROTOBUF};escaping=allow-utf-8`]: "protobuf",
};

/** How the answer calls itself. */
export const contentType: Record<Form, string> = {
  text: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
  protobuf: PROTOBUF.replaceAll(";", "; "),
};

/** @returns the form, and whether to compress it by gzip */
export function wanted(headers: Headers): { form: Form; zipped: boolean } {
  const negotiator = new Negotiator({
    headers: {
      accept: headers.get("accept") ?? "*/*",
      // Whoever does not mention it gets it plain.
      "accept-encoding": headers.get("accept-encoding") ?? "identity",
    },
  });
  return {
    form: asked[negotiator.mediaType(Object.keys(asked)) ?? ""] ?? "text",
    zipped: negotiator.encoding(["gzip", "identity"]) === "gzip",
  };
}
