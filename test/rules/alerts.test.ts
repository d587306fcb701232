/**
 * Every alert fires over what it is for, and over nothing else: not over a usual day, an hourly job, a newborn link or a
 * roll-out.
 */
import { expect, test } from "bun:test";
import { agents, link, linkLabels, type Minute, scrape, series, usual } from "./links.ts";
import { type Firing, type Labels, promtool, rulesFile, type Series } from "./promtool.ts";

const hour = 60;
const patience = 300_000;

const severities: Record<string, string> = {
  RingsideLinkErrorBurn: "critical",
  RingsideThroughputAnomaly: "info",
  RingsideLatencyAnomaly: "info",
  RingsideNewDependency: "info",
  RingsideVanishedDependency: "info",
  RingsideCrossZoneTraffic: "info",
};
const severity = (alertname: string) => severities[alertname] ?? "warning";
/** Every alert that some test has seen firing. */
const seen = new Set<string>();

function fires(alertname: string, labels: Labels): Firing {
  seen.add(alertname);
  return { alertname, severity: severity(alertname), ...labels };
}

const times = (factor: number, minute: Minute = usual): Minute => ({
  ...minute,
  sent: Math.round(minute.sent * factor),
  received: Math.round(minute.received * factor),
  requests: Math.round(minute.requests * factor),
  connections: Math.round(minute.connections * factor),
});

/** Between -1 and 1, the same each time. */
const noise = (minute: number) => Math.sin(minute * 12.9898) * Math.cos(minute * 78.233);

