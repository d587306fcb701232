// SPDX-License-Identifier: Apache-2.0
/* The ways to give bytes to a socket, and those that give none. */
#include "traffic.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

static void ask_in_parts(struct end *end, const struct scenario *s)
{
	for (size_t left = s->request; left > 0;) {
		uint64_t began = now();
		ssize_t n = send(end->fd, payload, left, MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN)
			die("send");
		note_sent(end, began, n);
		if (n > 0)
			left -= n;
		else
			wait_for(end->fd, POLLOUT);
	}
	get(end, s->answer);
}

/* The client sleeps before it reads, so that the server's one large call blocks: its response time
 * is its first byte's. */
static void ask_and_sleep(struct end *end, const struct scenario *s)
{
	put(end, s->request);
	pause_ms(1000);
	get(end, s->answer);
}

static void ask_by_writev(struct end *end, const struct scenario *s)
{
	struct iovec parts[] = {
		{payload, 1}, {payload, 0}, {payload, 99}, {payload, s->request - 100}};

	for (int i = 0; i < s->rounds; i++) {
		uint64_t began = now();
		ssize_t n = writev(end->fd, parts, 4);

		if (n != (ssize_t)s->request)
			die("writev");
		note_sent(end, began, n);
		get(end, s->answer);
	}
}

/* Three messages a call, the second of them empty. */
static void ask_by_sendmmsg(struct end *end, const struct scenario *s)
{
	struct iovec parts[] = {{payload, s->request / 2}, {payload, 0}, {payload, s->request / 2}};
	struct mmsghdr messages[3] = {0};

	for (int i = 0; i < 3; i++)
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	for (int i = 0; i < s->rounds; i++) {
		uint64_t began = now();

		if (sendmmsg(end->fd, messages, 3, 0) != 3)
			die("sendmmsg");
		note_sent(end, began, s->request);
		get(end, s->answer);
	}
}

static int file_of(size_t size)
{
	int file = memfd_create("request", MFD_CLOEXEC);

	if (file < 0 || ftruncate(file, size) != 0)
		die("make a file");
	return file;
}

static void ask_by_sendfile(struct end *end, const struct scenario *s)
{
	int file = file_of(s->request);

	for (size_t left = s->request; left > 0;) {
		uint64_t began = now();
		ssize_t n = sendfile(end->fd, file, NULL, left);

		if (n <= 0)
			die("sendfile");
		note_sent(end, began, n);
		left -= n;
	}
	close(file);
	get(end, s->answer);
}

static void ask_by_splice(struct end *end, const struct scenario *s)
{
	int file = file_of(s->request), pipes[2];

	if (pipe2(pipes, O_CLOEXEC) != 0)
		die("make a pipe");
	for (size_t left = s->request; left > 0;) {
		ssize_t filled = splice(file, NULL, pipes[1], NULL, left, 0);

		if (filled <= 0)
			die("splice from the file");
		left -= filled;
		while (filled > 0) {
			uint64_t began = now();
			ssize_t n = splice(pipes[0], NULL, end->fd, NULL, filled, 0);

			if (n <= 0)
				die("splice to the socket");
			note_sent(end, began, n);
			filled -= n;
		}
	}
	close(pipes[0]);
	close(pipes[1]);
	close(file);
	get(end, s->answer);
}

static void ask_by_zerocopy(struct end *end, const struct scenario *s)
{
	set_option(end->fd, SOL_SOCKET, SO_ZEROCOPY, 1, "set SO_ZEROCOPY");
	for (size_t left = s->request; left > 0;) {
		uint64_t began = now();
		ssize_t n = send(end->fd, payload, left < PIECE ? left : PIECE, MSG_ZEROCOPY);

		if (n <= 0)
			die("send zero-copy");
		note_sent(end, began, n);
		left -= n;
	}
	get(end, s->answer);
}

/* Ten small writes, which leave when the cork is drawn. */
static void put_corked(struct end *end, size_t bytes)
{
	set_option(end->fd, IPPROTO_TCP, TCP_CORK, 1, "set TCP_CORK");
	for (int i = 0; i < 10; i++)
		put(end, bytes / 10);
	set_option(end->fd, IPPROTO_TCP, TCP_CORK, 0, "clear TCP_CORK");
}

