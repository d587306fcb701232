/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The few kernel types that we read, with only the fields that we read. The loader finds each
 * field's true place in the running kernel (CO-RE), so order and gaps do not matter here.
 */
#ifndef RINGSIDE_KERNEL_H
#define RINGSIDE_KERNEL_H

#define __VMLINUX_H__ /* bpf_tracing.h: struct pt_regs is the kernel's, below */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;
typedef _Bool bool;

#define AF_INET	    2
#define IPPROTO_TCP 6

/* include/net/tcp_states.h */
enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT,
	TCP_SYN_RECV,
	TCP_FIN_WAIT1,
	TCP_FIN_WAIT2,
	TCP_TIME_WAIT,
	TCP_CLOSE,
	TCP_CLOSE_WAIT,
	TCP_LAST_ACK,
	TCP_LISTEN,
	TCP_CLOSING,
	TCP_NEW_SYN_RECV,
};

/* include/net/sock.h, enum sock_flags */
#define SOCK_DEAD (1 << 0) /* its user has closed it */
#define SOCK_DONE (1 << 1) /* a FIN was received */

/* uapi errno.h */
#define EPIPE	     32
#define ENETUNREACH  101
#define ECONNRESET   104
#define ETIMEDOUT    110
#define ECONNREFUSED 111
#define EHOSTUNREACH 113

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};

struct ns_common {
	unsigned int inum;
};

struct hlist_nulls_node {
	struct hlist_nulls_node *next;
};

struct hlist_nulls_head {
	struct hlist_nulls_node *first;
};

struct inet_ehash_bucket {
	struct hlist_nulls_head chain;
};

struct inet_listen_hashbucket {
	struct hlist_nulls_head nulls_head;
};

struct inet_hashinfo {
	struct inet_ehash_bucket *ehash;
	unsigned int ehash_mask;
	struct inet_listen_hashbucket
		*lhash2; /* from 5.19 on it has all listeners, by nulls_head */
	unsigned int lhash2_mask;
};

/* Before 5.19. */
struct inet_hashinfo___before {
	struct inet_listen_hashbucket listening_hash[32];
};

struct inet_timewait_death_row {
	struct inet_hashinfo *hashinfo;
};

struct netns_ipv4 {
	struct inet_timewait_death_row tcp_death_row;
};

struct net {
	struct ns_common ns;
	struct netns_ipv4 ipv4;
};

struct nsproxy {
	struct net *net_ns;
};

struct task_struct {
	struct nsproxy *nsproxy;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct kernfs_node {
	u64 id;
	const char *name;
	struct kernfs_node *__parent;
};

/* Before 6.15. */
struct kernfs_node___before {
	struct kernfs_node *parent;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct sock_cgroup_data {
	struct cgroup *cgroup; /* from 5.15 on; a tagged value before */
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	u16 skc_num;
	u16 skc_family;
	volatile u8 skc_state;
	int skc_bound_dev_if;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	unsigned long skc_flags;
	struct hlist_nulls_node skc_nulls_node;
};

struct socket;

struct sock {
	struct sock_common __sk_common;
	u16 sk_protocol;
	int sk_err;
	u32 sk_max_ack_backlog;
	int sk_write_pending;
	struct socket *sk_socket;
	struct sock_cgroup_data sk_cgrp_data;
};

struct socket {
	struct sock *sk;
};

struct inet_sock {
	struct sock sk;
	__be16 inet_sport;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
};

struct tcp_fastopen_request;

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	u32 copied_seq;
	u32 write_seq;
	u32 snd_una;
	u32 rcv_nxt;
	u32 srtt_us;
	u32 data_segs_out;
	u32 total_retrans;
	struct tcp_fastopen_request *fastopen_req;
	u64 bytes_received;
	u64 bytes_acked;
};

struct sk_buff {
	struct sock *sk;
};

struct bpf_iter_meta {
	u64 session_id;
};

struct bpf_map;

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
};

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
};

/* A kprobe's arguments, per architecture. */
struct pt_regs {
	unsigned long di;
	unsigned long si;
	unsigned long dx;
	unsigned long ax;
};

struct user_pt_regs {
	u64 regs[31];
};

#pragma clang attribute pop

/*
 * One field, read once. Typed loads, so that nothing of ours is a probe read where the kernel
 * checks types itself (lockdown=confidentiality refuses those); probe reads in a kprobe program and
 * for a pointer that only we vouch for.
 */
#ifdef PROBE_READS
#define READ(field)                                                                                \
	({                                                                                         \
		typeof(field) value_;                                                              \
		bpf_probe_read_kernel((void *)&value_, sizeof(value_), (const void *)&(field));    \
		value_;                                                                            \
	})
#else
#define READ(field) (*(volatile typeof(field) *)&(field))
#endif

#define SOCK(tp)	(&(tp)->inet_conn.icsk_inet.sk)
#define SOCK_COMMON(tp) (&(tp)->inet_conn.icsk_inet.sk.__sk_common)

#endif
