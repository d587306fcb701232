// SPDX-License-Identifier: Apache-2.0
/* The ways to connect, and to fail; ports and sockets that are used again. */
#include "traffic.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>

static void connect_without_blocking(struct end *end, socklen_t length)
{
	int flags = fcntl(end->fd, F_GETFL), error;
	socklen_t size = sizeof(error);
	uint64_t began = now();

	fcntl(end->fd, F_SETFL, flags | O_NONBLOCK);
	if (connect(end->fd, (void *)&end->remote, length) == 0 || errno != EINPROGRESS)
		die("connect without blocking");
	wait_for(end->fd, POLLOUT);
	if (getsockopt(end->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
		die("connect after all");
	end->connect_ns = now() - began;
	fcntl(end->fd, F_SETFL, flags);
}

/* The sum that closes a segment, over its pseudo header too. */
static uint16_t checksum(const struct iphdr *ip, const struct tcphdr *tcp)
{
	const uint16_t *ends = (const void *)&ip->saddr, *words = (const void *)tcp;
	uint32_t sum = htons(IPPROTO_TCP) + htons(sizeof(*tcp));

	for (int i = 0; i < 4; i++)
		sum += ends[i];
	for (size_t i = 0; i < sizeof(*tcp) / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

/* A segment that the peer might have sent, by way of this end's loopback. */
static void forge(const struct end *end, uint32_t sequence, bool syn)
{
	const struct sockaddr_in *local = (const void *)&end->local;
	const struct sockaddr_in *remote = (const void *)&end->remote;
	struct {
		struct iphdr ip;
		struct tcphdr tcp;
	} packet = {
		.ip = {.version = 4,
		       .ihl = 5,
		       .ttl = 64,
		       .protocol = IPPROTO_TCP,
		       .saddr = remote->sin_addr.s_addr,
		       .daddr = local->sin_addr.s_addr},
		.tcp = {.source = remote->sin_port,
			.dest = local->sin_port,
			.seq = htonl(sequence),
			.doff = 5,
			.syn = syn,
			.rst = !syn,
			.window = htons(65535)},
	};
	int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);

	packet.tcp.check = checksum(&packet.ip, &packet.tcp);
	if (raw < 0 || sendto(raw, &packet, sizeof(packet), 0, (const void *)local,
			      sizeof(*local)) != sizeof(packet))
		die("forge a segment");
	close(raw);
}

/* A reset that answers a SYN refuses. It is a reset where both have sent a SYN, and one resets
 * before it has the other's acknowledgement. */
static void connect_to_be_reset(struct end *end, socklen_t length)
{
	socklen_t local_length = sizeof(end->local), size = sizeof(int);
	int error;

	fcntl(end->fd, F_SETFL, fcntl(end->fd, F_GETFL) | O_NONBLOCK);
	if (connect(end->fd, (void *)&end->remote, length) == 0 || errno != EINPROGRESS)
		die("connect without blocking");
	getsockname(end->fd, (void *)&end->local, &local_length);
	forge(end, 1000, true);
	forge(end, 1001, false);
	wait_for(end->fd, POLLOUT);
	if (getsockopt(end->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != ECONNRESET)
		die("be reset");
	end->failed = "reset";
}

static void give_up_early(int socket, bool client)
{
	if (client) /* one more SYN after a second, and two more seconds */
		set_option(socket, IPPROTO_TCP, TCP_SYNCNT, 1, "set TCP_SYNCNT");
}

static void listen_for_none(int socket)
{
	if (listen(socket, 0) != 0)
		die("listen");
}

static void listen_for_one(int socket)
{
	if (listen(socket, 1) != 0)
		die("listen");
}

/* They come before anybody accepts: two wait in the backlog, and the others' SYNs are dropped. */
static void accept_late(int listener, struct end *end, const struct scenario *s)
{
	pause_ms(300);
	accept_plainly(listener, end, s);
}

/* A connection is there, whether or not anybody accepts it. */
static void never_accept(int listener, struct end *end, const struct scenario *s)
{
	socklen_t length = sizeof(end->local);

	(void)s;
	wait_for(listener, POLLIN);
	pause_ms(50); /* for the data */
	getsockname(listener, (void *)&end->local, &length);
	end->fd = listener;
}

static void ask_nobody(struct end *end, const struct scenario *s)
{
	put(end, s->request);
	get_end(end, ECONNRESET);
}

static void nothing(struct end *end, const struct scenario *s)
{
	(void)end;
	(void)s;
}

/* Each request is a byte longer than the one before, so that none can be taken for another. */
static void ask_growing(struct end *end, const struct scenario *s)
{
	static size_t more;

	put(end, s->request + more++);
	get(end, s->answer);
}

static void answer_growing(struct end *end, const struct scenario *s)
{
	static size_t more;

	get(end, s->request + more++);
	put(end, s->answer);
	wait_for(end->fd, POLLIN);
}

/* One socket for all: each connection is dissolved, and the next one made of it. */
static void connect_again(struct end *end, socklen_t length)
{
	static const struct sockaddr unspecified = {.sa_family = AF_UNSPEC};
	static int kept = -1;

	if (kept < 0) {
		kept = dup(end->fd);
	} else {
		close(end->fd);
		end->fd = dup(kept);
		if (connect(kept, &unspecified, sizeof(unspecified)) != 0)
			die("dissolve the connection");
	}
	connect_plainly(end, length);
}

/* The same four numbers each time: a reset leaves nothing behind. */
static void keep_port(int socket, bool client)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(8099)};

	if (!client)
		return;
	set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1, "set SO_REUSEADDR");
	if (bind(socket, (void *)&here, sizeof(here)) != 0)
		die("bind the client's port");
}

static void ask_growing_then_reset(struct end *end, const struct scenario *s)
{
	ask_growing(end, s);
	reset_at_close(end);
}

const struct scenario connects[] = {
	{.name = "refused", .client = ask, .fails = "refused"},
	{.name = "black-hole",
	 .target = BLACK_HOLE,
	 .prepare = give_up_early,
	 .client = ask,
	 .fails = "timed_out"},
	{.name = "unreachable", .target = UNREACHABLE, .client = ask, .fails = "unreachable"},
	{.name = "reset-at-open",
	 .target = BLACK_HOLE,
	 .connect = connect_to_be_reset,
	 .client = ask,
	 .fails = "reset"},
	{.name = "non-blocking",
	 .connections = 5,
	 .request = 70,
	 .answer = 700,
	 .connect = connect_without_blocking,
	 .client = ask,
	 .server = answer},
	{.name = "no-backlog",
	 .connections = 3,
	 .request = 70,
	 .answer = 700,
	 .listen = listen_for_none,
	 .client = ask,
	 .server = answer},
	{.name = "backlog",
	 .connections = 8,
	 .processes = 8,
	 .request = 70,
	 .answer = 700,
	 .listen = listen_for_one,
	 .accept = accept_late,
	 .client = ask,
	 .server = answer},
	{.name = "unaccepted",
	 .request = 70,
	 .accept = never_accept,
	 .client = ask_nobody,
	 .server = nothing},
	{.name = "reconnect",
	 .connections = 20,
	 .request = 70,
	 .answer = 700,
	 .connect = connect_again,
	 .client = ask_growing,
	 .server = answer_growing},
	{.name = "same-port",
	 .connections = 50,
	 .request = 70,
	 .answer = 700,
	 .prepare = keep_port,
	 .client = ask_growing_then_reset,
	 .server = answer_growing},
	{.name = "burst",
	 .connections = 10000,
	 .processes = 8,
	 .request = 64,
	 .answer = 128,
	 .client = ask,
	 .server = answer},
	{0},
};
