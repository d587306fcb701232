// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * The seed: finds the connections that are older than the agent, in all network namespaces, by
 * walking the kernel's hash of established sockets. Runs once, after the hooks are attached; an
 * array map is only there to be iterated, for that is what 5.10 can do in a loop of this length.
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

SEC("iter/bpf_map_elem")
int ringside_seed(struct bpf_iter__bpf_map_elem *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct inet_hashinfo *hash;
	struct inet_ehash_bucket *buckets;
	struct hlist_nulls_node *node;
	u32 *index = ctx->key;

	if (!index)
		return 0;
	hash = BPF_CORE_READ(task, nsproxy, net_ns, ipv4.tcp_death_row.hashinfo);
	if (*index > BPF_CORE_READ(hash, ehash_mask))
		return 0;
	buckets = BPF_CORE_READ(hash, ehash);
	node = BPF_CORE_READ(&buckets[*index], chain.first);
	for (int i = 0; i < CHAIN && !((u64)node & 1); i++) {
		struct sock *sk =
			(void *)node - bpf_core_field_offset(struct sock_common, skc_nulls_node);

		if (carries_data(READ(sk->__sk_common.skc_state)))
			seed((struct tcp_sock *)sk);
		node = BPF_CORE_READ(node, next);
	}
	return 0;
}
