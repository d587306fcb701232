// SPDX-License-Identifier: Apache-2.0
/* Who asks whom, how often and in which order: what an exchange is. */
#include "traffic.h"
#include <netinet/in.h>
#include <netinet/tcp.h>

/* The server's first word is no exchange. */
static void ask_greeted(struct end *end, const struct scenario *s)
{
	get(end, s->answer);
	ask(end, s);
}

static void greet(struct end *end, const struct scenario *s)
{
	put(end, s->answer);
	answer(end, s);
}

static void download(struct end *end, const struct scenario *s)
{
	get(end, s->answer);
	get_end(end, 0);
}

static void give(struct end *end, const struct scenario *s)
{
	put(end, s->answer);
}

/* All requests at once: one exchange to the client, and to the server as many as it reads one by
 * one. */
static void ask_ahead(struct end *end, const struct scenario *s)
{
	for (int i = 0; i < s->rounds; i++)
		put(end, s->request);
	get(end, s->answer * s->rounds);
}

/* All are there before the first is read. */
static void answer_in_order(struct end *end, const struct scenario *s)
{
	pause_ms(100);
	answer(end, s);
}

static void answer_undelayed(struct end *end, const struct scenario *s)
{
	set_option(end->fd, IPPROTO_TCP, TCP_NODELAY, 1, "set TCP_NODELAY");
	answer_in_order(end, s);
}

/* No answer leaves before the next request is read, and the last goes out with the FIN. */
static void answer_corked(struct end *end, const struct scenario *s)
{
	set_option(end->fd, IPPROTO_TCP, TCP_CORK, 1, "set TCP_CORK");
	answer_in_order(end, s);
	close_write(end);
}

/* Requests that are read together are answered together: one exchange at both ends. */
static void answer_together(struct end *end, const struct scenario *s)
{
	get(end, s->request * s->rounds);
	for (int i = 0; i < s->rounds; i++)
		put(end, s->answer);
}

/* One request, an answer in many parts: one exchange, timed to its first part. */
static void ask_for_stream(struct end *end, const struct scenario *s)
{
	put(end, s->request);
	get(end, s->answer * s->rounds);
}

static void stream(struct end *end, const struct scenario *s)
{
	get(end, s->request);
	for (int i = 0; i < s->rounds; i++) {
		put(end, s->answer);
		pause_ms(s->serve_ms);
	}
}

/* The server speaks unasked, before the request and after its answer: one exchange. */
static void ask_among_pushes(struct end *end, const struct scenario *s)
{
	get(end, s->answer * s->rounds);
	put(end, s->request);
	get(end, s->answer * (s->rounds + 1));
}

static void push(struct end *end, const struct scenario *s)
{
	for (int i = 0; i < s->rounds; i++)
		put(end, s->answer);
	get(end, s->request);
	for (int i = 0; i <= s->rounds; i++)
		put(end, s->answer);
}

const struct scenario requests[] = {
	{.name = "keepalive",
	 .rounds = 1000,
	 .request = 100,
	 .answer = 3000,
	 .client = ask,
	 .server = answer},
	{.name = "ping-pong",
	 .rounds = 1000,
	 .request = 1,
	 .answer = 1,
	 .client = ask,
	 .server = answer},
	{.name = "short",
	 .connections = 200,
	 .request = 100,
	 .answer = 1000,
	 .client = ask,
	 .server = answer},
	{.name = "upload", .request = 4 * MIB + 1, .client = upload, .server = take},
	{.name = "download", .answer = 4 * MIB + 1, .client = download, .server = give},
	{.name = "slow",
	 .rounds = 100,
	 .request = 50,
	 .answer = 50,
	 .serve_ms = 20,
	 .client = ask,
	 .server = answer},
	{.name = "thinking",
	 .rounds = 4,
	 .request = 50,
	 .answer = 50,
	 .think_ms = 1000,
	 .client = ask,
	 .server = answer},
	{.name = "greeting",
	 .rounds = 5,
	 .request = 60,
	 .answer = 70,
	 .client = ask_greeted,
	 .server = greet},
	{.name = "pipelined",
	 .rounds = 10,
	 .request = 200,
	 .answer = 300,
	 .client = ask_ahead,
	 .server = answer_undelayed},
	{.name = "pipelined-corked",
	 .rounds = 10,
	 .request = 200,
	 .answer = 30,
	 .client = ask_ahead,
	 .server = answer_corked},
	{.name = "batched",
	 .rounds = 10,
	 .request = 200,
	 .answer = 300,
	 .client = ask_ahead,
	 .server = answer_together},
	{.name = "streaming",
	 .rounds = 20,
	 .request = 80,
	 .answer = 500,
	 .serve_ms = 5,
	 .client = ask_for_stream,
	 .server = stream},
	{.name = "push",
	 .rounds = 5,
	 .request = 30,
	 .answer = 400,
	 .client = ask_among_pushes,
	 .server = push},
	{0},
};
