// SPDX-License-Identifier: Apache-2.0
/* The ways to end: a FIN takes a sequence number, and is no byte; a reset takes what was queued. */
#include "traffic.h"

static void ask_half_closed(struct end *end, const struct scenario *s)
{
	put(end, s->request);
	close_write(end);
	get(end, s->answer);
	get_end(end, 0);
}

static void answer_half_closed(struct end *end, const struct scenario *s)
{
	get(end, s->request);
	get_end(end, 0);
	put(end, s->answer);
}

/* What the server has not read when it closes makes its kernel send a reset. */
static void ask_in_vain(struct end *end, const struct scenario *s)
{
	put(end, s->request);
	get_end(end, ECONNRESET);
}

static void leave_unread(struct end *end, const struct scenario *s)
{
	get(end, s->request / 2);
}

/* Neither end reads what the other has sent: all of it is sent, and nothing received. */
static void ask_and_leave(struct end *end, const struct scenario *s)
{
	put(end, s->request);
	wait_for(end->fd, POLLIN);
}

static void answer_unasked(struct end *end, const struct scenario *s)
{
	wait_for(end->fd, POLLIN);
	put(end, s->answer);
	wait_for(end->fd, 0);
}

static void ask_then_reset(struct end *end, const struct scenario *s)
{
	ask(end, s);
	reset_at_close(end);
}

static void answer_until_reset(struct end *end, const struct scenario *s)
{
	answer(end, s);
	get_end(end, ECONNRESET);
}

static void send_then_reset(struct end *end, const struct scenario *s)
{
	put(end, s->request);
	reset_at_close(end);
}

/* The reset is there before the data is read, and the socket closed already. */
static void read_after_reset(struct end *end, const struct scenario *s)
{
	wait_for(end->fd, 0);
	get(end, s->request);
}

/* Writes until the peer resets, in the middle of a call that blocks. */
static void send_until_reset(struct end *end, const struct scenario *s)
{
	for (;;) {
		uint64_t began = now();
		ssize_t n = write(end->fd, payload, s->request);

		if (n < 0 && errno != ECONNRESET)
			die("write");
		if (n < 0)
			break;
		note_sent(end, began, n);
	}
}

static void take_some_then_reset(struct end *end, const struct scenario *s)
{
	get(end, s->request / 8);
	pause_ms(50);
	reset_at_close(end);
}

static void ask_then_take_some(struct end *end, const struct scenario *s)
{
	put(end, 100);
	take_some_then_reset(end, s);
}

static void answer_until_reset_midway(struct end *end, const struct scenario *s)
{
	get(end, 100);
	send_until_reset(end, s);
}

static void fill(struct end *end)
{
	for (;;) {
		uint64_t began = now();
		ssize_t n = send(end->fd, payload, PIECE, MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN)
			die("fill");
		if (n < 0)
			return;
		note_sent(end, began, n);
	}
}

static void drain(struct end *end)
{
	char buffer[PIECE];

	for (;;) {
		ssize_t n = read(end->fd, buffer, sizeof(buffer));

		if (n < 0)
			die("drain");
		if (n == 0)
			return;
		note_received(end, n);
	}
}

/* Both fill the other's window and send their FIN behind it. So the client has the server's FIN
 * while its own still waits: it goes through CLOSING. */
static void close_at_once(struct end *end, const struct scenario *s)
{
	(void)s;
	fill(end);
	close_write(end);
	pause_ms(100);
	drain(end);
}

static void close_at_once_and_read_later(struct end *end, const struct scenario *s)
{
	(void)s;
	fill(end);
	close_write(end);
	pause_ms(400);
	drain(end);
}

/* Neither says anything. */
static void leave(struct end *end, const struct scenario *s)
{
	(void)s;
	close_write(end);
	get_end(end, 0);
}

const struct scenario endings[] = {
	{.name = "half-close",
	 .request = 1000,
	 .answer = 5000,
	 .client = ask_half_closed,
	 .server = answer_half_closed},
	{.name = "silent", .connections = 5, .client = leave, .server = leave},
	{.name = "unread", .request = 1000, .client = ask_in_vain, .server = leave_unread},
	{.name = "never-read",
	 .request = 700,
	 .answer = 7000,
	 .client = ask_and_leave,
	 .server = answer_unasked},
	{.name = "reset",
	 .rounds = 3,
	 .request = 40,
	 .answer = 4000,
	 .client = ask_then_reset,
	 .server = answer_until_reset},
	{.name = "late-read",
	 .request = 1000,
	 .client = send_then_reset,
	 .server = read_after_reset},
	{.name = "server-resets-upload",
	 .request = 8 * MIB,
	 .client = send_until_reset,
	 .server = take_some_then_reset},
	{.name = "client-resets-download",
	 .request = 8 * MIB,
	 .client = ask_then_take_some,
	 .server = answer_until_reset_midway},
	{.name = "close-at-once", .client = close_at_once, .server = close_at_once_and_read_later},
	{0},
};
