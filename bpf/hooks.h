/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * One body for each event, whatever hook brings it, and the hooks that all backends share. All run
 * under the socket's lock.
 */
#ifndef RINGSIDE_HOOKS_H
#define RINGSIDE_HOOKS_H

#include "seed.h"
#include "snapshot.h"

char LICENSE[] SEC("license") = "GPL";

/* The agent's generator finds the ABI by these. */
const struct record *unused_record __attribute__((unused));
const struct cgroup_path *unused_cgroup_path __attribute__((unused));
const enum role *unused_role __attribute__((unused));
const enum kind *unused_kind __attribute__((unused));
const enum reason *unused_reason __attribute__((unused));
const enum record_flag *unused_record_flag __attribute__((unused));

static __always_inline void seed_forget(struct tcp_sock *tp)
{
	u64 key = (u64)tp;

	bpf_map_delete_elem(&seeds, &key);
}

/* State for a connection that is older than its hooks. By the seed its totals start when the agent
 * did; without one they start here, and what this very hook has just read is not counted. Not
 * inline: it is rare, and the hooks are the smaller for it. */
static __noinline struct state *adopt(struct tcp_sock *tp, u32 program)
{
	u64 key = (u64)tp, now = bpf_ktime_get_boot_ns();
	struct seed *seed, found;
	struct state *state;

	if (!carries_data(READ(SOCK_COMMON(tp)->skc_state)) ||
	    READ(SOCK(tp)->sk_protocol) != IPPROTO_TCP)
		return NULL;
	state = state_begin(tp, role_of(tp), now, program);
	if (!state)
		return NULL;
	write_begin(state);
	seed = bpf_map_lookup_elem(&seeds, &key);
	if (seed) {
		found = *seed;
		state->born_at = found.at;
		seed_forget(tp);
		COUNT(seeded);
	} else {
		totals_raw(tp, READ(tp->write_seq), &found.raw);
		COUNT(late);
	}
	totals_anchor(state, &found.raw, found.raw.sent, found.raw.received);
	state->flags = STATE_ESTABLISHED | STATE_SEEDED;
	write_end(state);
	return state;
}

static __always_inline struct state *state_for(struct tcp_sock *tp, u32 program)
{
	struct state *state = state_of(tp);

	return state && state->id ? state : adopt(tp, program);
}

/* A send or a receive, by its body in exchange.h. These are many: a program knows by a word of its
 * CPU that one before it has done the work, and the last one forgets the word. Where another task
 * came between them the body finds nothing to do. */
static __always_inline void on_move(struct sock *sk, u32 program,
				    void (*body)(struct tcp_sock *, struct state *, u32))
{
	u32 hook = program / COPIES, copy = program % COPIES;
	struct tcp_sock *tp;
	struct state *state;
	u64 *done = NULL;

	if (config.move_copies > 1) {
		done = bpf_map_lookup_elem(&moved, &hook);
		if (!done)
			return;
		if (copy && *done == (u64)sk) {
			if (copy == config.move_copies - 1)
				*done = 0;
			return;
		}
	}
	tp = maybe_tcp_sock(sk);
	state = tp ? state_for(tp, program) : NULL;
	if (state)
		body(tp, state, program);
	if (done && copy < config.move_copies - 1)
		*done = (u64)sk;
}

static __always_inline void end(struct state *state)
{
	state->id = 0;
	COUNT(connections_ended);
}

/* A socket begins to connect, or a listener's child is made. A socket that connects again is a new
 * connection: the old one gets its last word here. */
static __always_inline void on_birth(struct tcp_sock *tp, u8 role, u32 program)
{
	struct state *state = state_of(tp);

	seed_forget(tp);
	if (state && state->id) {
		if (!(state->flags & (STATE_ESTABLISHED | STATE_CLOSED)))
			return; /* born just now */
		/* If its end was missed, this is another socket at its place: the agent ends it. */
		if (state->flags & STATE_CLOSED)
			post_last(tp, state, KIND_FINAL);
		end(state);
	}
	state_begin(tp, role, bpf_ktime_get_boot_ns(), program);
}

