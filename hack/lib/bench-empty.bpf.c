// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* The kernel benchmark's baseline: the same hooks with nothing in them, so that what is measured of
 * them is what the measuring costs. */
#include "../../bpf/kernel.h"

char LICENSE[] SEC("license") = "GPL";

SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(empty_tracepoint, struct sock *sk)
{
	return 0;
}

SEC("fentry/tcp_sendmsg_locked")
int BPF_PROG(empty_fentry, struct sock *sk)
{
	return 0;
}

SEC("kprobe/tcp_sendmsg_locked")
int BPF_KPROBE(empty_kprobe, struct sock *sk)
{
	return 0;
}
