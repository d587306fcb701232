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

/* Has it data to move? (SYN_SENT's words are garbage, minisockets have none.) */
static __always_inline bool carries_data(u8 tcp_state)
{
	const u32 states = 1 << TCP_ESTABLISHED | 1 << TCP_FIN_WAIT1 | 1 << TCP_FIN_WAIT2 |
			   1 << TCP_CLOSE_WAIT | 1 << TCP_CLOSING | 1 << TCP_LAST_ACK;

	return tcp_state < 32 && states >> tcp_state & 1;
}

#endif