static __always_inline void on_established(struct tcp_sock *tp, u32 program)
{
	struct state *state = state_of(tp);
	struct totals raw;
	u64 now, mono, syn;

	if (!state || !state->id) {
		adopt(tp, program);
		return;
	}
	if (state->flags & STATE_ESTABLISHED)
		return;
	now = bpf_ktime_get_boot_ns();
	totals_raw(tp, READ(tp->write_seq), &raw);
	write_begin(state);
	mono = bpf_ktime_get_ns();
	/* A Fast Open server has answered already, by a packet maybe that was seen by nobody. */
	if (send_pending(state, raw.sent_word))
		send_commit(state, state->sent_at);
	else if (state->role == ROLE_SERVER && state->turn_at && raw.sent)
		send_commit(state, mono);
	syn = state->role == ROLE_CLIENT;
	totals_anchor(state, &raw, syn, 0);
	state->connect_us = (now - state->born_at) / 1000;
	/* A Fast Open client has asked with its SYN; without a cookie the same call goes on to
	 * send. */
	if (syn && raw.sent > syn)
		state->turn_at = mono - (now - state->born_at);
	else if (syn && !state->sent_at && READ(tp->fastopen_req))
		state->sent_at = mono - (now - state->born_at);
	state->flags |= STATE_ESTABLISHED;
	write_end(state);
}

static __always_inline void on_fin(struct tcp_sock *tp, u32 program)
{
	struct state *state = state_for(tp, program);

	if (!state || state->flags & STATE_FIN)
		return;
	write_begin(state);
	send_settle(state, sent_word(tp, state), bpf_ktime_get_ns());
	state->flags |= STATE_FIN;
	write_end(state);
}

static __always_inline u8 reason_of(struct tcp_sock *tp)
{
	switch (READ(SOCK(tp)->sk_err)) {
	case 0:
		return REASON_NONE;
	case ECONNREFUSED:
		return REASON_REFUSED;
	case ETIMEDOUT:
		return REASON_TIMED_OUT;
	case ECONNRESET:
	case EPIPE: /* the peer's RST came after its FIN */
		return REASON_RESET;
	case EHOSTUNREACH:
	case ENETUNREACH:
		return REASON_UNREACHABLE;
	default:
		return REASON_OTHER;
	}
}

static __always_inline void on_close(struct tcp_sock *tp)
{
	struct state *state = state_of(tp);

	if (!state || !state->id || state->flags & STATE_CLOSED)
		return;
	state->reason = reason_of(tp);
	if (!(state->flags & STATE_ESTABLISHED)) {
		state->flags |= STATE_CLOSED; /* its totals are 0 */
		if (state->role == ROLE_CLIENT)
			post_last(tp, state, KIND_FAILED);
		end(state);
		return;
	}
	write_begin(state);
	send_settle(state, sent_word(tp, state), bpf_ktime_get_ns());
	totals_freeze(tp, state);
	write_end(state);
	/* Nobody reads a dead socket: its destruction follows at once, and says all. */
	if (!(READ(SOCK_COMMON(tp)->skc_flags) & SOCK_DEAD))
		post_last(tp, state, KIND_CLOSED);
}

static __always_inline void on_state(struct sock *sk, int from, int to, u32 program)
{
	struct tcp_sock *tp = tcp_sock_of(sk);

	if (!tp)
		return;
	switch (to) {
	case TCP_SYN_SENT:
		on_birth(tp, ROLE_CLIENT, program);
		break;
	case TCP_SYN_RECV:
		if (from == TCP_LISTEN) /* else two clients connect to each other */
			on_birth(tp, ROLE_SERVER, program);
		break;
	case TCP_ESTABLISHED:
		on_established(tp, program);
		break;
	case TCP_FIN_WAIT1: /* before TCP_CLOSING, too */
	case TCP_LAST_ACK:
		on_fin(tp, program);
		break;
	case TCP_CLOSE:
		on_close(tp);
		break;
	}
}