test(
  "links with a day behind them",
  async () => {
    const event = 25 * hour;
    const end = event + 105;
    const from = (before: Partial<Minute>, after: Partial<Minute> | undefined) => (minute: number) =>
      minute < event ? before : after;

    const good: Record<string, (minute: number) => Partial<Minute> | undefined> = {
      steady: () => ({}),
      daily: (minute) => {
        const factor = (1 + 0.8 * Math.sin((2 * Math.PI * minute) / (24 * hour))) * (1 + 0.2 * noise(minute));
        const response = usual.response * (1 + 0.5 * noise(minute + 7));
        return { ...times(factor), response, roundTrip: response + 0.002 * (1 + 0.5 * noise(minute + 3)) };
      },
      // An hourly job of three minutes: its rows go with its pod, or stay. It ends each connection with a reset.
      gone: (minute) => (minute % hour < 5 ? times(minute % hour < 4 ? 1 : 0) : undefined),
      stays: (minute) => (minute % hour < 3 ? { requests: 60, connections: 30, resets: 30 } : times(0)),
      // Now and then, and a third of it in vain.
      small: (minute) => ({
        ...times(0),
        ...(minute % 20 === 0 ? { requests: 1, connections: 1, sent: 100, received: 100, slow: 1 } : {}),
        failures: { ...usual.failures, refused: minute % 60 === 0 ? 1 : 0 },
      }),
      // It polls for long, ends each connection with a reset and gives up half of its connects: it always has.
      odd: () => ({
        response: 2,
        roundTrip: 2,
        requests: 60,
        slow: 60,
        resets: 20,
        connections: 20,
        failures: { ...usual.failures, aborted: 20 },
      }),
      // The same once in a while, on connections that live for days.
      pool: (minute) => ({ connections: minute % 90 === 0 ? 1 : 0, resets: minute % 90 === 0 ? 1 : 0 }),
      // Ten minutes of a roll-out.
      rolled: (minute) =>
        minute >= event && minute < event + 10
          ? {
              ...times(0.5),
              connections: 150,
              failures: { ...usual.failures, refused: 30, timed_out: 5 },
              resets: 10,
              response: 0.02,
              roundTrip: 0.04,
              slow: 60,
            }
          : {},
      // Too little to judge: 50 bytes and a twelfth of an exchange a second, then much more of both.
      trickle: (minute) => ({
        ...times(0),
        sent: minute < event ? 3000 : 15_000,
        requests: 5,
        ...(minute < event ? {} : { response: 0.1, roundTrip: 0.2 }),
      }),
      // Half a day old, and grown.
      young: (minute) => (minute < 12.5 * hour ? undefined : times(minute < event - 60 ? 1 : 5)),
      newborn: (minute) => (minute >= event ? times(5) : undefined),
    };
    const bad: Record<string, (minute: number) => Partial<Minute> | undefined> = {
      more: from({}, times(3)),
      less: from({}, times(0.3)),
      slower: from({}, { response: 0.044, roundTrip: 0.046 }),
      farther: from({}, { roundTrip: 0.046 }),
      vanished: from({}, undefined),
      severed: from({}, { resets: 90, connections: 120 }), // 3 % of the exchanges
    };
    const own = (name: string) => linkLabels(name, `${name}-api`);
    const all: Series[] = [
      ...agents(end),
      ...Object.entries({ ...good, ...bad }).flatMap(([name, happens]) => link(own(name), end, happens)),
      // A server that is slow, and one that is slow for one of its clients.
      ...link(own("suffers"), end, from({}, { slow: 900 })),
      ...link(linkLabels("unlucky", "shared"), end, from({}, { slow: 900 })),
      ...link(linkLabels("lucky", "shared"), end, () => times(10)),
    ];
    const { destination_namespace, destination_workload, destination_kind, port } = own("suffers") as Record<
      string,
      string
    >;
    const lasting = [
      fires("RingsideLinkErrorBurn", own("severed")),
      fires("RingsideResponseTimeBurn", {
        destination_namespace,
        destination_workload,
        destination_kind,
        port,
      } as Labels),
      fires("RingsideLinkLatencyBurn", linkLabels("unlucky", "shared")),
    ];
    const born = fires("RingsideNewDependency", own("newborn"));
    const said = await promtool(
      all,
      {
        30: [],
        55: [],
        [6 * hour]: [],
        [12 * hour]: [],
        [18 * hour]: [],
        [22 * hour]: [],
        [event - 30]: [],
        [event]: [],
        [event + 10]: [born],
        [event + 14]: [born],
        [event + 60]: [
          born,
          ...lasting,
          fires("RingsideResets", own("severed")),
          fires("RingsideThroughputAnomaly", own("more")),
          fires("RingsideThroughputAnomaly", own("less")),
          fires("RingsideLatencyAnomaly", own("slower")),
          fires("RingsideLatencyAnomaly", own("farther")),
          fires("RingsideRoundTripGap", own("farther")),
        ],
        // What has lasted for more than a twentieth of a day is usual.
        [end]: [
          ...lasting,
          fires("RingsideResets", own("severed")),
          fires("RingsideVanishedDependency", own("vanished")),
        ],
      },
      [
        {
          at: event + 60,
          alertname: "RingsideNewDependency",
          labels: { severity: "info", ...own("newborn") },
          annotations: {
            summary: "New dependency: shop/newborn -> shop/newborn-api:8080",
            description: "This link has carried bytes in the last hour, and did not exist in the day before.",
            runbook: "docs/alerts.md#ringsidenewdependency",
          },
        },
      ],
    );
    expect(said).toBe("");
  },
  patience,
);

test(
  "a link that goes with the agent that saw it",
  async () => {
    const event = 20 * hour;
    const end = event + 2 * hour;
    const before = ({ labels, samples }: Series): Series => ({
      labels,
      samples: samples.map((sample, minute) => (minute < event ? sample : undefined)),
    });
    const lost = agents(end).map((one) => (one.labels.instance === scrape(2).instance ? before(one) : one));
    const all = [...lost, ...link(linkLabels("web"), end, (minute) => (minute < event ? {} : undefined))];
    expect(await promtool(all, { [event]: [], [event + 90]: [], [end]: [] })).toBe("");
  },
  patience,
);

