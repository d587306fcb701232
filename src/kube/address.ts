import { isIP } from "node:net";
import ipaddr from "ipaddr.js";

/**
 * The one spelling of an IP address by which it is looked up: dotted IPv4 (also of a v4-mapped one), RFC 5952 IPv6.
 * Undefined for whatever is no plain address: a host name, "None", "999.1.1.1", "010.0.0.1", one with a zone.
 */
export function canonical(text: string): string | undefined {
  const version = isIP(text);
  if (version === 4) return text;
  if (version === 0 || text.includes("%")) return undefined;
  const address = ipaddr.IPv6.parse(text);
  return address.isIPv4MappedAddress() ? address.toIPv4Address().toString() : address.toRFC5952String();
}

/** The 16 bytes of a canonical address in network order, IPv4 as v4-mapped IPv6; they are written to `bytes`. */
export function toBytes(address: string, bytes: Uint8Array = new Uint8Array(16)): Uint8Array {
  if (address.includes(":")) {
    bytes.set(ipaddr.IPv6.parse(address).toByteArray());
    return bytes;
  }
  for (let i = 0; i < 16; i++) bytes[i] = i === 10 || i === 11 ? 0xff : 0;
  let at = 12;
  for (let i = 0; i < address.length; i++) {
    const code = address.charCodeAt(i);
    if (code === DOT) at++;
    else bytes[at] = 10 * bytes[at]! + code - ZERO;
  }
  return bytes;
}

const DOT = ".".charCodeAt(0);
const ZERO = "0".charCodeAt(0);

/** Addresses that begin alike. */
export interface Range {
  address: Uint8Array;
  /** Of 128: those of IPv4 have 96 more than they are written with. */
  bits: number;
}

/** "10.0.0.0/8" or "fd00::/48"; undefined for whatever is none. */
export function rangeOf(text: string): Range | undefined {
  if (!ipaddr.isValidCIDR(text)) return undefined;
  const [start = "", length = ""] = text.split("/");
  const address = canonical(start);
  if (address === undefined) return undefined;
  return { address: toBytes(address), bits: Number(length) + (start.includes(":") ? 0 : 96) };
}
