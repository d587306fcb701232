/** A pod's process, as its node sees it. */
import type { Manifest } from "../chart/helm.ts";
import { onNode } from "./cluster.ts";

/** The id, on the pod's node, of its first container's process. @throws where it does not run */
export async function pidOf({ metadata, spec, status }: Manifest): Promise<string> {
  const id = status.containerStatuses[0].containerID?.replace("containerd://", "");
  const tasks = await onNode(spec.nodeName, "ctr", "-n", "k8s.io", "tasks", "list");
  const pid = new RegExp(`^${id}\\s+(\\d+)\\s+RUNNING`, "m").exec(tasks)?.[1];
  if (pid === undefined) throw new Error(`${metadata.name} does not run on ${spec.nodeName}:\n${tasks}`);
  return pid;
}
