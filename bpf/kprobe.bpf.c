// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* The kprobe backend: send and receive by kprobe, state in a hash, every kernel field by a probe
 * read. */
#define PROBE_READS
#define STATE_HASH
#include "hooks.h"

SEC("kprobe/tcp_sendmsg_locked")
int BPF_KPROBE(ringside_send, struct sock *sk)
{
	on_move(sk, PROGRAM(HOOK_SEND, 0), exchange_send);
	return 0;
}

/* Before 6.5 sendfile and splice come this way. (tcp_sendpage_locked may be inlined: it attaches,
 * and never fires.) */
SEC("kprobe/do_tcp_sendpages")
int BPF_KPROBE(ringside_sendpage, struct sock *sk)
{
	on_move(sk, PROGRAM(HOOK_SENDPAGE, 0), exchange_send);
	return 0;
}

SEC("kprobe/tcp_cleanup_rbuf")
int BPF_KPROBE(ringside_receive, struct sock *sk)
{
	on_move(sk, PROGRAM(HOOK_RECEIVE, 0), exchange_receive);
	return 0;
}
