/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What the seed found: connections older than the agent, by socket pointer, until a hook sees them
 * move. A pointer outlives no connection here: birth and destruction both forget it.
 */
#ifndef RINGSIDE_SEED_H
#define RINGSIDE_SEED_H

#include "totals.h"

struct seed {
	u64 at;
	struct totals raw;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1); /* the agent sets config.max_connections */
	__type(key, u64);
	__type(value, struct seed);
} seeds SEC(".maps");

/* Ports with a listener whose backlog is 0: what it accepts has none to be known for a server by.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, u8);
} listeners SEC(".maps");

static __always_inline u64 listener_key(u32 netns, u16 port)
{
	return (u64)netns << 16 | port;
}

/* Which side of a connection it is whose birth nobody saw. An accepted socket has the backlog of
 * its listener. */
static __always_inline u8 role_of(struct tcp_sock *tp)
{
	struct net *net = READ(SOCK_COMMON(tp)->skc_net.net);
	u64 key = listener_key(READ(net->ns.inum), READ(SOCK_COMMON(tp)->skc_num));

	if (READ(SOCK(tp)->sk_max_ack_backlog) || bpf_map_lookup_elem(&listeners, &key))
		return ROLE_SERVER;
	return ROLE_CLIENT;
}

/* Has it data to move? (SYN_SENT's words are garbage, minisockets have none.) */
static __always_inline bool carries_data(u8 tcp_state)
{
	const u32 states = 1 << TCP_ESTABLISHED | 1 << TCP_FIN_WAIT1 | 1 << TCP_FIN_WAIT2 |
			   1 << TCP_CLOSE_WAIT | 1 << TCP_CLOSING | 1 << TCP_LAST_ACK;

	return tcp_state < 32 && states >> tcp_state & 1;
}

#endif
