/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Snapshots: how a connection's state becomes a record in the ring. A record carries cumulative
 * totals, so one that is lost or repeated costs nothing, but for the last: that loss is counted.
 */
#ifndef RINGSIDE_SNAPSHOT_H
#define RINGSIDE_SNAPSHOT_H

#include "exchange.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* the agent sets config.ring_size */
} ring SEC(".maps");

static __always_inline struct record *record_reserve(void)
{
	return bpf_ringbuf_reserve(&ring, sizeof(struct record), 0);
}

/* The agent drains by a timer, so nobody is woken. */
static __always_inline void record_submit(struct record *record)
{
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	COUNT(records);
}

static __always_inline void fill_address(u8 *to, __be32 v4)
{
	u32 *words = (u32 *)to;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = v4;
}

static __always_inline void fill_ends(struct record *record, struct tcp_sock *tp)
{
	struct sock_common *common = SOCK_COMMON(tp);
	struct net *net = READ(common->skc_net.net);

	if (READ(common->skc_family) == AF_INET) {
		fill_address(record->local, READ(common->skc_rcv_saddr));
		fill_address(record->remote, READ(common->skc_daddr));
		record->scope = 0;
	} else {
		u32 *local = (u32 *)record->local, *remote = (u32 *)record->remote;

		for (int i = 0; i < 4; i++) {
			local[i] = READ(common->skc_v6_rcv_saddr.in6_u.u6_addr32[i]);
			remote[i] = READ(common->skc_v6_daddr.in6_u.u6_addr32[i]);
		}
		/* fe80::/10 means something on one interface only */
		record->scope = (remote[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000)
					? READ(common->skc_bound_dev_if)
					: 0;
	}
	/* skc_num is 0 by the time of tcp_destroy_sock */
	record->local_port = bpf_ntohs(READ(tp->inet_conn.icsk_inet.inet_sport));
	record->remote_port = bpf_ntohs(READ(common->skc_dport));
	record->netns = READ(net->ns.inum);
}

static __always_inline void fill_alive(struct record *record, u64 id)
{
	__builtin_memset(record, 0, sizeof(*record));
	record->time = bpf_ktime_get_boot_ns();
	record->id = id;
	record->sweep = control.sweep;
	record->kind = KIND_ALIVE;
}

/* Copies the exchanges, and commits a pending send in the copy, where no hook wrote meanwhile: a
 * send that is counted too early here would be too much, one that is left out comes next time. */
static __always_inline void fill_exchanges(struct record *record, const struct state *state,
					   u32 word)
{
	const volatile struct state *live = state;
	u32 events = live->events;
	u64 sent_at;
	s64 ns = -1;

	barrier();
	record->exchanges = live->exchanges;
	record->duration_ns = live->duration_ns;
	for (int i = 0; i < BUCKETS; i++)
		record->buckets[i] = live->buckets[i];
	if (send_pending(state, word)) {
		sent_at = live->sent_at;
		ns = answered_by(state, sent_at);
	}
	barrier();
	if (ns >= 0 && !(events & 1) && live->events == events) {
		u32 i = bucket_of(ns);

		record->exchanges++;
		record->duration_ns += ns;
		if (i < BUCKETS)
			record->buckets[i]++;
	}
}

static __always_inline void fill(struct record *record, struct tcp_sock *tp,
				 const struct state *state, u8 kind)
{
	struct totals totals;

	totals_read(tp, state, &totals);
	record->time = bpf_ktime_get_boot_ns();
	record->id = state->id;
	record->born_at = state->born_at;
	record->cgroup = cgroup_of(tp);
	record->sent = totals.sent;
	record->received = totals.received;
	fill_exchanges(record, state, totals.sent_word);
	fill_ends(record, tp);
	record->sweep = control.sweep;
	record->connect_us = state->connect_us;
	record->srtt_us = READ(tp->srtt_us) >> 3; /* the kernel keeps eight times the value */
	record->segments = READ(tp->data_segs_out);
	record->retransmitted = READ(tp->total_retrans);
	record->spare = 0;
	record->role = state->role;
	record->kind = kind;
	record->reason = state->reason;
	record->flags = (state->flags & STATE_SEEDED ? RECORD_SEEDED : 0) |
			(state->flags & STATE_RESET_SENT ? RECORD_RESET_SENT : 0) |
			(state->flags & STATE_RESET_RECEIVED ? RECORD_RESET_RECEIVED : 0);
}

/* A last word, from under the socket's lock. The closed one is lost only if the final is too. */
static __noinline void post_last(struct tcp_sock *tp, struct state *state, u8 kind)
{
	struct record *record = record_reserve();

	if (record) {
		fill(record, tp, state, kind);
		state->posted_sent = record->sent;
		state->posted_received = record->received;
		record_submit(record);
	} else if (kind != KIND_CLOSED) {
		struct totals totals;

		totals_read(tp, state, &totals);
		COUNT(finals_lost);
		COUNT_BY(finals_lost_sent, totals.sent - state->posted_sent);
		COUNT_BY(finals_lost_received, totals.received - state->posted_received);
	}
}

#endif
