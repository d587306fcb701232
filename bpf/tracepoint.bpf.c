// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* The tracepoint backend: for kernels that allow neither trampolines nor kprobes. */
#include "hooks.h"

/* From 6.16 on: at each chunk of a send, before it is copied. */
SEC("tp_btf/tcp_sendmsg_locked")
int BPF_PROG(ringside_send, const struct sock *sk)
{
	on_move((struct sock *)sk, HOOK_SEND, exchange_send);
	return 0;
}

/* Before: as a packet leaves. From 6.4 on the verifier lets no helper have skb->sk itself, but the
 * same socket by way of its file. */
SEC("tp_btf/net_dev_queue")
int BPF_PROG(ringside_queue, struct sk_buff *skb)
{
	struct sock *sk = skb->sk;
	struct socket *socket;

	/* Minisockets end before sk_socket. */
	if (!sk || !carries_data(sk->__sk_common.skc_state))
		return 0;
	socket = sk->sk_socket;
	if (!socket)
		return 0;
	sk = socket->sk;
	if (sk)
		on_move(sk, HOOK_SEND, exchange_sent);
	return 0;
}

SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(ringside_receive, struct sock *sk)
{
	on_move(sk, HOOK_RECEIVE, exchange_receive);
	return 0;
}
