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

#define CHAIN		     128	/* sockets looked at in one hash bucket */
#define LISTENING_NULLS_BASE (1U << 29) /* include/net/inet_hashtables.h */

static __always_inline void seed(struct tcp_sock *tp)
{
	struct seed seed = {.at = bpf_ktime_get_boot_ns()};
	u64 key = (u64)tp;

	totals_raw(tp, READ(tp->write_seq), &seed.raw);
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

/* Not static, as the next: the verifier looks at such a function once, not in every turn of a loop.
 */
__noinline int look(u64 address)
{
	struct sock *sk = (void *)address;
	u8 tcp_state = READ(sk->__sk_common.skc_state);

	if (carries_data(tcp_state))
		seed((struct tcp_sock *)sk);
	else if (tcp_state == TCP_LISTEN)
		seed_listener(sk);
	return 0;
}

/* Looks at the sockets of one chain, of either hash. Returns the mark at its end, 0 if it does not
 * come to it. */
__noinline u64 walk_once(u64 chain)
{
	struct hlist_nulls_head *head = (void *)chain;
	struct hlist_nulls_node *node = BPF_CORE_READ(head, first);

	for (int i = 0; i < CHAIN && !((u64)node & 1); i++) {
		look((u64)node - bpf_core_field_offset(struct sock_common, skc_nulls_node));
		node = BPF_CORE_READ(node, next);
	}
	return (u64)node & 1 ? (u64)node : 0;
}

/* Each chain ends in a number of its own: at another, a socket moved under the walk, and it begins
 * again. */
static __always_inline void walk(u64 chain, u64 number)
{
	for (int i = 0; i < 4; i++) {
		if (walk_once(chain) == (number << 1 | 1))
			return;
	}
	COUNT(seeds_lost);
}

static __always_inline void walk_listeners(struct inet_hashinfo *hash, u32 index)
{
	struct inet_hashinfo___before *before = (void *)hash;
	struct inet_listen_hashbucket *bucket;

	if (bpf_core_field_exists(before->listening_hash)) {
		if (index >= 32)
			return;
		bucket = (void *)before->listening_hash;
	} else {
		if (index > BPF_CORE_READ(hash, lhash2_mask))
			return;
		bucket = BPF_CORE_READ(hash, lhash2);
	}
	bucket = (void *)bucket + index * bpf_core_type_size(struct inet_listen_hashbucket);
	walk((u64)&bucket->nulls_head, LISTENING_NULLS_BASE + index);
}

/* Looks at the sockets of one hash bucket, and of one of listeners. */
static __always_inline int seed_bucket(u32 index)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct inet_ehash_bucket *bucket;
	struct inet_hashinfo *hash;

	hash = BPF_CORE_READ(task, nsproxy, net_ns, ipv4.tcp_death_row.hashinfo);
	walk_listeners(hash, index);
	if (index > BPF_CORE_READ(hash, ehash_mask))
		return 0;
	bucket = (void *)BPF_CORE_READ(hash, ehash) +
		 index * bpf_core_type_size(struct inet_ehash_bucket);
	walk((u64)&bucket->chain, index);
	return 0;
}

SEC("iter/bpf_map_elem")
int ringside_seed(struct bpf_iter__bpf_map_elem *ctx)
{
	u32 *index = ctx->key;

	return index ? seed_bucket(*index) : 0;
}

static long walk_bucket(struct bpf_map *map, u32 *index, u64 *value, void *ctx)
{
	return seed_bucket(*index);
}

/* From 6.1 on, as the sweep of a hash: some kernels have no iterators over maps. */
SEC("syscall")
int ringside_walk(void *ctx)
{
	bpf_for_each_map_elem(&hash_buckets, walk_bucket, NULL, 0);
	return 0;
}
