/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Exchanges, timed: at a client from the last send to the first receive after it, at a server from
 * the last receive to the first send after it. What a side says before it was asked is none.
 *
 * A send is seen at its entry, where nothing has moved yet: it is a candidate, which the next hook
 * commits if write_seq has moved by then. So a send that fails, or sends nothing, counts nowhere.
 *
 * Their times are monotonic, not boot time: that costs a cache line more, and a hook takes few.
 */
#ifndef RINGSIDE_EXCHANGE_H
#define RINGSIDE_EXCHANGE_H

#include "totals.h"

/* Index of the first upper bound 2^(i + BUCKET_FIRST) s that `ns` does not exceed; the last one has
 * no bound. 2^-14 s are 1953125 / 32 ns; a division here would cost a tenth of the hook. */
static __always_inline u32 bucket_of(u64 ns)
{
	const u64 unit = 1953125; /* of 21 bits */
	u64 scaled = ns * 32, rest;
	u32 i = 0;

	if (scaled > unit << (BUCKETS - 2))
		return BUCKETS - 1;
	/* The highest bit says which bound it is, or the one before. */
	rest = scaled >> 21;
	if (rest >> 8)
		rest >>= 8, i += 8;
	if (rest >> 4)
		rest >>= 4, i += 4;
	if (rest >> 2)
		rest >>= 2, i += 2;
	if (rest >> 1)
		rest >>= 1, i += 1;
	i += rest;
	return i + (scaled > unit << i);
}

/* Is there a send that has moved write_seq and is not yet accounted for? The comparison is signed:
 * the FIN's flag is set a moment before write_seq counts it. */
static __always_inline bool send_pending(const struct state *state, u32 word)
{
	return state->sent_at && (s32)(word - state->last_write) > 0;
}

/* Duration of the exchange that a send of that time completes at a server, or -1. Another thread's
 * receive may have come between a blocked send's entry and its first byte. */
static __always_inline s64 answered_by(const struct state *state, u64 sent_at)
{
	if (state->role != ROLE_SERVER || !state->turn_at)
		return -1;
	return sent_at > state->turn_at ? sent_at - state->turn_at : 0;
}

static __always_inline void exchange_add(struct state *state, u64 ns)
{
	u32 i = bucket_of(ns);

	state->exchanges++;
	state->duration_ns += ns;
	if (i < BUCKETS)
		state->buckets[i]++;
	state->turn_at = 0;
}

static __always_inline void send_commit(struct state *state, u64 sent_at)
{
	s64 ns = answered_by(state, sent_at);

	if (ns >= 0)
		exchange_add(state, ns);
	else if (state->role == ROLE_CLIENT)
		state->turn_at = sent_at;
	state->sent_at = 0;
}

/* Commits the send that has moved write_seq since the last hook. Where sends are packets, one may
 * have moved it that Nagle's algorithm holds back still: then this is the latest that it can have
 * been. */
static __always_inline void send_settle(struct state *state, u32 word, u64 now)
{
	if (send_pending(state, word)) {
		send_commit(state, state->sent_at);
	} else if (config.packet_sends && (s32)(word - state->last_write) > 0) {
		send_commit(state, now);
		state->last_write = word;
	}
}

/* At the entry of a send. */
static __always_inline void exchange_send(struct tcp_sock *tp, struct state *state, u32 program)
{
	u32 word = sent_word(tp, state);

	if (!IS_FIRST(program) && state->sent_at && word == state->last_write)
		return;
	write_begin(state);
	if (send_pending(state, word))
		send_commit(state, state->sent_at);
	state->sent_at = bpf_ktime_get_ns();
	state->last_write = word;
	write_end(state);
}

/* Where a send's entry cannot be hooked: as a packet leaves that carries new bytes, or an old one,
 * or none. */
static __always_inline void exchange_sent(struct tcp_sock *tp, struct state *state, u32 program)
{
	u32 word = sent_word(tp, state);

	if ((s32)(word - state->last_write) <= 0)
		return;
	write_begin(state);
	send_commit(state, bpf_ktime_get_ns());
	state->last_write = word;
	write_end(state);
}

/* After copied_seq may have moved: a peek moves nothing, and the end of the stream is no byte. */
static __always_inline void exchange_receive(struct tcp_sock *tp, struct state *state, u32 program)
{
	u32 word = READ(tp->copied_seq);
	u64 now;

	if (word == state->last_copied)
		return;
	word = received_word_of(tp, word);
	if (word == state->last_copied)
		return;
	now = bpf_ktime_get_ns();
	write_begin(state);
	send_settle(state, sent_word(tp, state), now);
	state->last_copied = word;
	if (state->role == ROLE_SERVER)
		state->turn_at = now;
	else if (state->turn_at)
		exchange_add(state, now - state->turn_at);
	write_end(state);
}

#endif
