// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * The witness: the usual way to count TCP bytes, beside ours. The return values of tcp_sendmsg and
 * tcp_sendpage, and the `copied` of tcp_cleanup_rbuf, summed by connection. Test-only: a call that
 * blocks is seen when it returns; what is only peeked at is counted as received, and so are the
 * bytes of a read once more that goes on because packets came meanwhile (tcp_recvmsg_locked calls
 * tcp_cleanup_rbuf with the sum so far in its loop).
 */
#define PROBE_READS
#include "../../bpf/kernel.h"
#include "witness.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tuple);
	__type(value, struct bytes);
} connections SEC(".maps");

/* The connection on which a thread sends, between the call and its return. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, struct tuple);
} calls SEC(".maps");

static void address(unsigned char *to, u16 family, __be32 v4, const struct in6_addr *v6)
{
	if (family == AF_INET) {
		to[10] = to[11] = 0xff;
		__builtin_memcpy(to + 12, &v4, 4);
	} else {
		bpf_probe_read_kernel(to, 16, v6);
	}
}

static void identify(struct sock *sk, struct tuple *t)
{
	struct sock_common *common = &sk->__sk_common;
	u16 family = READ(common->skc_family);

	address(t->local, family, READ(common->skc_rcv_saddr), &common->skc_v6_rcv_saddr);
	address(t->remote, family, READ(common->skc_daddr), &common->skc_v6_daddr);
	/* skc_num is 0 once the socket is closed, and data may be read then. */
	t->local_port = READ(((struct inet_sock *)sk)->inet_sport);
	t->remote_port = READ(common->skc_dport);
}

static void count(struct tuple *t, u64 sent, u64 received)
{
	struct bytes none = {}, *sum;

	bpf_map_update_elem(&connections, t, &none, BPF_NOEXIST);
	sum = bpf_map_lookup_elem(&connections, t);
	if (!sum)
		return;
	/* No atomics: each end of the scripted traffic is one thread. */
	sum->sent += sent;
	sum->received += received;
}

static void enter(struct sock *sk)
{
	u64 thread = bpf_get_current_pid_tgid();
	struct tuple t = {};

	identify(sk, &t);
	bpf_map_update_elem(&calls, &thread, &t, BPF_ANY);
}

static void leave(int sent)
{
	u64 thread = bpf_get_current_pid_tgid();
	struct tuple *found = bpf_map_lookup_elem(&calls, &thread), t;

	if (!found)
		return;
	t = *found;
	bpf_map_delete_elem(&calls, &thread);
	if (sent > 0)
		count(&t, sent, 0);
}

SEC("kprobe/tcp_sendmsg")
int BPF_KPROBE(witness_sendmsg, struct sock *sk)
{
	enter(sk);
	return 0;
}

SEC("kretprobe/tcp_sendmsg")
int BPF_KRETPROBE(witness_sendmsg_return, int sent)
{
	leave(sent);
	return 0;
}

/* Gone in 6.5. */
SEC("kprobe/tcp_sendpage")
int BPF_KPROBE(witness_sendpage, struct sock *sk)
{
	enter(sk);
	return 0;
}

SEC("kretprobe/tcp_sendpage")
int BPF_KRETPROBE(witness_sendpage_return, int sent)
{
	leave(sent);
	return 0;
}

SEC("kprobe/tcp_cleanup_rbuf")
int BPF_KPROBE(witness_received, struct sock *sk, int copied)
{
	struct tuple t = {};

	if (copied <= 0)
		return 0;
	identify(sk, &t);
	count(&t, 0, copied);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
