// SPDX-License-Identifier: Apache-2.0
/* The ways to take bytes from a socket, and those that take none. */
#include "traffic.h"
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/uio.h>

static void peek(struct end *end, size_t bytes)
{
	char buffer[PIECE];

	if (recv(end->fd, buffer, bytes, MSG_PEEK) <= 0)
		die("peek");
}

static void get_peeking(struct end *end, size_t bytes)
{
	peek(end, bytes);
	get(end, bytes);
}

static void get_peeking_twice(struct end *end, size_t bytes)
{
	peek(end, bytes);
	peek(end, 1);
	get(end, bytes / 2);
	get_peeking(end, bytes - bytes / 2);
}

static void get_by_waiting_for_all(struct end *end, size_t bytes)
{
	char *buffer = malloc(bytes);
	ssize_t n = recv(end->fd, buffer, bytes, MSG_WAITALL);

	if (n != (ssize_t)bytes)
		die("receive all");
	note_received(end, n);
	free(buffer);
}

/* It comes in two parts; who gets it asks to be woken once it is whole. */
static void put_twice(struct end *end, size_t bytes)
{
	put(end, bytes / 2);
	pause_ms(20);
	put(end, bytes - bytes / 2);
}

static void get_when_whole(struct end *end, size_t bytes)
{
	set_option(end->fd, SOL_SOCKET, SO_RCVLOWAT, bytes, "set SO_RCVLOWAT");
	wait_for(end->fd, POLLIN);
	get(end, bytes);
}

static void get_by_readv(struct end *end, size_t bytes)
{
	static char buffer[PIECE];
	struct iovec parts[] = {{buffer, 1}, {buffer, 99}, {buffer, bytes - 100}};
	ssize_t n;

	wait_for(end->fd, POLLIN);
	n = readv(end->fd, parts, 3);
	if (n <= 0)
		die("readv");
	note_received(end, n);
	get(end, bytes - n);
}

static void get_by_recvmmsg(struct end *end, size_t bytes)
{
	static char buffer[PIECE];
	struct iovec parts[] = {{buffer, bytes / 4}, {buffer, bytes / 4}};
	struct mmsghdr messages[2] = {0};

	for (int i = 0; i < 2; i++)
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	if (recvmmsg(end->fd, messages, 2, MSG_WAITALL, NULL) != 2)
		die("recvmmsg");
	note_received(end, messages[0].msg_len + messages[1].msg_len);
	get(end, bytes - messages[0].msg_len - messages[1].msg_len);
}

static void get_by_splice(struct end *end, size_t bytes)
{
	char buffer[4096];
	int pipes[2];

	if (pipe2(pipes, O_CLOEXEC) != 0)
		die("make a pipe");
	while (bytes > 0) {
		ssize_t n = splice(end->fd, NULL, pipes[1], NULL,
				   bytes < sizeof(buffer) ? bytes : sizeof(buffer), 0);

		if (n <= 0)
			die("splice");
		note_received(end, n);
		bytes -= n;
		if (read(pipes[0], buffer, n) != n)
			die("read the pipe");
	}
	close(pipes[0]);
	close(pipes[1]);
}

/* What cannot be mapped is said to be for recv(). */
static void get_by_mapping(struct end *end, size_t bytes)
{
	void *area = mmap(NULL, 4 * PIECE, PROT_READ, MAP_SHARED, end->fd, 0);

	if (area == MAP_FAILED)
		die("map the socket");
	while (bytes > 0) {
		struct tcp_zerocopy_receive ask = {.address = (uintptr_t)area, .length = 4 * PIECE};
		socklen_t length = sizeof(ask);
		size_t rest;

		wait_for(end->fd, POLLIN);
		if (getsockopt(end->fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &ask, &length) != 0)
			die("receive zero-copy");
		note_received(end, ask.length);
		bytes -= ask.length;
		rest = ask.recv_skip_hint < bytes ? ask.recv_skip_hint : bytes;
		get(end, rest);
		bytes -= rest;
	}
	munmap(area, 4 * PIECE);
}

/* What is discarded unseen has been received all the same. */
static void get_discarding(struct end *end, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = recv(end->fd, NULL, bytes < 4 * MIB ? bytes : 4 * MIB, MSG_TRUNC);

		if (n <= 0)
			die("discard");
		note_received(end, n);
		bytes -= n;
	}
}

/* More than the sequence numbers' 4 GiB at full scale: read by nobody, received all the same. */
static void put_all(struct end *end, const struct scenario *s)
{
	for (int i = 0; i < s->rounds; i++)
		put(end, s->request);
	get(end, s->answer);
}

static void discard_all(struct end *end, const struct scenario *s)
{
	get_discarding(end, s->request * s->rounds);
	put(end, s->answer);
}

const struct scenario receives[] = {
	{.name = "peek",
	 .rounds = 10,
	 .request = 1000,
	 .answer = 500,
	 .get_request = get_peeking_twice,
	 .get_answer = get_peeking,
	 .client = ask,
	 .server = answer},
	{.name = "wait-all",
	 .rounds = 5,
	 .request = 300000,
	 .answer = 20,
	 .get_request = get_by_waiting_for_all,
	 .client = ask,
	 .server = answer},
	{.name = "low-water",
	 .rounds = 5,
	 .request = 3000,
	 .answer = 20,
	 .put_request = put_twice,
	 .get_request = get_when_whole,
	 .client = ask,
	 .server = answer},
	{.name = "readv",
	 .rounds = 5,
	 .request = 10000,
	 .answer = 20,
	 .get_request = get_by_readv,
	 .client = ask,
	 .server = answer},
	{.name = "recvmmsg",
	 .rounds = 5,
	 .request = 10000,
	 .answer = 20,
	 .get_request = get_by_recvmmsg,
	 .client = ask,
	 .server = answer},
	{.name = "splice",
	 .request = MIB + 33,
	 .answer = 20,
	 .get_request = get_by_splice,
	 .client = ask,
	 .server = answer},
	{.name = "zerocopy-receive",
	 .request = MIB,
	 .answer = 20,
	 .put_request = put_by_zerocopy,
	 .get_request = get_by_mapping,
	 .client = ask,
	 .server = answer},
	{.name = "discard",
	 .rounds = 5,
	 .request = 2000,
	 .answer = 20,
	 .get_request = get_discarding,
	 .client = ask,
	 .server = answer},
	{.name = "wrap",
	 .rounds = 144,
	 .request = 32 * MIB,
	 .answer = 20,
	 .client = put_all,
	 .server = discard_all},
	{0},
};
