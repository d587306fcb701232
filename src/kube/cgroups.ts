/** A pod's uid, of which systemd's names have no dashes, and a static pod's, which has none at all. */
const POD = /(?:^|-)pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?$/;

/**
 * The uid of the pod that a cgroup is of, by which the kubelet names it; undefined for one of no pod.
 *
 *   systemd   kubepods-burstable-pod0a1b2c3d_1111_2222_3333_444455556666.slice / cri-containerd-ID.scope, crio-ID.scope
 *   cgroupfs  kubepods / burstable / pod0a1b2c3d-1111-2222-3333-444455556666 / ID
 *
 * @param names the cgroup's own name, then those of its parents
 */
export function podOf(names: readonly string[]): string | undefined {
  for (const name of names) {
    const uid = POD.exec(name)?.[1];
    if (uid !== undefined) return uid.replaceAll("_", "-");
  }
  return undefined;
}
