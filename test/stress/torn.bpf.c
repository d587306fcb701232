// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * The tracepoint backend, and a program that reads the totals of each connection in one network
 * namespace again and again while they move: by the anchor as the product does, and by the kernel's
 * sums alone.
 */
#define STATE_HASH
#include "../../bpf/tracepoint.bpf.c"

extern void *bpf_rdonly_cast(const void *object, u32 type) __ksym;

#define SAMPLES 20000 /* of a connection, at each visit */

const volatile u32 netns SEC(".rodata.torn");

struct formula {
	u64 sent; /* as of the last sample */
	u64 received;
	u64 fell;   /* samples below the one before */
	u64 beyond; /* samples above what the words said later */
};

struct connection {
	u64 id;
	u64 role;
	u64 samples;
	struct formula anchored;
	struct formula naive;
};

struct connection connections[8] SEC(".data.torn");

static __always_inline struct connection *connection_of(u64 id)
{
	for (int i = 0; i < 8; i++) {
		if (!connections[i].id)
			connections[i].id = id;
		if (connections[i].id == id)
			return &connections[i];
	}
	return NULL;
}

static __always_inline void judge(struct formula *formula, const struct totals *now, u32 sent_later,
				  u32 received_later)
{
	formula->fell += now->sent < formula->sent || now->received < formula->received;
	formula->beyond += (s32)(sent_later - (u32)now->sent) < 0 ||
			   (s32)(received_later - (u32)now->received) < 0;
	formula->sent = now->sent;
	formula->received = now->received;
}

struct visit {
	struct tcp_sock *tp;
	struct state *state;
	struct connection *connection;
};

static int sample(u32 i, struct visit *visit)
{
	struct tcp_sock *tp = visit->tp;
	struct state *state = visit->state;
	struct connection *connection = visit->connection;
	struct totals anchored, naive;
	u32 sent, received;

	totals_read(tp, state, &anchored);
	totals_raw(tp, sent_word(tp, state), &naive);
	naive.sent -= state->base_sent;
	naive.received -= state->base_received;
	sent = sent_word(tp, state) - state->sent_anchor;
	received = received_word(tp) - state->received_anchor;
	judge(&connection->anchored, &anchored, sent, received);
	judge(&connection->naive, &naive, sent, received);
	connection->samples++;
	return 0;
}

static long look_at(struct bpf_map *map, u64 *key, struct state *state, void *ctx)
{
	struct visit visit = {.state = state};

	/* From 6.2 on: read by typed loads, as fast as they come. */
	visit.tp = bpf_rdonly_cast((void *)*key, bpf_core_type_id_kernel(struct tcp_sock));
	if (SOCK_COMMON(visit.tp)->skc_net.net->ns.inum != netns ||
	    !(state->flags & STATE_ESTABLISHED))
		return 0;
	visit.connection = connection_of(state->id);
	if (!visit.connection)
		return 0;
	visit.connection->role = state->role;
	bpf_loop(SAMPLES, sample, &visit, 0);
	return 0;
}

SEC("syscall")
int torn(void *ctx)
{
	bpf_for_each_map_elem(&states, look_at, NULL, 0);
	return 0;
}
