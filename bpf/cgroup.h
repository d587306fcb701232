/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Which cgroup a socket is of, and the names by which user space knows whose that is: sent up once,
 * for an agent in a container has a view of its own subtree only.
 */
#ifndef RINGSIDE_CGROUP_H
#define RINGSIDE_CGROUP_H

#include "kernel.h"
#include "ringside.h"

/* Apart from the records: it is read by another. One that finds no room comes with its next socket.
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} cgroups SEC(".maps");

/* What was sent up. One that is forgotten is sent again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, u8);
} cgroups_told SEC(".maps");

static __always_inline struct kernfs_node *cgroup_node(struct tcp_sock *tp)
{
	struct sock *sk = SOCK(tp);
	struct cgroup *cgroup;

	if (!bpf_core_field_exists(sk->sk_cgrp_data.cgroup))
		return NULL;
	cgroup = READ(sk->sk_cgrp_data.cgroup);
	return cgroup ? READ(cgroup->kn) : NULL;
}

static __always_inline u64 cgroup_of(struct tcp_sock *tp)
{
	struct kernfs_node *node = cgroup_node(tp);

	return node ? READ(node->id) : 0;
}

static __always_inline struct kernfs_node *cgroup_parent(struct kernfs_node *node)
{
	struct kernfs_node___before *before = (void *)node;

	if (bpf_core_field_exists(before->parent))
		return READ(before->parent);
	return READ(node->__parent);
}

/* Sends a cgroup's names up, if that was not done yet; 0 where there was no room. bpf_snprintf
 * reads a name where probe reads are refused, too. */
static __noinline bool cgroup_tell(struct tcp_sock *tp)
{
	struct kernfs_node *node = cgroup_node(tp);
	struct cgroup_path *path;
	u64 id, name;
	u8 told = 1;

	if (!node || !bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_snprintf))
		return 1;
	id = READ(node->id);
	if (bpf_map_lookup_elem(&cgroups_told, &id))
		return 1;
	path = bpf_ringbuf_reserve(&cgroups, sizeof(*path), 0);
	if (!path)
		return 0;
	path->id = id;
	bpf_map_update_elem(&cgroups_told, &id, &told, BPF_ANY);
#pragma unroll
	for (int i = 0; i < CGROUP_LEVELS; i++) {
		path->names[i][0] = 0;
		if (!node)
			continue;
		name = (u64)READ(node->name);
		bpf_snprintf(path->names[i], CGROUP_NAME, "%s", &name, sizeof(name));
		node = cgroup_parent(node);
	}
	bpf_ringbuf_submit(path, BPF_RB_NO_WAKEUP);
	return 1;
}

#endif
