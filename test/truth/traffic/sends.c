// SPDX-License-Identifier: Apache-2.0
/* The ways to give bytes to a socket, and those that give none. */
#include "traffic.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

static void put_in_parts(struct end *end, size_t bytes)
{
	while (bytes > 0) {
		uint64_t began = now();
		ssize_t n = send(end->fd, payload, bytes, MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN)
			die("send");
		note_sent(end, began, n);
		if (n > 0)
			bytes -= n;
		else
			wait_for(end->fd, POLLOUT);
	}
}

/* Who reads late makes the other's one large call block: its response time is its first byte's. */
static void get_late(struct end *end, size_t bytes)
{
	pause_ms(1000);
	get(end, bytes);
}

static void put_by_writev(struct end *end, size_t bytes)
{
	struct iovec parts[] = {{payload, 1}, {payload, 0}, {payload, 99}, {payload, bytes - 100}};
	uint64_t began = now();
	ssize_t n = writev(end->fd, parts, 4);

	if (n != (ssize_t)bytes)
		die("writev");
	note_sent(end, began, n);
}

/* Three messages, the second of them empty. */
static void put_by_sendmmsg(struct end *end, size_t bytes)
{
	struct iovec parts[] = {{payload, bytes / 2}, {payload, 0}, {payload, bytes / 2}};
	struct mmsghdr messages[3] = {0};
	uint64_t began = now();

	for (int i = 0; i < 3; i++)
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	if (sendmmsg(end->fd, messages, 3, 0) != 3)
		die("sendmmsg");
	note_sent(end, began, bytes);
}

static int file_of(size_t size)
{
	int file = memfd_create("request", MFD_CLOEXEC);

	if (file < 0 || ftruncate(file, size) != 0)
		die("make a file");
	return file;
}

static void put_by_sendfile(struct end *end, size_t bytes)
{
	int file = file_of(bytes);

	while (bytes > 0) {
		uint64_t began = now();
		ssize_t n = sendfile(end->fd, file, NULL, bytes);

		if (n <= 0)
			die("sendfile");
		note_sent(end, began, n);
		bytes -= n;
	}
	close(file);
}

static void put_by_splice(struct end *end, size_t bytes)
{
	int file = file_of(bytes), pipes[2];

	if (pipe2(pipes, O_CLOEXEC) != 0)
		die("make a pipe");
	while (bytes > 0) {
		ssize_t filled = splice(file, NULL, pipes[1], NULL, bytes, 0);

		if (filled <= 0)
			die("splice from the file");
		bytes -= filled;
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
}

/* Ten small writes, which leave when the cork is drawn. */
static void put_corked(struct end *end, size_t bytes)
{
	set_option(end->fd, IPPROTO_TCP, TCP_CORK, 1, "set TCP_CORK");
	for (int i = 0; i < 10; i++)
		put(end, bytes / 10);
	set_option(end->fd, IPPROTO_TCP, TCP_CORK, 0, "clear TCP_CORK");
}

/* Nagle's algorithm holds all but the first until it is acknowledged. */
static void put_in_drops(struct end *end, size_t bytes)
{
	while (bytes-- > 0)
		put(end, 1);
}

static void put_after_nothing(struct end *end, size_t bytes)
{
	if (send(end->fd, payload, 0, 0) != 0)
		die("send nothing");
	put(end, bytes);
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
	 .put_request = put_in_parts,
	 .client = ask,
	 .server = answer_late},
	{.name = "first-byte",
	 .request = 100,
	 .answer = 16 * MIB,
	 .get_answer = get_late,
	 .client = ask,
	 .server = answer},
	{.name = "writev",
	 .rounds = 5,
	 .request = 10000,
	 .answer = 10,
	 .put_request = put_by_writev,
	 .client = ask,
	 .server = answer},
	{.name = "sendmmsg",
	 .rounds = 5,
	 .request = 20000,
	 .answer = 10,
	 .put_request = put_by_sendmmsg,
	 .client = ask,
	 .server = answer},
	{.name = "sendfile",
	 .request = 2 * MIB + 77,
	 .answer = 20,
	 .put_request = put_by_sendfile,
	 .client = ask,
	 .server = answer},
	{.name = "splice-to",
	 .request = 2 * MIB + 55,
	 .answer = 20,
	 .put_request = put_by_splice,
	 .client = ask,
	 .server = answer},
	{.name = "zerocopy",
	 .request = MIB + 99,
	 .answer = 20,
	 .put_request = put_by_zerocopy,
	 .client = ask,
	 .server = answer},
	{.name = "corked",
	 .rounds = 5,
	 .request = 1000,
	 .answer = 2000,
	 .put_request = put_corked,
	 .put_answer = put_corked,
	 .client = ask,
	 .server = answer},
	{.name = "nagle",
	 .rounds = 3,
	 .request = 100,
	 .answer = 2000,
	 .put_request = put_in_drops,
	 .client = ask,
	 .server = answer},
	{.name = "empty",
	 .rounds = 5,
	 .request = 10,
	 .answer = 10,
	 .put_answer = put_after_nothing,
	 .client = ask,
	 .server = answer},
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