test(
  "links that fail",
  async () => {
    const event = 3 * hour;
    const end = 5 * hour;
    const own = (name: string) => linkLabels(name, `${name}-api`);
    const from = (after: Partial<Minute>) => (minute: number) => (minute < event ? {} : after);
    const failing = (failures: Partial<Minute["failures"]>) => ({ failures: { ...usual.failures, ...failures } });
    const pod = (name: string, node: string, on: Labels = {}) =>
      series({ __name__: "kube_pod_info", namespace: "shop", pod: name, node, ...on }, end, () => 1);
    const ofPods = (family: string, perMinute: number, pods: Labels) =>
      series(
        {
          __name__: `kube_ebpf_link_${family}_total`,
          source_namespace: "shop",
          destination_namespace: "shop",
          ...pods,
          ...scrape(1),
        },
        end,
        (minute) => perMinute * minute,
      );
    const near = { source_pod: "web-1", destination_pod: "api-1" };
    const far = { source_pod: "web-1", destination_pod: "api-2" };
    const all: Series[] = [
      ...agents(end).filter(({ labels }) => !labels.__name__?.includes("segments")),
      ...link(own("well"), end, () => ({})),
      ...link(own("cut"), end, from(failing({ refused: 150 }))), // 4.8 % of the exchanges
      ...link(own("frayed"), end, () => ({ requests: 60, connections: 30, resets: 30 })), // it may always be so
      ...link(own("lame"), end, from(failing({ timed_out: 3 }))), // 9 % of the connects, 0.1 % of the exchanges
      ...link(own("choosy"), end, from(failing({ aborted: 30 }))),
      ...link(own("hung"), end, from({ resets: 5 })),
      ...link(own("never"), end, () => ({ ...times(0), ...failing({ refused: 12 }) })),
      ...link({ ...own("costly"), scope: "other_zone" }, end, () => ({ received: 80_000_000 })),
      ...link({ ...own("cheap"), scope: "same_zone" }, end, () => ({ received: 80_000_000 })),
      // Of node 1, 3 % are sent again, all of them on the way to node 2; the pods' links are of --aggregate pod.
      pod("web-1", "node-1"),
      pod("api-1", "node-1"),
      pod("api-2", "node-2"),
      // It moves, and one replica of kube-state-metrics is behind the other.
      series({ __name__: "kube_pod_info", namespace: "shop", pod: "web-1", node: "node-3" }, end, (minute) =>
        minute >= 30 && minute < 33 ? 1 : undefined,
      ),
      ofPods("segments_sent", 6000, near),
      ofPods("retransmitted_segments", 6, near),
      ofPods("segments_sent", 6000, far),
      ofPods("retransmitted_segments", 354, far),
    ];
    const { source_namespace, source_workload, destination_namespace, destination_workload } = own("costly");
    const always = [
      fires("RingsideConnectFailureBurn", { ...own("never"), reason: "refused" }),
      fires("RingsideNodeRetransmits", { instance: scrape(1).instance! }),
      fires("RingsideNodePairRetransmits", { source_node: "node-1", destination_node: "node-2" }),
    ];
    const costly = fires("RingsideCrossZoneTraffic", {
      source_namespace,
      source_workload,
      destination_namespace,
      destination_workload,
    } as Labels);
    const said = await promtool(
      all,
      {
        10: [],
        [2 * hour]: [...always, costly],
        [event]: [...always, costly],
        [event + 10]: [...always, costly],
        [end]: [
          ...always,
          costly,
          fires("RingsideLinkErrorBurn", own("cut")),
          fires("RingsideConnectFailureBurn", { ...own("cut"), reason: "refused" }),
          fires("RingsideConnectFailureBurn", { ...own("lame"), reason: "timed_out" }),
          fires("RingsideResets", own("hung")),
        ],
      },
      [
        {
          at: 2 * hour,
          alertname: "RingsideNodePairRetransmits",
          labels: { severity: "warning", source_node: "node-1", destination_node: "node-2" },
          annotations: {
            summary: "Packets are lost between node-1 and node-2",
            description: "5.9% of the segments on links from node-1 to node-2 were sent again.",
            runbook: "docs/alerts.md#ringsidenodepairretransmits",
          },
        },
      ],
    );
    expect(said).toBe("");
  },
  patience,
);

