// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * The seed: finds the connections that are older than the agent, in all network namespaces, by
 * walking the kernel's hash of established sockets, and the listeners that they cannot be told by.
 * Runs once, after the hooks are attached; an array map is only there to be iterated, for that is
 * what 5.10 can do in a loop of this length.
 */
#define PROBE_READS
#include "seed.h"

char LICENSE[] SEC("license") = "GPL";

/* As many as the kernel makes at most by itself (net/ipv4/tcp.c, tcp_init: 512 K). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << 19);
	__type(key, u32);
	__type(value, u64);
} hash_buckets SEC(".maps");

#define CHAIN 64 /* sockets looked at in one hash bucket */

static __always_inline void seed(struct tcp_sock *tp)
{
	struct seed seed = {.at = bpf_ktime_get_boot_ns()};
	u64 key = (u64)tp;

	totals_raw(tp, 0, &seed.raw);
	if (bpf_map_update_elem(&seeds, &key, &seed, BPF_ANY))
		COUNT(seeds_lost);
}

static __always_inline void seed_listener(struct sock *sk)
{
	struct net *net = READ(sk->__sk_common.skc_net.net);
	u64 key = listener_key(READ(net->ns.inum), READ(sk->__sk_common.skc_num));
	u8 there = 1;

	if (READ(sk->sk_protocol) == IPPROTO_TCP && !READ(sk->sk_max_ack_backlog))
		bpf_map_update_elem(&listeners, &key, &there, BPF_ANY);
}

/* Looks at the sockets of one chain, of either hash. */
static __always_inline void walk(struct hlist_nulls_node *node)
{
	for (int i = 0; i < CHAIN && !((u64)node & 1); i++) {
		struct sock *sk =
			(void *)node - bpf_core_field_offset(struct sock_common, skc_nulls_node);
		u8 tcp_state = READ(sk->__sk_common.skc_state);

		if (carries_data(tcp_state))
			seed((struct tcp_sock *)sk);
		else if (tcp_state == TCP_LISTEN)
			seed_listener(sk);
		node = BPF_CORE_READ(node, next);
	}
}

static __always_inline void walk_listeners(struct inet_hashinfo *hash, u32 index)
{
	struct inet_hashinfo___before *before = (void *)hash;
	struct inet_listen_hashbucket *bucket;

	if (bpf_core_field_exists(before->listening_hash)) {
		if (index >= 32)
			return;
		bucket = (void *)before->listening_hash;
		bucket = (void *)bucket + index * bpf_core_type_size(struct inet_listen_hashbucket);
	} else {
		if (index > BPF_CORE_READ(hash, lhash2_mask))
			return;
		bucket = (void *)BPF_CORE_READ(hash, lhash2) +
			 index * bpf_core_type_size(struct inet_listen_hashbucket);
	}
	walk(BPF_CORE_READ(bucket, nulls_head.first));
}

SEC("iter/bpf_map_elem")
int ringside_seed(struct bpf_iter__bpf_map_elem *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct inet_ehash_bucket *bucket;
	struct inet_hashinfo *hash;
	u32 *index = ctx->key;

	if (!index)
		return 0;
	hash = BPF_CORE_READ(task, nsproxy, net_ns, ipv4.tcp_death_row.hashinfo);
	walk_listeners(hash, *index);
	if (*index > BPF_CORE_READ(hash, ehash_mask))
		return 0;
	bucket = (void *)BPF_CORE_READ(hash, ehash) +
		 *index * bpf_core_type_size(struct inet_ehash_bucket);
	walk(BPF_CORE_READ(bucket, chain.first));
	return 0;
}
