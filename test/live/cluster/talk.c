/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Connections of known size, as servers, clients and proxies have them:
 *   talk serve PORT...                  answers each request with as many bytes as it asks for
 *   talk call ADDRESS PORT SEND RECEIVE sends so many bytes, which say how many it wants back
 *   talk stream ADDRESS PORT SEND RECEIVE EVERY
 *                                       the same again EVERY milliseconds, or once where that is 0
 *   talk halves SOURCE ADDRESS PORT SEND RECEIVE
 *                                       sends the second half after a line on its input
 *   talk calls                          calls for each line of its input, as halves is told
 *   talk proxy PORT ADDRESS TO [SOURCE] hands what comes to PORT on to TO, from the address SOURCE
 *
 * At SIGTERM a server ends, and a stream after its answer. Of each connection that is over they say
 * what they have sent and received: "CALLER PORT SENT RECEIVED", "SENT RECEIVED".
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char bytes[(1 << 16) + 8];

static void tell(const char *word)
{
	puts(word);
	fflush(stdout);
}

static struct sockaddr_in end_of(const char *address, int port)
{
	struct sockaddr_in end = {.sin_family = AF_INET, .sin_port = htons(port)};

	if (!inet_aton(address, &end.sin_addr))
		errx(2, "no address: %s", address);
	return end;
}

static int listen_at(int port)
{
	struct sockaddr_in end = end_of("0.0.0.0", port);
	int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, (void *)&end, sizeof(end)) || listen(fd, 64))
		err(1, "listen at %d", port);
	return fd;
}

static int connect_to(const char *address, int port, const char *source)
{
	struct sockaddr_in to = end_of(address, port),
			   from = end_of(source ? source : "0.0.0.0", 0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (void *)&from, sizeof(from)) || connect(fd, (void *)&to, sizeof(to)))
		err(1, "connect to %s:%d", address, port);
	return fd;
}

static void send_all(int fd, const void *from, size_t count)
{
	if (send(fd, from, count, MSG_NOSIGNAL) != (ssize_t)count)
		err(1, "send");
}

static void receive_all(int fd, size_t count)
{
	if (count && recv(fd, bytes, count, MSG_WAITALL) != (ssize_t)count)
		err(1, "receive");
}

struct connection {
	char caller[INET_ADDRSTRLEN];
	int port;
	uint32_t wish[2]; /* The request's length, and its answer's */
	uint32_t come;	  /* Of the request */
	unsigned long sent, received;
};

static volatile sig_atomic_t ended;

static void end(int signal)
{
	(void)signal;
	ended = 1;
}

static void accept_at(struct pollfd *poll, struct connection *connection, int listener, int port)
{
	struct sockaddr_in from;
	socklen_t length = sizeof(from);

	*poll = (struct pollfd){.fd = accept(listener, (void *)&from, &length), .events = POLLIN};
	if (poll->fd < 0)
		err(1, "accept");
	*connection = (struct connection){.port = port};
	inet_ntop(AF_INET, &from.sin_addr, connection->caller, sizeof(connection->caller));
}

/* Takes what came, and answers a request that is whole. Returns whether there may be more. */
static int answer(int fd, struct connection *c)
{
	const int known = c->come >= sizeof(c->wish);
	char *to = known ? bytes : (char *)c->wish + c->come;
	ssize_t count = recv(fd, to, known ? c->wish[0] - c->come : sizeof(c->wish) - c->come, 0);

	if (count <= 0)
		return 0;
	c->come += count;
	c->received += count;
	if (c->come < sizeof(c->wish) || c->come < c->wish[0])
		return 1;
	c->come = 0;
	count = send(fd, bytes, c->wish[1], MSG_NOSIGNAL);
	c->sent += count > 0 ? count : 0;
	return count == (ssize_t)c->wish[1];
}

static void over(int fd, const struct connection *c)
{
	close(fd);
	printf("%s %d %lu %lu\n", c->caller, c->port, c->sent, c->received);
	fflush(stdout);
}

