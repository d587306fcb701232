/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Payload bytes, exact, without counting one: the kernel does.
 *
 *   sent     = bytes_acked    + (write_seq - snd_una)   less the SYN and a sent FIN
 *   received = bytes_received - (rcv_nxt - copied_seq)  less a consumed FIN
 *
 * Read without the lock this can be torn, for the kernel moves the 64-bit counter before the 32-bit
 * word (tcp_snd_una_update, tcp_rcv_nxt_update). So one word is the truth, write_seq and
 * copied_seq, counted from an anchor; the sum above only says how often it has wrapped.
 */
#ifndef RINGSIDE_TOTALS_H
#define RINGSIDE_TOTALS_H

#include "state.h"

struct totals {
	u64 sent;
	u64 received;
	u32 sent_word; /* write_seq and copied_seq, without FINs */
	u32 received_word;
};

/* write_seq first: the flag is set before write_seq counts the FIN, so that a reader without the
 * lock may miss a byte for a moment, and never has one too many. */
static __always_inline u32 sent_word(struct tcp_sock *tp, const struct state *state)
{
	u32 word = READ(tp->write_seq);

	barrier();
	return word - !!(((const volatile struct state *)state)->flags & STATE_FIN);
}

/* Of copied_seq, which was read before: once it counts the FIN, SOCK_DONE and the last rcv_nxt are
 * long in place. */
static __always_inline u32 received_word_of(struct tcp_sock *tp, u32 copied)
{
	if (READ(SOCK_COMMON(tp)->skc_flags) & SOCK_DONE)
		copied -= copied == READ(tp->rcv_nxt);
	return copied;
}

static __always_inline u32 received_word(struct tcp_sock *tp)
{
	return received_word_of(tp, READ(tp->copied_seq));
}

/* The kernel's own sums, up to the given write_seq. */
static __always_inline void totals_raw(struct tcp_sock *tp, u32 sent, struct totals *totals)
{
	u32 received = received_word(tp);

	totals->sent = READ(tp->bytes_acked) + (s64)(s32)(sent - READ(tp->snd_una));
	totals->received = READ(tp->bytes_received) - (s64)(s32)(READ(tp->rcv_nxt) - received);
	totals->sent_word = sent;
	totals->received_word = received;
}

/* Makes the connection's totals what the kernel counts beyond `base`, from the given reading. */
static __always_inline void totals_anchor(struct state *state, const struct totals *raw,
					  u64 base_sent, u64 base_received)
{
	state->base_sent = base_sent;
	state->base_received = base_received;
	state->sent_anchor = raw->sent_word - (u32)(raw->sent - base_sent);
	state->received_anchor = raw->received_word - (u32)(raw->received - base_received);
	state->last_write = raw->sent_word;
	state->last_copied = raw->received_word;
}

static __always_inline u64 lap(u64 sum, u32 word)
{
	s64 total = (s64)sum + (s32)(word - (u32)sum);

	if (total < 0) {
		COUNT(clamped);
		return 0;
	}
	return total;
}

/* What the application has sent and read since first sight. */
static __always_inline void totals_read(struct tcp_sock *tp, const struct state *state,
					struct totals *totals)
{
	if (state->flags & STATE_CLOSED) {
		totals->sent = state->base_sent;
		totals->received = state->base_received;
		totals->sent_word = state->last_write;
		totals->received_word = state->last_copied;
		totals->received += totals->received_word - state->received_anchor;
		return;
	}
	totals_raw(tp, sent_word(tp, state), totals);
	totals->sent = lap(totals->sent - state->base_sent, totals->sent_word - state->sent_anchor);
	totals->received = lap(totals->received - state->base_received,
			       totals->received_word - state->received_anchor);
}

/* At TCP_CLOSE nothing more is sent, and tcp_disconnect is about to zero the kernel's counters;
 * what is queued may still be read, less than a lap of it, and the hooks see it. The flag comes
 * first: a sweep that reads what is frozen as what it was before finds it, and takes that back. */
static __always_inline void totals_freeze(struct tcp_sock *tp, struct state *state)
{
	struct totals totals;

	totals_read(tp, state, &totals);
	state->flags |= STATE_CLOSED;
	barrier();
	state->base_sent = totals.sent;
	state->base_received = totals.received;
	state->received_anchor = totals.received_word;
	state->last_copied = totals.received_word;
}

#endif
