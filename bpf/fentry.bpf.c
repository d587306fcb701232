// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* The fentry backend: the send by its function's entry, the receive by its tracepoint. */
#include "hooks.h"

SEC("fentry/tcp_sendmsg_locked")
int BPF_PROG(ringside_send, struct sock *sk)
{
	on_move(sk, HOOK_SEND, exchange_send);
	return 0;
}

/* Before 6.5 sendfile and splice come this way. (tcp_sendpage_locked may be inlined: it attaches,
 * and never fires.) */
SEC("fentry/do_tcp_sendpages")
int BPF_PROG(ringside_sendpage, struct sock *sk)
{
	on_move(sk, HOOK_SENDPAGE, exchange_send);
	return 0;
}

SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(ringside_receive, struct sock *sk)
{
	on_move(sk, HOOK_RECEIVE, exchange_receive);
	return 0;
}
