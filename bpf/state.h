/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What we keep for one connection, where it is kept, and how one begins.
 *
 * It has one writer at a time: every hook runs under the socket's lock. The sweep reads without it,
 * so `events` is odd while a hook writes (a seqlock without the wait).
 */
#ifndef RINGSIDE_STATE_H
#define RINGSIDE_STATE_H

#include "cgroup.h"

enum state_flag {
	STATE_ESTABLISHED = 1, /* totals exist */
	STATE_CLOSED = 2,      /* totals are frozen; a final follows */
	STATE_FIN = 4,	       /* write_seq counts our FIN */
	STATE_SEEDED = 8,
	STATE_RESET_SENT = 16,
	STATE_RESET_RECEIVED = 32,
};

/* 184 bytes: with its bookkeeping, socket storage takes 448 B a socket; at 192 it would be 704. The
 * storage begins a cache line 8 bytes before this: what every hook and the sweep of an idle socket
 * touch fills that line, what an exchange adds to is the next. */
struct state {
	u64 id;		/* 0: nobody's */
	u64 turn_at;	/* client: last send; server: last receive; 0 when answered; monotonic */
	u64 sent_at;	/* entry of a send that is not yet known to have moved write_seq; else 0 */
	u32 last_write; /* sequence numbers that the hooks saw last, without FINs */
	u32 last_copied;
	u32 events; /* odd while a hook writes */
	u32 swept;  /* `events` as the sweep saw it last */
	u8 role;
	u8 flags;
	u8 reason; /* of its end, as TCP_CLOSE found it: the application may fetch the error since
		    */
	u8 spare;
	u32 connect_us;
	u64 born_at;
	u64 exchanges;
	u64 duration_ns;
	u32 buckets[BUCKETS];
	u64 base_sent; /* subtracted from the kernel's totals; once closed, the total itself */
	u64 base_received;
	u64 posted_sent; /* what the ring has had: what is lost is total - posted */
	u64 posted_received;
	u32 sent_anchor; /* the sequence number at which the total was 0 */
	u32 received_anchor;
};
_Static_assert(sizeof(struct state) == 184, "socket storage would take a larger slab");

const volatile struct config config SEC(".rodata.config");
struct control control SEC(".data.control");
struct counters counters SEC(".data.counters");

#define COUNT(field)	   __sync_fetch_and_add(&counters.field, 1)
#define COUNT_BY(field, n) __sync_fetch_and_add(&counters.field, (n))

#ifdef STATE_HASH

/* By socket pointer: kprobe programs have no socket storage. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1); /* the agent sets config.max_connections */
	__type(key, u64);
	__type(value, struct state);
} states SEC(".maps");

static const struct state blank;

/* How far a walk of all states has come that had to pause, and what it goes by. */
struct {
	u32 sweep;	  /* whose walk it is */
	u32 passed;	  /* states that it has looked at */
	u64 deleted;	  /* states, ever */
	u64 deleted_then; /* as the walk, or its last part, began */
} progress SEC(".data.progress");

static __always_inline struct state *state_of(struct tcp_sock *tp)
{
	u64 key = (u64)tp;

	return bpf_map_lookup_elem(&states, &key);
}

static __always_inline struct state *state_create(struct tcp_sock *tp)
{
	u64 key = (u64)tp;

	bpf_map_update_elem(&states, &key, &blank, BPF_ANY);
	return bpf_map_lookup_elem(&states, &key);
}

static __always_inline void state_delete(struct tcp_sock *tp)
{
	u64 key = (u64)tp;

	if (!bpf_map_delete_elem(&states, &key))
		__sync_fetch_and_add(&progress.deleted, 1);
}

#else

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct state);
} states SEC(".maps");

static __always_inline struct state *state_of(struct tcp_sock *tp)
{
	return bpf_sk_storage_get(&states, tp, NULL, 0);
}

static __always_inline struct state *state_create(struct tcp_sock *tp)
{
	return bpf_sk_storage_get(&states, tp, NULL, BPF_SK_STORAGE_GET_F_CREATE);
}

/* The kernel frees it with the socket. */
static __always_inline void state_delete(struct tcp_sock *tp)
{
	(void)tp;
}

#endif

/* A hook's argument as what it may be: the tcp_sock, if it is one, or if it has state. */
static __always_inline struct tcp_sock *maybe_tcp_sock(struct sock *sk)
{
#ifdef PROBE_READS
	return (struct tcp_sock *)sk;
#else
	return bpf_skc_to_tcp_sock(sk);
#endif
}

/* The tcp_sock behind a hook's argument, or NULL for what only looks like one. */
static __always_inline struct tcp_sock *tcp_sock_of(struct sock *sk)
{
	struct tcp_sock *tp = maybe_tcp_sock(sk);

	return tp && READ(SOCK(tp)->sk_protocol) == IPPROTO_TCP ? tp : NULL;
}

/*
 * The kernel skips a program that it comes to again on one CPU while it runs there: from an
 * interrupt, or from another task, where tasks may be preempted in programs. So a hook may have
 * several alike. The first that runs does the work, and the others find by the state that it is
 * done. What may see a connection first is known by its hook and by which of them it is.
 */
enum hook {
	HOOK_STATE,
	HOOK_SEND,
	HOOK_SENDPAGE,
	HOOK_RECEIVE,
	HOOKS,
};

#define COPIES		    4
#define PROGRAM(hook, copy) ((hook)*COPIES + (copy))
#define IS_FIRST(program)   ((program) % COPIES == 0)
#define EVERY_COPY(define, name)                                                                   \
	define(name, 0) define(name##_2, 1) define(name##_3, 2) define(name##_4, 3)

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOOKS *COPIES);
	__type(key, u32);
	__type(value, u64);
} births SEC(".maps");

/* The socket whose send or receive a program of that hook has just done on this CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOOKS);
	__type(key, u32);
	__type(value, u64);
} moved SEC(".maps");

/* An id is how many births this program has seen on this CPU, which program, and which CPU. */
#define ID_SHIFT 24

/* Unique while the agent lives: pointers and cookies outlive connections, 5.10 has no cookies. */
static __always_inline u64 new_id(u32 program)
{
	u64 *born = bpf_map_lookup_elem(&births, &program);

	if (!born)
		return 0;
	*born += 1;
	return *born << ID_SHIFT | program << 16 | (u16)bpf_get_smp_processor_id();
}

/* Starts a connection on a socket, in state that may have served an earlier one. NULL, and
 * counted, when there is no room. */
static __always_inline struct state *state_begin(struct tcp_sock *tp, u8 role, u64 now, u32 program)
{
	struct state *state;

	if ((s64)(counters.connections - counters.connections_ended) >= config.max_connections) {
		if (IS_FIRST(program))
			COUNT(refused_limit);
		return NULL;
	}
	state = state_create(tp);
	if (!state) {
		if (IS_FIRST(program))
			COUNT(refused_memory);
		return NULL;
	}
	__builtin_memset(state, 0, sizeof(*state));
	state->id = new_id(program);
	state->born_at = now;
	state->role = role;
	if (!cgroup_tell(tp))
		COUNT(cgroups_deferred);
	COUNT(connections);
	return state;
}

/* A hook's writes stand between these two; the barriers hold the compiler, the socket lock the
 * rest. */
static __always_inline void write_begin(struct state *state)
{
	state->events++;
	barrier();
}

static __always_inline void write_end(struct state *state)
{
	barrier();
	state->events++;
}

#endif
