import { expect, test } from "bun:test";
import { run } from "./config.ts";

const cidr = (...texts: string[]) => {
  run.exitOverride().configureOutput({ writeErr: () => {} });
  run.setOptionValue("cidr", []);
  return run
    .parse(
      texts.flatMap((text) => ["--cidr", text]),
      { from: "user" },
    )
    .opts().cidr;
};

test("--cidr names networks, one at a time or several", () => {
  const named = cidr("db=192.168.7.0/24", "office=10.1.0.0/16,six=fd00::/48").map(({ name, bits }) => [name, bits]);
  expect(named).toEqual([
    ["db", 120],
    ["office", 112],
    ["six", 48],
  ]);
});

test.each(["192.168.7.0/24", "db=192.168.7.0", "db=192.168.7.0/33", "=10.0.0.0/8", "a b=10.0.0.0/8", "db=host/8", ""])(
  "--cidr %p is refused",
  (text) => {
    expect(() => cidr(text)).toThrow("It is NAME=CIDR, as in office=10.1.0.0/16.");
  },
);

test("--ignore-namespace names namespaces, one at a time or several", () => {
  run.setOptionValue("ignoreNamespace", []);
  const named = ["--ignore-namespace", "kube-system", "--ignore-namespace", "a,b-2"];
  expect(run.parse(named, { from: "user" }).opts().ignoreNamespace).toEqual(["kube-system", "a", "b-2"]);
});

test.each(["", "a,", "Shop", "a.b", "-a", "*"])("--ignore-namespace %p is refused", (text) => {
  expect(() => run.parse(["--ignore-namespace", text], { from: "user" })).toThrow("It is the name of a namespace");
});

test("--disable-family names families, and a wrong name is told all of them", () => {
  run.setOptionValue("disableFamily", []);
  const two = "kube_ebpf_link_rtt_seconds,kube_ebpf_link_resets_total";
  expect(run.parse(["--disable-family", two], { from: "user" }).opts().disableFamily).toEqual(two.split(","));
  expect(() => run.parse(["--disable-family", "kube_ebpf_link_rtt"], { from: "user" })).toThrow(
    /There is no family "kube_ebpf_link_rtt"; there are kube_ebpf_request_duration_seconds, .*, kube_ebpf_link_rtt_seconds\.$/,
  );
});
