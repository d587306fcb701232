// SPDX-License-Identifier: Apache-2.0
/* TCP Fast Open: the first request goes with the SYN, once the client has a cookie. Ordered: the
 * first scenario is the one without. */
#include "traffic.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

/* Of this network namespace: clients and servers may. */
static void allow(void)
{
	int fd = open("/proc/sys/net/ipv4/tcp_fastopen", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "3", 1) != 1)
		die("allow Fast Open");
	close(fd);
}

static const char *no_fast_open(void)
{
	return access("/proc/sys/net/ipv4/tcp_fastopen", F_OK) == 0 ? NULL : "no TCP Fast Open";
}

static void prepare(int socket, bool client)
{
	(void)socket;
	(void)client;
	allow();
}

static void listen_fast(int socket)
{
	if (listen(socket, 64) != 0)
		die("listen");
	set_option(socket, IPPROTO_TCP, TCP_FASTOPEN, 64, "set TCP_FASTOPEN");
}

#define FIRST_REQUEST 600

/* Connects with the first request. */
static void send_first(struct end *end, socklen_t length)
{
	uint64_t began = now();
	ssize_t n =
		sendto(end->fd, payload, FIRST_REQUEST, MSG_FASTOPEN, (void *)&end->remote, length);

	if (n != FIRST_REQUEST)
		die("send with the SYN");
	note_sent(end, began, n);
}

/* The caller has sent the first request. */
static void ask_on(struct end *end, const struct scenario *s)
{
	get(end, s->answer);
	ask(end, s);
}

static void answer_first(struct end *end, const struct scenario *s)
{
	get(end, FIRST_REQUEST);
	put(end, s->answer);
	answer(end, s);
}

/* Connects with its first write. */
static void connect_with_first(struct end *end, socklen_t length)
{
	uint64_t began;

	set_option(end->fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1, "set TCP_FASTOPEN_CONNECT");
	if (connect(end->fd, (void *)&end->remote, length) != 0)
		die("connect at the first write");
	began = now();
	if (write(end->fd, payload, FIRST_REQUEST) != FIRST_REQUEST)
		die("write the first request");
	note_sent(end, began, FIRST_REQUEST);
}

/* Said to be connected, and not a packet has left: there is no connection, whatever the socket's
 * sequence numbers say. */
static void connect_idle(struct end *end, socklen_t length)
{
	set_option(end->fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1, "set TCP_FASTOPEN_CONNECT");
	if (connect(end->fd, (void *)&end->remote, length) != 0)
		die("connect at the first write");
	pause_ms(1000);
	end->failed = "none";
}

#define TALK                                                                                       \
	.lacks = no_fast_open, .prepare = prepare, .listen = listen_fast, .rounds = 2,             \
	.request = 100, .answer = 300, .client = ask_on, .server = answer_first

const struct scenario fastopen[] = {
	{.name = "fast-open-first", .connect = send_first, TALK},
	{.name = "fast-open", .connections = 5, .connect = send_first, TALK},
	{.name = "fast-open-connect", .connections = 5, .connect = connect_with_first, TALK},
	{.name = "fast-open-idle",
	 .lacks = no_fast_open,
	 .prepare = prepare,
	 .connect = connect_idle,
	 .client = ask,
	 .fails = "none"},
	{0},
};