#define STATE_PROGRAM(name, copy)                                                                  \
	SEC("tp_btf/inet_sock_set_state")                                                          \
	int BPF_PROG(name, struct sock *sk, int from, int to)                                      \
	{                                                                                          \
		on_state(sk, from, to, PROGRAM(HOOK_STATE, copy));                                 \
		return 0;                                                                          \
	}
EVERY_COPY(STATE_PROGRAM, ringside_state)

/* The kernel resets what is no socket of ours, too: none at all, a request, a time-wait. */
static __always_inline void on_reset(struct sock *sk, u8 flag)
{
	struct tcp_sock *tp;
	struct state *state;
	u8 tcp_state;

	if (!sk)
		return;
	tcp_state = READ(sk->__sk_common.skc_state);
	if (tcp_state == TCP_NEW_SYN_RECV || tcp_state == TCP_TIME_WAIT)
		return;
	tp = tcp_sock_of(sk);
	state = tp ? state_of(tp) : NULL;
	if (!state || !state->id)
		return;
	write_begin(state);
	state->flags |= flag;
	write_end(state);
}

#define SEND_RESET_PROGRAM(name, copy)                                                             \
	SEC("tp_btf/tcp_send_reset")                                                               \
	int BPF_PROG(name, struct sock *sk)                                                        \
	{                                                                                          \
		on_reset(sk, STATE_RESET_SENT);                                                    \
		return 0;                                                                          \
	}
EVERY_COPY(SEND_RESET_PROGRAM, ringside_send_reset)

#define RECEIVE_RESET_PROGRAM(name, copy)                                                          \
	SEC("tp_btf/tcp_receive_reset")                                                            \
	int BPF_PROG(name, struct sock *sk)                                                        \
	{                                                                                          \
		on_reset(sk, STATE_RESET_RECEIVED);                                                \
		return 0;                                                                          \
	}
EVERY_COPY(RECEIVE_RESET_PROGRAM, ringside_receive_reset)

static __always_inline void on_destroy(struct sock *sk)
{
	struct tcp_sock *tp = tcp_sock_of(sk);
	struct state *state;

	if (!tp)
		return;
	seed_forget(tp);
	state = state_of(tp);
	if (!state)
		return;
	if (state->id) {
		post_last(tp, state, KIND_FINAL);
		end(state);
	}
	state_delete(tp);
}

#define DESTROY_PROGRAM(name, copy)                                                                \
	SEC("tp_btf/tcp_destroy_sock")                                                             \
	int BPF_PROG(name, struct sock *sk)                                                        \
	{                                                                                          \
		on_destroy(sk);                                                                    \
		return 0;                                                                          \
	}
EVERY_COPY(DESTROY_PROGRAM, ringside_destroy)

/* Has it changed since the last sweep, or is it its turn to be written all the same, so that the
 * agent knows it to be alive? Looks at nothing but the state: most sockets are idle. */
static __always_inline bool due(const struct state *state, u64 id)
{
	return id && state->flags & STATE_ESTABLISHED &&
	       (state->events != state->swept ||
		!(((id >> ID_SHIFT) ^ control.sweep) & (config.refresh - 1)));
}

/*
 * One step of the sweep: writes a snapshot of what is due. `id` was read before anything else of
 * the state, and is compared at the end: a socket may connect again meanwhile. Returns 1 when the
 * ring is three quarters full (the rest is for last words): the reader gets EAGAIN, drains, and
 * goes on here.
 */