static void serve(int count, char **ports)
{
	enum { MOST = 64 };
	struct pollfd polls[MOST];
	struct connection connections[MOST];
	int listeners = count;

	for (int i = 0; i < count; i++)
		polls[i] = (struct pollfd){.fd = listen_at(atoi(ports[i])), .events = POLLIN};
	tell("ready");
	while (!ended && poll(polls, count, -1) > 0) {
		for (int i = count; i-- > listeners;) {
			if (!polls[i].revents || answer(polls[i].fd, &connections[i]))
				continue;
			over(polls[i].fd, &connections[i]);
			polls[i] = polls[--count];
			connections[i] = connections[count];
		}
		for (int i = 0; i < listeners && count < MOST; i++) {
			if (polls[i].revents)
				accept_at(&polls[count], &connections[count], polls[i].fd,
					  atoi(ports[i])),
					count++;
		}
	}
	for (int i = listeners; i < count; i++)
		over(polls[i].fd, &connections[i]);
}

static void stream(const char *address, int port, uint32_t send_count, uint32_t receive_count,
		   int every)
{
	int fd = connect_to(address, port, NULL);
	unsigned long sent = 0, received = 0;

	memcpy(bytes, (uint32_t[]){send_count, receive_count}, 8);
	do {
		ssize_t count = send(fd, bytes, send_count, MSG_NOSIGNAL);
		uint32_t come = 0;

		if (count < 0)
			break;
		sent += count;
		while (come < receive_count) {
			count = recv(fd, bytes + 8, receive_count - come, 0);
			if (count < 0 && errno == EINTR)
				continue;
			if (count <= 0)
				break;
			come += count;
		}
		received += come;
		if (come < receive_count)
			break; /* its server has ended */
		if (every)
			poll(NULL, 0, every);
	} while (every && !ended);
	close(fd);
	printf("%lu %lu\n", sent, received);
	if (!every && received < receive_count)
		errx(1, "%lu of %u bytes came", received, receive_count);
}

static void call(const char *source, const char *address, int port, uint32_t send, uint32_t receive,
		 int halves)
{
	int fd = connect_to(address, port, source);
	uint32_t first = halves ? send / 2 : send;

	memcpy(bytes, (uint32_t[]){send, receive}, 8);
	send_all(fd, bytes, first);
	if (halves) {
		tell("half");
		getchar();
		send_all(fd, bytes, send - first);
	}
	receive_all(fd, receive);
	close(fd);
}

static void calls(void)
{
	char source[INET_ADDRSTRLEN], address[INET_ADDRSTRLEN];
	uint32_t send, receive;
	int port;

	while (scanf("%15s %15s %d %u %u", source, address, &port, &send, &receive) == 5) {
		call(source, address, port, send, receive, 0);
		tell("done");
	}
}

/* Hands on what came. Returns whether there may be more. */
static int relay(int from, int to)
{
	ssize_t count = recv(from, bytes, sizeof(bytes), 0);

	if (count > 0)
		send_all(to, bytes, count);
	return count > 0;
}

static void proxy(int port, const char *address, int to, const char *source)
{
	int listener = listen_at(port);

	tell("ready");
	for (;;) {
		int inner = accept(listener, NULL, NULL), outer = connect_to(address, to, source);
		struct pollfd ends[] = {{.fd = inner, .events = POLLIN},
					{.fd = outer, .events = POLLIN}};
		int more = 1;

		while (more && poll(ends, 2, -1) > 0)
			more = (!ends[0].revents || relay(inner, outer)) &&
			       (!ends[1].revents || relay(outer, inner));
		close(outer);
		close(inner);
	}
}

int main(int argc, char **argv)
{
	if (argc > 2 && (!strcmp(argv[1], "serve") || !strcmp(argv[1], "stream")))
		sigaction(SIGTERM, &(struct sigaction){.sa_handler = end}, NULL);
	if (argc > 2 && !strcmp(argv[1], "serve"))
		serve(argc - 2, argv + 2);
	else if (argc == 6 && !strcmp(argv[1], "call"))
		call(NULL, argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]), 0);
	else if (argc == 7 && !strcmp(argv[1], "stream"))
		stream(argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]), atoi(argv[6]));
	else if (argc == 7 && !strcmp(argv[1], "halves"))
		call(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]), atoi(argv[6]), 1);
	else if (argc == 2 && !strcmp(argv[1], "calls"))
		calls();
	else if (argc >= 5 && !strcmp(argv[1], "proxy"))
		proxy(atoi(argv[2]), argv[3], atoi(argv[4]), argv[5]);
	else
		errx(2, "serve, call, stream, halves, calls or proxy");
	return 0;
}
