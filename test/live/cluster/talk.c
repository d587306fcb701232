/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Connections of known size, as servers, clients and proxies have them:
 *   talk serve PORT...                  answers each connection with as many bytes as it asks for
 *   talk call ADDRESS PORT SEND RECEIVE sends so many bytes, which say how many it wants back
 *   talk halves SOURCE ADDRESS PORT SEND RECEIVE
 *                                       sends the second half after a line on its input
 *   talk calls                          calls for each line of its input, as halves is told
 *   talk proxy PORT ADDRESS TO [SOURCE] hands what comes to PORT on to TO, from the address SOURCE
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char bytes[1 << 16];

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

static void answer(int listener)
{
	int fd = accept(listener, NULL, NULL);
	uint32_t wish[2];

	if (fd < 0 || recv(fd, wish, sizeof(wish), MSG_WAITALL) != sizeof(wish))
		err(1, "accept");
	receive_all(fd, wish[0] - sizeof(wish));
	send_all(fd, bytes, wish[1]);
	receive_all(fd, recv(fd, bytes, 1, 0)); /* until it closes */
	close(fd);
}

static void serve(int count, char **ports)
{
	struct pollfd listeners[16];

	for (int i = 0; i < count; i++)
		listeners[i] = (struct pollfd){.fd = listen_at(atoi(ports[i])), .events = POLLIN};
	tell("ready");
	while (poll(listeners, count, -1) > 0) {
		for (int i = 0; i < count; i++) {
			if (listeners[i].revents)
				answer(listeners[i].fd);
		}
	}
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
	if (argc > 2 && !strcmp(argv[1], "serve"))
		serve(argc - 2, argv + 2);
	else if (argc == 6 && !strcmp(argv[1], "call"))
		call(NULL, argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]), 0);
	else if (argc == 7 && !strcmp(argv[1], "halves"))
		call(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]), atoi(argv[6]), 1);
	else if (argc == 2 && !strcmp(argv[1], "calls"))
		calls();
	else if (argc >= 5 && !strcmp(argv[1], "proxy"))
		proxy(atoi(argv[2]), argv[3], atoi(argv[4]), argv[5]);
	else
		errx(2, "serve, call, halves, calls or proxy");
	return 0;
}
