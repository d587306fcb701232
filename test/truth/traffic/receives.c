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

static void ask_peeking(struct end *end, const struct scenario *s)
{
	for (int i = 0; i < s->rounds; i++) {
		put(end, s->request);
		peek(end, s->answer);
		get(end, s->answer);
	}
}

static void answer_peeking(struct end *end, const struct scenario *s)
{
	for (int i = 0; i < s->rounds; i++) {
		peek(end, s->request);
		peek(end, 1);
		get(end, s->request / 2);
		peek(end, s->request - s->request / 2);
		get(end, s->request - s->request / 2);
		put(end, s->answer);
	}
}

static void answer_waiting_for_all(struct end *end, const struct scenario *s)
{
	char *buffer = malloc(s->request);

	for (int i = 0; i < s->rounds; i++) {
		ssize_t n = recv(end->fd, buffer, s->request, MSG_WAITALL);

		if (n != (ssize_t)s->request)
			die("receive all");
		note_received(end, n);
		put(end, s->answer);
	}
	free(buffer);
}

/* The request comes in two parts; the server is asked to wake once it is whole. */
static void ask_twice(struct end *end, const struct scenario *s)
{
	for (int i = 0; i < s->rounds; i++) {
		put(end, s->request / 2);
		pause_ms(20);
		put(end, s->request - s->request / 2);
		get(end, s->answer);
	}
}

static void answer_when_whole(struct end *end, const struct scenario *s)
{
	set_option(end->fd, SOL_SOCKET, SO_RCVLOWAT, s->request, "set SO_RCVLOWAT");
	for (int i = 0; i < s->rounds; i++) {
		wait_for(end->fd, POLLIN);
		get(end, s->request);
		put(end, s->answer);
	}
}

static void answer_by_readv(struct end *end, const struct scenario *s)
{
	static char buffer[PIECE];
	struct iovec parts[] = {{buffer, 1}, {buffer, 99}, {buffer, s->request - 100}};

	for (int i = 0; i < s->rounds; i++) {
		ssize_t n;

		wait_for(end->fd, POLLIN);
		n = readv(end->fd, parts, 3);
		if (n <= 0)
			die("readv");
		note_received(end, n);
		get(end, s->request - n);
		put(end, s->answer);
	}
}

static void answer_by_recvmmsg(struct end *end, const struct scenario *s)
{
	static char buffer[PIECE];
	struct iovec parts[] = {{buffer, s->request / 4}, {buffer, s->request / 4}};
	struct mmsghdr messages[2] = {0};

	for (int i = 0; i < 2; i++)
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	for (int i = 0; i < s->rounds; i++) {
		int count = recvmmsg(end->fd, messages, 2, MSG_WAITALL, NULL);

		if (count != 2)
			die("recvmmsg");
		note_received(end, messages[0].msg_len + messages[1].msg_len);
		get(end, s->request - messages[0].msg_len - messages[1].msg_len);
		put(end, s->answer);
	}
}

static void answer_by_splice(struct end *end, const struct scenario *s)
{
	char buffer[4096];
	int pipes[2];

	if (pipe2(pipes, O_CLOEXEC) != 0)
		die("make a pipe");
	for (size_t left = s->request; left > 0;) {
		ssize_t n = splice(end->fd, NULL, pipes[1], NULL,
				   left < sizeof(buffer) ? left : sizeof(buffer), 0);

		if (n <= 0)
			die("splice");
		note_received(end, n);
		left -= n;
		if (read(pipes[0], buffer, n) != n)
			die("read the pipe");
	}
	close(pipes[0]);
	close(pipes[1]);
	put(end, s->answer);
}

/* Whole pages, which the receiver's kernel may hand out as they are. */
static void ask_by_pages(struct end *end, const struct scenario *s)
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

/* What cannot be mapped is said to be for recv(). */
static void answer_by_mapping(struct end *end, const struct scenario *s)
{
	void *area = mmap(NULL, 4 * PIECE, PROT_READ, MAP_SHARED, end->fd, 0);

	if (area == MAP_FAILED)
		die("map the socket");
	for (size_t left = s->request; left > 0;) {
		struct tcp_zerocopy_receive ask = {.address = (uintptr_t)area, .length = 4 * PIECE};
		socklen_t length = sizeof(ask);
		size_t rest;

		wait_for(end->fd, POLLIN);
		if (getsockopt(end->fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &ask, &length) != 0)
			die("receive zero-copy");
		note_received(end, ask.length);
		left -= ask.length;
		rest = ask.recv_skip_hint < left ? ask.recv_skip_hint : left;
		get(end, rest);
		left -= rest;
	}
	munmap(area, 4 * PIECE);
	put(end, s->answer);
}

/* What is discarded unseen has been received all the same. */
static void answer_discarding(struct end *end, const struct scenario *s)
{
	for (int i = 0; i < s->rounds; i++) {
		for (size_t left = s->request; left > 0;) {
			ssize_t n = recv(end->fd, NULL, left, MSG_TRUNC);

			if (n <= 0)
				die("discard");
			note_received(end, n);
			left -= n;
		}
		put(end, s->answer);
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
	for (size_t left = s->request * s->rounds; left > 0;) {
		ssize_t n = recv(end->fd, NULL, left < 4 * MIB ? left : 4 * MIB, MSG_TRUNC);

		if (n <= 0)
			die("discard");
		note_received(end, n);
		left -= n;
	}
	put(end, s->answer);
}

const struct scenario receives[] = {
	{.name = "peek",
	 .rounds = 10,
	 .request = 1000,
	 .answer = 500,
	 .client = ask_peeking,
	 .server = answer_peeking},
	{.name = "wait-all",
	 .rounds = 5,
	 .request = 300000,
	 .answer = 20,
	 .client = ask,
	 .server = answer_waiting_for_all},
	{.name = "low-water",
	 .rounds = 5,
	 .request = 3000,
	 .answer = 20,
	 .client = ask_twice,
	 .server = answer_when_whole},
	{.name = "readv",
	 .rounds = 5,
	 .request = 10000,
	 .answer = 20,
	 .client = ask,
	 .server = answer_by_readv},
	{.name = "recvmmsg",
	 .rounds = 5,
	 .request = 10000,
	 .answer = 20,
	 .client = ask,
	 .server = answer_by_recvmmsg},
	{.name = "splice",
	 .request = MIB + 33,
	 .answer = 20,
	 .client = ask,
	 .server = answer_by_splice},
	{.name = "zerocopy-receive",
	 .request = MIB,
	 .answer = 20,
	 .client = ask_by_pages,
	 .server = answer_by_mapping},
	{.name = "discard",
	 .rounds = 5,
	 .request = 2000,
	 .answer = 20,
	 .client = ask,
	 .server = answer_discarding},
	{.name = "wrap",
	 .rounds = 144,
	 .request = 32 * MIB,
	 .answer = 20,
	 .client = put_all,
	 .server = discard_all},
	{0},
};