static __always_inline int sweep(struct tcp_sock *tp, struct state *state, u64 id)
{
	u32 events = state->events;
	struct record *record;
	u64 nothing = 0;

	if (bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > config.ring_size / 4 * 3)
		goto full;
	record = record_reserve();
	if (!record)
		goto full;
	if (state->flags & STATE_CLOSED)
		fill_alive(record, id);
	else
		fill(record, tp, state, KIND_SNAPSHOT);
	barrier();
	/* Closed or gone meanwhile? Then its owner's word is the last, and this might come after
	 * it. */
	if (((volatile struct state *)state)->id != id ||
	    (record->kind == KIND_SNAPSHOT &&
	     ((volatile struct state *)state)->flags & STATE_CLOSED)) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return 0;
	}
	if (record->kind == KIND_SNAPSHOT) {
		/* The FIN's flag is set a moment before write_seq counts it. */
		if (record->sent < state->posted_sent)
			record->sent = state->posted_sent;
		/* One long send is one event: while it moves, or waits for room, it stays due. */
		if (record->sent != state->posted_sent || READ(SOCK(tp)->sk_write_pending))
			events--;
		state->posted_sent = record->sent;
		state->posted_received = record->received;
		/* A barrier, of 5.10's words: other CPUs see both before we look again. */
		barrier_var(nothing);
		__sync_fetch_and_add(&state->posted_sent, nothing);
		if (((volatile struct state *)state)->id != id) {
			/* It is another connection's by now, of which nothing was posted. */
			state->posted_sent = 0;
			state->posted_received = 0;
			bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
			return 0;
		}
	}
	state->swept = events;
	record_submit(record);
	return 0;
full:
	COUNT(snapshots_deferred);
	return 1;
}

/*
 * What walks the states. An iterator of the kernel's, where there is no other way: for socket
 * storage, and for a hash before 6.1. From then on a hash is walked by a program that the agent
 * runs, for some kernels have no iterators over maps for anybody.
 */
#ifdef STATE_HASH

static __always_inline int sweep_element(const volatile u64 *key, struct state *state)
{
	u64 id = ((volatile struct state *)state)->id;

	/* The key is read after it: where the element serves another socket by then, the last look
	 * at the id finds another one. */
	return due(state, id) ? sweep((struct tcp_sock *)*key, state, id) : 0;
}

SEC("iter/bpf_map_elem")
int ringside_sweep(struct bpf_iter__bpf_map_elem *ctx)
{
	struct state *state = ctx->value;
	u64 *key = ctx->key;

	return key && state ? sweep_element(key, state) : 0;
}

struct walk {
	u32 skipped;
	u32 passed;
	u32 full;
};

static long walk_state(struct bpf_map *map, u64 *key, struct state *state, struct walk *walk)
{
	if (walk->passed >= walk->skipped && sweep_element(key, state)) {
		walk->full = 1;
		return 1;
	}
	walk->passed++;
	return 0;
}

/*
 * Returns 1 when the ring is three quarters full; run again, it goes on. Each state that was
 * deleted meanwhile may have been one of those that it had passed, and moved the others to the
 * front: some are looked at twice, and none is left out.
 */
SEC("syscall")
int ringside_walk(void *ctx)
{
	u64 deleted = progress.deleted, gone = deleted - progress.deleted_then;
	struct walk walk = {};

	if (progress.sweep == control.sweep && progress.passed > gone)
		walk.skipped = progress.passed - gone;
	bpf_for_each_map_elem(&states, walk_state, &walk, 0);
	progress.sweep = control.sweep;
	progress.passed = walk.full ? walk.passed : 0;
	progress.deleted_then = deleted;
	return walk.full;
}

#else

SEC("iter/bpf_sk_storage_map")
int ringside_sweep(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct state *state = ctx->value;
	struct sock *sk = ctx->sk;
	struct tcp_sock *tp;
	u64 id;

	if (!sk || !state)
		return 0;
	id = ((volatile struct state *)state)->id;
	if (!due(state, id))
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	return tp ? sweep(tp, state, id) : 0;
}

#endif
#endif
