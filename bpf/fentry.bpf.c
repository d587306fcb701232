// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* The fentry backend: the send by its function's entry, the receive by its tracepoint. */
#include "hooks.h"

#define SEND_PROGRAM(name, copy)                                                                   \
	SEC("fentry/tcp_sendmsg_locked")                                                           \
	int BPF_PROG(name, struct sock *sk)                                                        \
	{                                                                                          \
		on_move(sk, PROGRAM(HOOK_SEND, copy), exchange_send);                              \
		return 0;                                                                          \
	}
EVERY_COPY(SEND_PROGRAM, ringside_send)

/* Before 6.5 sendfile and splice come this way. (tcp_sendpage_locked may be inlined: it attaches,
 * and never fires.) */
#define SENDPAGE_PROGRAM(name, copy)                                                               \
	SEC("fentry/do_tcp_sendpages")                                                             \
	int BPF_PROG(name, struct sock *sk)                                                        \
	{                                                                                          \
		on_move(sk, PROGRAM(HOOK_SENDPAGE, copy), exchange_send);                          \
		return 0;                                                                          \
	}
EVERY_COPY(SENDPAGE_PROGRAM, ringside_sendpage)

#define RECEIVE_PROGRAM(name, copy)                                                                \
	SEC("tp_btf/tcp_rcv_space_adjust")                                                         \
	int BPF_PROG(name, struct sock *sk)                                                        \
	{                                                                                          \
		on_move(sk, PROGRAM(HOOK_RECEIVE, copy), exchange_receive);                        \
		return 0;                                                                          \
	}
EVERY_COPY(RECEIVE_PROGRAM, ringside_receive)