static void ask_corked(struct end *end, const struct scenario *s)
{
	for (int i = 0; i < s->rounds; i++) {
		put_corked(end, s->request);
		get(end, s->answer);
	}
}

static void answer_corked(struct end *end, const struct scenario *s)
{
	for (int i = 0; i < s->rounds; i++) {
		get(end, s->request);
		put_corked(end, s->answer);
	}
}

/* Nagle's algorithm holds all but the first until it is acknowledged. */
static void ask_in_drops(struct end *end, const struct scenario *s)
{
	for (int i = 0; i < s->rounds; i++) {
		for (size_t sent = 0; sent < s->request; sent++)
			put(end, 1);
		get(end, s->answer);
	}
}

static void answer_after_nothing(struct end *end, const struct scenario *s)
{
	for (int i = 0; i < s->rounds; i++) {
		get(end, s->request);
		if (send(end->fd, payload, 0, 0) != 0)
			die("send nothing");
		put(end, s->answer);
	}
}

static void put_in_vain(struct end *end, int expected)
{
	if (send(end->fd, payload, 100, 0) >= 0 || errno != expected)
		die("fail to send");
}

/* After its own FIN, and after the peer's reset: nothing is sent, so no exchange begins. */
static void ask_then_fail(struct end *end, const struct scenario *s)
{
	ask(end, s);
	close_write(end);
	put_in_vain(end, EPIPE);
	get(end, s->answer);
	wait_for(end->fd, 0);
	put_in_vain(end, ECONNRESET);
}

/* Its last word is no answer, and then it resets. */
static void answer_then_reset(struct end *end, const struct scenario *s)
{
	answer(end, s);
	get_end(end, 0);
	put(end, s->answer);
	pause_ms(50);
	reset_at_close(end);
}

/* The reset is there before it sends. */
static void send_after_reset(struct end *end, const struct scenario *s)
{
	ask(end, s);
	wait_for(end->fd, 0);
	put_in_vain(end, ECONNRESET);
	put_in_vain(end, EPIPE);
}

static void answer_and_reset(struct end *end, const struct scenario *s)
{
	answer(end, s);
	pause_ms(50);
	reset_at_close(end);
}

const struct scenario sends[] = {
	{.name = "large",
	 .request = 64 * MIB,
	 .answer = 64 * MIB,
	 .client = ask,
	 .server = answer_late},
	{.name = "partial",
	 .request = 8 * MIB,
	 .answer = 10,
	 .client = ask_in_parts,
	 .server = answer_late},
	{.name = "first-byte",
	 .request = 100,
	 .answer = 16 * MIB,
	 .client = ask_and_sleep,
	 .server = answer},
	{.name = "writev",
	 .rounds = 5,
	 .request = 10000,
	 .answer = 10,
	 .client = ask_by_writev,
	 .server = answer},
	{.name = "sendmmsg",
	 .rounds = 5,
	 .request = 20000,
	 .answer = 10,
	 .client = ask_by_sendmmsg,
	 .server = answer},
	{.name = "sendfile",
	 .request = 2 * MIB + 77,
	 .answer = 20,
	 .client = ask_by_sendfile,
	 .server = answer},
	{.name = "splice-to",
	 .request = 2 * MIB + 55,
	 .answer = 20,
	 .client = ask_by_splice,
	 .server = answer},
	{.name = "zerocopy",
	 .request = MIB + 99,
	 .answer = 20,
	 .client = ask_by_zerocopy,
	 .server = answer},
	{.name = "corked",
	 .rounds = 5,
	 .request = 1000,
	 .answer = 2000,
	 .client = ask_corked,
	 .server = answer_corked},
	{.name = "nagle",
	 .rounds = 3,
	 .request = 100,
	 .answer = 2000,
	 .client = ask_in_drops,
	 .server = answer},
	{.name = "empty",
	 .rounds = 5,
	 .request = 10,
	 .answer = 10,
	 .client = ask,
	 .server = answer_after_nothing},
	{.name = "broken-pipe",
	 .rounds = 2,
	 .request = 40,
	 .answer = 400,
	 .client = ask_then_fail,
	 .server = answer_then_reset},
	{.name = "send-after-reset",
	 .rounds = 2,
	 .request = 40,
	 .answer = 400,
	 .client = send_after_reset,
	 .server = answer_and_reset},
	{0},
};
