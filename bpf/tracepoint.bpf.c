// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* The tracepoint backend: for kernels that allow neither trampolines nor kprobes. */
#include "hooks.h"

/* From 6.16 on: at each chunk of a send, before it is copied. */
#define SEND_PROGRAM(name, copy)                                                                   \
	SEC("tp_btf/tcp_sendmsg_locked")                                                           \
	int BPF_PROG(name, struct sock *sk)                                                        \
	{                                                                                          \
		on_move(sk, PROGRAM(HOOK_SEND, copy), exchange_send);                              \
		return 0;                                                                          \
	}
EVERY_COPY(SEND_PROGRAM, ringside_send)

/* From 6.4 on the verifier lets no helper have skb->sk itself, but the same socket by way of its
 * file. */
static __always_inline void on_queue(struct sk_buff *skb, u32 program)
{
	struct sock *sk = skb->sk;
	struct socket *socket;

	/* Minisockets end before sk_socket. */
	if (!sk || !carries_data(sk->__sk_common.skc_state))
		return;
	socket = sk->sk_socket;
	if (!socket)
		return;
	sk = socket->sk;
	if (sk)
		on_move(sk, program, exchange_sent);
}

/* Before: as a packet leaves. */
#define QUEUE_PROGRAM(name, copy)                                                                  \
	SEC("tp_btf/net_dev_queue")                                                                \
	int BPF_PROG(name, struct sk_buff *skb)                                                    \
	{                                                                                          \
		on_queue(skb, PROGRAM(HOOK_SEND, copy));                                           \
		return 0;                                                                          \
	}
EVERY_COPY(QUEUE_PROGRAM, ringside_queue)

#define RECEIVE_PROGRAM(name, copy)                                                                \
	SEC("tp_btf/tcp_rcv_space_adjust")                                                         \
	int BPF_PROG(name, struct sock *sk)                                                        \
	{                                                                                          \
		on_move(sk, PROGRAM(HOOK_RECEIVE, copy), exchange_receive);                        \
		return 0;                                                                          \
	}
EVERY_COPY(RECEIVE_PROGRAM, ringside_receive)
