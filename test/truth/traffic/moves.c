// SPDX-License-Identifier: Apache-2.0
/* The usual moves of an end, and its book of them. */
#include "traffic.h"
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

const char *at_work = "start"; /* the scenario and role, for messages */
char *payload;

void die(const char *step)
{
	fprintf(stderr, "traffic: %s: cannot %s: %s\n", at_work, step, strerror(errno));
	exit(1);
}

void pause_ms(int ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000L};

	while (nanosleep(&left, &left) != 0)
		;
}

uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

void *shared(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("share memory");
	return memory;
}

void set_option(int fd, int level, int option, int value, const char *step)
{
	if (setsockopt(fd, level, option, &value, sizeof(value)) != 0)
		die(step);
}

void join(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child || status != 0)
		die("end a child well");
}

void note_sent(struct end *end, uint64_t began, ssize_t bytes)
{
	if (bytes <= 0)
		return;
	if (!end->client && end->last == RECEIVED) {
		end->exchanges++;
		end->duration_ns += began - end->last_at;
	}
	end->sent += bytes;
	end->last = SENT;
	end->last_at = began;
}

void note_received(struct end *end, ssize_t bytes)
{
	uint64_t returned = now();

	if (bytes <= 0)
		return;
	if (end->client && end->last == SENT) {
		end->exchanges++;
		end->duration_ns += returned - end->last_at;
	}
	end->received += bytes;
	end->last = RECEIVED;
	end->last_at = returned;
}

void put(struct end *end, size_t bytes)
{
	while (bytes > 0) {
		uint64_t began = now();
		ssize_t n = write(end->fd, payload, bytes);

		if (n < 0)
			die("write");
		note_sent(end, began, n);
		bytes -= n;
	}
}

void get(struct end *end, size_t bytes)
{
	static char buffer[PIECE];

	while (bytes > 0) {
		ssize_t n = read(end->fd, buffer, bytes < PIECE ? bytes : PIECE);

		if (n == 0)
			errno = ENODATA;
		if (n <= 0)
			die("read");
		note_received(end, n);
		bytes -= n;
	}
}

void put_by_zerocopy(struct end *end, size_t bytes)
{
	set_option(end->fd, SOL_SOCKET, SO_ZEROCOPY, 1, "set SO_ZEROCOPY");
	while (bytes > 0) {
		uint64_t began = now();
		ssize_t n = send(end->fd, payload, bytes < PIECE ? bytes : PIECE, MSG_ZEROCOPY);

		if (n <= 0)
			die("send zero-copy");
		note_sent(end, began, n);
		bytes -= n;
	}
}

void get_end(struct end *end, int expected)
{
	char byte;
	ssize_t n = read(end->fd, &byte, 1);

	if (n > 0)
		errno = EBADMSG;
	if (n > 0 || (n == 0 ? 0 : errno) != expected)
		die("read the end");
}

void close_write(struct end *end)
{
	if (shutdown(end->fd, SHUT_WR) != 0)
		die("shut down");
}

void reset_at_close(struct end *end)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	if (setsockopt(end->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) != 0)
		die("set SO_LINGER");
}

void wait_for(int fd, short events)
{
	struct pollfd poller = {.fd = fd, .events = events};

	if (poll(&poller, 1, -1) < 0)
		die("poll");
}

void ask(struct end *end, const struct scenario *s)
{
	for (int i = 0; i < s->rounds; i++) {
		if (i > 0 && s->think_ms)
			pause_ms(s->think_ms);
		s->put_request(end, s->request);
		s->get_answer(end, s->answer);
	}
}

void answer(struct end *end, const struct scenario *s)
{
	for (int i = 0; i < s->rounds; i++) {
		s->get_request(end, s->request);
		if (s->serve_ms)
			pause_ms(s->serve_ms);
		s->put_answer(end, s->answer);
	}
}

void take(struct end *end, const struct scenario *s)
{
	for (int i = 0; i < s->rounds; i++)
		get(end, s->request);
	get_end(end, 0);
}

/* The client waits for the server's FIN, which is not a byte, nor the answer to anything. */
void upload(struct end *end, const struct scenario *s)
{
	for (size_t left = s->request; left > 0;) {
		size_t piece = left < PIECE ? left : PIECE;

		put(end, piece);
		left -= piece;
	}
	close_write(end);
	get_end(end, 0);
}

/* The reader comes late, so that the writer's one large call blocks. */
void answer_late(struct end *end, const struct scenario *s)
{
	pause_ms(200);
	answer(end, s);
}

void connect_plainly(struct end *end, socklen_t length)
{
	uint64_t began = now();

	if (connect(end->fd, (void *)&end->remote, length) != 0) {
		end->failed = errno == ECONNREFUSED   ? "refused"
			      : errno == ETIMEDOUT    ? "timed_out"
			      : errno == EHOSTUNREACH ? "unreachable"
						      : strerror(errno);
		return;
	}
	end->connect_ns = now() - began;
}