test(
  "agents",
  async () => {
    const event = hour;
    const end = 2 * hour;
    const [instance, other] = [scrape(1).instance!, scrape(2).instance!];
    const grown = (minute: number) => Math.max(0, minute - event);
    const bad: Record<string, (minute: number) => number> = {
      ringside_final_snapshots_lost_total: grown,
      ringside_connections_refused_total: grown,
      ringside_connections_capped_total: grown,
      ringside_identities_age_seconds: (minute) => 60 * grown(minute),
    };
    /** Agent 1 loses what it can; agent 2 answers no more. */
    const all = agents(end).map(({ labels, samples }) => {
      const name = labels.__name__!;
      const happens = bad[name];
      if (labels.instance === instance)
        return { labels, samples: happens ? samples.map((_, minute) => happens(minute)) : samples };
      const last = name === "up" ? 0 : undefined;
      return { labels, samples: samples.map((sample, minute) => (minute < event ? sample : last)) };
    });
    const { job, namespace, pod } = scrape(2) as Record<string, string>;
    const said = await promtool(
      all,
      {
        [event]: [],
        [event + 5]: [
          fires("RingsideFinalsLost", { instance, reason: "ring_full" }),
          fires("RingsideConnectionsRefused", { instance, reason: "limit" }),
          fires("RingsideSeriesCapped", { instance }),
        ],
        [end]: [
          fires("RingsideFinalsLost", { instance, reason: "ring_full" }),
          fires("RingsideConnectionsRefused", { instance, reason: "limit" }),
          fires("RingsideSeriesCapped", { instance }),
          fires("RingsideIdentitiesStale", { instance, stream: "pods" }),
          fires("RingsideAgentDown", { instance: other, job, namespace, pod } as Labels),
        ],
      },
      [
        {
          at: end,
          alertname: "RingsideFinalsLost",
          labels: { severity: "warning", instance, reason: "ring_full" },
          annotations: {
            summary: "Agent 10.244.1.9:12020 loses bytes (ring_full)",
            description:
              "15 last snapshots of connections were lost in 15 minutes, with what these connections moved at their end.",
            runbook: "docs/alerts.md#ringsidefinalslost",
          },
        },
      ],
    );
    expect(said).toBe("");
  },
  patience,
);

test(
  "agents that are rolled out, on addresses of their own",
  async () => {
    const event = hour;
    const end = 2 * hour;
    const old = agents(end).map(({ labels, samples }) => ({
      labels,
      samples: samples.map((sample, minute) => (minute < event ? sample : undefined)),
    }));
    const fresh = agents(end).map(({ labels, samples }) => ({
      labels: { ...labels, instance: `${labels.instance}0` },
      samples: samples.map((sample, minute) => (minute < event + 2 ? undefined : sample)),
    }));
    expect(await promtool([...old, ...fresh], { [event + 12]: [], [end]: [] })).toBe("");
  },
  patience,
);

test(
  "no agent",
  async () => {
    expect(await promtool([], { 10: [], 20: [fires("RingsideAgentsAbsent", {})] })).toBe("");
  },
  patience,
);

test("every alert of the file has fired, and each has its section", async () => {
  const { groups } = Bun.YAML.parse(await Bun.file(rulesFile).text()) as {
    groups: { rules: { alert?: string; labels?: Labels; annotations?: Labels }[] }[];
  };
  const alerts = groups.flatMap(({ rules }) => rules).filter(({ alert }) => alert);
  expect(alerts.map(({ alert }) => alert!).sort()).toEqual([...seen].sort());
  const sections = await Bun.file(`${import.meta.dir}/../../docs/alerts.md`).text();
  for (const { alert, labels, annotations } of alerts) {
    expect(labels).toEqual({ severity: severity(alert!) });
    expect(Object.keys(annotations!)).toEqual(["summary", "description", "runbook"]);
    expect(annotations!.runbook).toBe(`docs/alerts.md#${alert!.toLowerCase()}`);
    expect(sections).toContain(`\n### ${alert}\n`);
  }
});
