// SPDX-License-Identifier: Apache-2.0
/*
 * Connections in any number, both ends here, over the loopback of network namespaces of its own.
 * Does what lines on its standard input say, and answers each with one line of numbers:
 *
 *   namespace: goes on in a new network namespace; answers its inode
 *   open N: opens N connections; answers how many there are now
 *   move FROM TO STEP ASK REPLY: on each STEP-th connection of FROM to TO - 1, the client sends ASK
 *     bytes, the server reads them and sends REPLY, the client reads those; answers on how many
 *   close FROM TO: closes connections FROM to TO - 1; answers how many
 *   churn N ASK REPLY: opens, moves and closes N connections, one after the other
 *   peek: a client sends 10 bytes; 20 come back, which it looks at after 10 more and reads after
 *     another 10; answers 1
 *   block: a server reads 1 byte and sends until its buffer is full, reads 1 and can send nothing,
 *     reads 1; answers what it has sent
 *   refuse N: connects N times to a port at which nobody listens; answers N
 *   reconnect ASK REPLY: moves on one socket, disconnects it, connects it again and moves;
 *     answers 1
 *   knock N: N clients knock at a listener that has no room; answers how many still connect
 *   admit: makes room and accepts them all; answers how many connections there are now
 *   stream: sends on all connections at once, the even ones in bulk, the odd ones in ping-pong;
 *     answers how many
 *   halt: ends that; answers what each client has sent and received
 *   talk ASK REPLY PAUSE: asks and answers on all connections at once, and writes down each
 *     call; the first client pauses for PAUSE us after each answer, the next for twice as long;
 *     answers how many
 *   hush: ends that after the next answer; answers how many
 *   by PORT TIME: what had been moved, by that boot time in ns, on the connection whose client
 *     has that port: bytes sent by the client, read by it, sent by the server, read by it, each
 *     at least and at most, which differ where a call was under way
 *   pour I BYTES: the client of connection I sends so many, the server reads them; answers 1
 *
 * Nothing is left unread. The bytes of a move fit into the sockets' buffers.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PORT	    8200
#define PER_ADDRESS 20000 /* of some 28,000 ephemeral ports */
#define ADDRESSES   250
#define BULK	    (256 << 10)
#define PING	    1400

__attribute__((noreturn)) static void die(const char *step)
{
	fprintf(stderr, "sockets: cannot %s: %s\n", step, strerror(errno));
	exit(1);
}

static struct pair {
	int client, server;
} * pairs;
static size_t count;

static int listeners[ADDRESSES]; /* of this namespace, -1 where there is none yet */
static size_t made;		 /* connections in this namespace */

static void namespace(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	struct stat inode;
	int fd;

	if (unshare(CLONE_NEWNET) != 0)
		die("make a network namespace");
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) != 0)
		die("set lo up");
	close(fd);
	for (int i = 0; i < ADDRESSES; i++)
		listeners[i] = -1;
	made = 0;
	if (stat("/proc/thread-self/ns/net", &inode) != 0)
		die("look at the namespace");
	printf("%lu\n", (unsigned long)inode.st_ino);
}

static int listen_at(const struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (const void *)address, sizeof(*address)) != 0 || listen(fd, 16) != 0)
		die("listen");
	return fd;
}

static struct pair make(void)
{
	size_t i = made++ / PER_ADDRESS % ADDRESSES;
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(PORT),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK + i)};
	struct pair pair;

	if (listeners[i] < 0)
		listeners[i] = listen_at(&address);
	pair.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (pair.client < 0 || connect(pair.client, (void *)&address, sizeof(address)) != 0)
		die("connect");
	pair.server = accept4(listeners[i], NULL, NULL, SOCK_CLOEXEC);
	if (pair.server < 0)
		die("accept");
	return pair;
}

static char buffer[1 << 20];

static void put(int fd, size_t bytes)
{
	if (bytes > sizeof(buffer))
		errno = EMSGSIZE;
	if (bytes > sizeof(buffer) || write(fd, buffer, bytes) != (ssize_t)bytes)
		die("write");
}

static void get(int fd, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = read(fd, buffer, bytes);

		if (n <= 0)
			die("read");
		bytes -= n;
	}
}

static void pass(int from, int to, size_t bytes)
{
	put(from, bytes);
	get(to, bytes);
}

static void move(struct pair pair, size_t ask, size_t reply)
{
	if (ask > 0)
		pass(pair.client, pair.server, ask);
	if (reply > 0)
		pass(pair.server, pair.client, reply);
}

static void close_pair(struct pair pair)
{
	close(pair.client);
	close(pair.server);
}

static void peek(void)
{
	struct pair pair = make();

	pass(pair.client, pair.server, 10);
	put(pair.server, 20);
	put(pair.client, 10);
	if (recv(pair.client, buffer, 20, MSG_PEEK | MSG_WAITALL) != 20)
		die("peek");
	put(pair.client, 10);
	get(pair.server, 20);
	get(pair.client, 20);
	pairs[count++] = pair;
}

/* fill: what a socket takes until it takes nothing more. */
static size_t fill(int fd)
{
	size_t sent = 0;
	ssize_t n;

	while ((n = send(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0)
		sent += n;
	if (errno != EAGAIN)
		die("fill the buffer");
	return sent;
}

static size_t block(void)
{
	struct pair pair = make();
	size_t sent = 0, more;

	pass(pair.client, pair.server, 1);
	do {
		sent += more = fill(pair.server);
		usleep(50000); /* what is on its way arrives, and makes room */
	} while (more > 0);
	pass(pair.client, pair.server, 1);
	if (fill(pair.server) != 0)
		die("block");
	pass(pair.client, pair.server, 1);
	pairs[count++] = pair;
	return sent;
}

static void refuse(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(PORT + 1),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (void *)&address, sizeof(address)) == 0 || errno != ECONNREFUSED)
		die("be refused");
	close(fd);
}

static void reconnect(size_t ask, size_t reply)
{
	struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	struct pair pair = make();

	move(pair, ask, reply);
	if (getpeername(pair.client, (void *)&address, &length) != 0 ||
	    connect(pair.client, &nowhere, sizeof(nowhere)) != 0)
		die("disconnect");
	close(pair.server);
	if (connect(pair.client, (void *)&address, sizeof(address)) != 0)
		die("connect again");
	pair.server = accept4(listeners[0], NULL, NULL, SOCK_CLOEXEC);
	if (pair.server < 0)
		die("accept again");
	move(pair, ask, reply);
	pairs[count++] = pair;
}

static int door;
static size_t knocking;

/* One connection fits into a backlog of 0; the others' SYNs are dropped, and sent again. */
static void knock(size_t n)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(PORT + 2),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	size_t connecting = 0;

	door = listen_at(&address);
	if (listen(door, 0) != 0)
		die("leave no room");
	knocking = n;
	for (size_t i = 0; i < n; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		if (fd < 0 || connect(fd, (void *)&address, sizeof(address)) == 0 ||
		    errno != EINPROGRESS)
			die("knock");
		pairs[count + i].client = fd;
	}
	usleep(50000);
	for (size_t i = 0; i < n; i++) {
		struct pollfd connected = {.fd = pairs[count + i].client, .events = POLLOUT};

		connecting += poll(&connected, 1, 0) == 0;
	}
	printf("%zu\n", connecting);
}

static unsigned short port_of(int fd)
{
	struct sockaddr_in own;
	socklen_t length = sizeof(own);

	if (getsockname(fd, (void *)&own, &length) != 0)
		die("tell a port");
	return ntohs(own.sin_port);
}

static void admit(void)
{
	if (listen(door, 16) != 0)
		die("make room");
	for (size_t i = 0; i < knocking; i++) {
		struct sockaddr_in peer;
		socklen_t length = sizeof(peer);
		int fd = accept4(door, (void *)&peer, &length, SOCK_CLOEXEC);

		if (fd < 0)
			die("admit");
		for (size_t k = count; k < count + knocking; k++) {
			if (port_of(pairs[k].client) == ntohs(peer.sin_port))
				pairs[k].server = fd;
		}
	}
	for (; knocking > 0; knocking--, count++)
		fcntl(pairs[count].client, F_SETFL, 0);
	printf("%zu\n", count);
}

struct stream {
	struct pair pair;
	bool bulk;
	uint64_t sent, received;
	pthread_t client, server;
};

static atomic_bool over;

static void *stream_client(void *argument)
{
	struct stream *stream = argument;
	char *buffer = calloc(1, BULK);

	while (!over) {
		size_t size = stream->bulk ? BULK : PING, back = stream->bulk ? 0 : PING;

		if (write(stream->pair.client, buffer, size) != (ssize_t)size)
			die("stream");
		stream->sent += size;
		while (back > 0) {
			ssize_t n = read(stream->pair.client, buffer, back);

			if (n <= 0)
				die("read the stream");
			stream->received += n;
			back -= n;
		}
	}
	shutdown(stream->pair.client, SHUT_WR);
	free(buffer);
	return NULL;
}

static void *stream_server(void *argument)
{
	struct stream *stream = argument;
	char *buffer = calloc(1, BULK);
	ssize_t n;

	while ((n = read(stream->pair.server, buffer, BULK)) > 0) {
		if (!stream->bulk && write(stream->pair.server, buffer, n) != n)
			die("answer the stream");
	}
	if (n < 0)
		die("read the stream");
	free(buffer);
	return NULL;
}

static struct stream *streams;

static void stream(void)
{
	streams = calloc(count, sizeof(*streams));
	over = false;
	for (size_t i = 0; i < count; i++) {
		streams[i].pair = pairs[i];
		streams[i].bulk = i % 2 == 0;
		if (pthread_create(&streams[i].client, NULL, stream_client, &streams[i]) != 0 ||
		    pthread_create(&streams[i].server, NULL, stream_server, &streams[i]) != 0)
			die("start a thread");
	}
	printf("%zu\n", count);
}

static void halt(void)
{
	over = true;
	for (size_t i = 0; i < count; i++) {
		pthread_join(streams[i].client, NULL);
		pthread_join(streams[i].server, NULL);
		printf("%s%llu %llu", i ? " " : "", (unsigned long long)streams[i].sent,
		       (unsigned long long)streams[i].received);
	}
	printf("\n");
	free(streams);
}

/* One end's calls in one direction, with the bytes moved in all when each had returned. */
struct book {
	struct call {
		uint64_t began, returned, total;
	} * calls;
	size_t count, room;
};

struct talk {
	struct pair pair;
	size_t ask, reply;
	useconds_t pause;
	struct book books[4]; /* in the order in which `by` tells of them */
	pthread_t client, server;
};

static struct talk *talks;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* Small enough to move by one call, and at once: half of a call is never seen. */
static void write_down(struct book *book, ssize_t (*move)(int, size_t), int fd, size_t bytes)
{
	struct call call = {.began = now()};

	if (move(fd, bytes) != (ssize_t)bytes)
		die("talk");
	call.returned = now();
	call.total = bytes + (book->count ? book->calls[book->count - 1].total : 0);
	if (book->count == book->room) {
		book->room = book->room ? 2 * book->room : 1024;
		book->calls = realloc(book->calls, book->room * sizeof(call));
		if (book->calls == NULL)
			die("allocate");
	}
	book->calls[book->count++] = call;
}

static ssize_t write_once(int fd, size_t bytes)
{
	return write(fd, buffer, bytes);
}

static ssize_t read_once(int fd, size_t bytes)
{
	char message[bytes];

	return read(fd, message, bytes);
}

/* The wait for a message is no part of the call that reads it. */
static bool message_comes(int fd)
{
	struct pollfd awaited = {.fd = fd, .events = POLLIN | POLLRDHUP};

	return poll(&awaited, 1, -1) == 1 && !(awaited.revents & POLLRDHUP);
}

static void *talk_client(void *argument)
{
	struct talk *talk = argument;

	while (!over) {
		write_down(&talk->books[0], write_once, talk->pair.client, talk->ask);
		if (message_comes(talk->pair.client))
			write_down(&talk->books[1], read_once, talk->pair.client, talk->reply);
		usleep(talk->pause);
	}
	shutdown(talk->pair.client, SHUT_WR);
	return NULL;
}

static void *talk_server(void *argument)
{
	struct talk *talk = argument;

	while (message_comes(talk->pair.server)) {
		write_down(&talk->books[3], read_once, talk->pair.server, talk->ask);
		write_down(&talk->books[2], write_once, talk->pair.server, talk->reply);
	}
	return NULL;
}

static void talk(size_t ask, size_t reply, size_t pause)
{
	talks = calloc(count, sizeof(*talks));
	over = false;
	for (size_t i = 0; i < count; i++, pause *= 2) {
		talks[i] = (struct talk){pairs[i], ask, reply, pause, .client = 0};
		if (pthread_create(&talks[i].client, NULL, talk_client, &talks[i]) != 0 ||
		    pthread_create(&talks[i].server, NULL, talk_server, &talks[i]) != 0)
			die("start a thread");
	}
	printf("%zu\n", count);
}

static void hush(void)
{
	over = true;
	for (size_t i = 0; i < count; i++) {
		pthread_join(talks[i].client, NULL);
		pthread_join(talks[i].server, NULL);
	}
	printf("%zu\n", count);
}

/* Between the kernel's look at a clock and at its sums there may be so many ns; much less than a
 * client's pause. */
#define LOOK 2000

static void by(unsigned short port, uint64_t time)
{
	size_t i = 0;

	while (i < count && port_of(pairs[i].client) != port)
		i++;
	if (i == count)
		die("find the port");
	for (int b = 0; b < 4; b++) {
		const struct book *book = &talks[i].books[b];
		uint64_t least = 0, most = 0;

		for (size_t c = 0; c < book->count; c++) {
			if (book->calls[c].returned + LOOK <= time)
				least = book->calls[c].total;
			if (book->calls[c].began <= time + LOOK)
				most = book->calls[c].total;
		}
		printf("%s%llu %llu", b ? " " : "", (unsigned long long)least,
		       (unsigned long long)most);
	}
	printf("\n");
}

struct pour {
	int fd;
	size_t bytes;
};

static void *pour_in(void *argument)
{
	const struct pour *pour = argument;

	for (size_t left = pour->bytes; left > 0;) {
		size_t piece = left < sizeof(buffer) ? left : sizeof(buffer);

		put(pour->fd, piece);
		left -= piece;
	}
	return NULL;
}

static void pour(struct pair pair, size_t bytes)
{
	struct pour in = {pair.client, bytes};
	pthread_t client;

	if (pthread_create(&client, NULL, pour_in, &in) != 0)
		die("start a thread");
	while (bytes > 0) {
		size_t piece = bytes < sizeof(buffer) ? bytes : sizeof(buffer);
		ssize_t n = recv(pair.server, NULL, piece, MSG_TRUNC); /* read unseen */

		if (n <= 0)
			die("swallow");
		bytes -= n;
	}
	pthread_join(client, NULL);
}

int main(void)
{
	struct rlimit files;
	char line[128];

	/* As many as this machine allows; who wants more starts more of these. */
	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		die("ask for the limit on files");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) != 0)
		die("raise the limit on files");
	pairs = calloc(files.rlim_max / 2, sizeof(*pairs));
	if (pairs == NULL)
		die("allocate");
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		size_t n, from, to, step, ask, reply, done = 0;

		if (strcmp(line, "namespace\n") == 0) {
			namespace();
		} else if (sscanf(line, "open %zu", &n) == 1) {
			while (n-- > 0)
				pairs[count++] = make();
			printf("%zu\n", count);
		} else if (sscanf(line, "move %zu %zu %zu %zu %zu", &from, &to, &step, &ask,
				  &reply) == 5) {
			for (size_t i = from; i < to && i < count; i += step, done++)
				move(pairs[i], ask, reply);
			printf("%zu\n", done);
		} else if (sscanf(line, "close %zu %zu", &from, &to) == 2) {
			for (size_t i = from; i < to && i < count; i++, done++)
				close_pair(pairs[i]);
			printf("%zu\n", done);
		} else if (sscanf(line, "churn %zu %zu %zu", &n, &ask, &reply) == 3) {
			for (; done < n; done++) {
				struct pair pair = make();

				move(pair, ask, reply);
				close_pair(pair);
			}
			printf("%zu\n", done);
		} else if (strcmp(line, "peek\n") == 0) {
			peek();
			printf("1\n");
		} else if (strcmp(line, "block\n") == 0) {
			printf("%zu\n", block());
		} else if (sscanf(line, "refuse %zu", &n) == 1) {
			for (; done < n; done++)
				refuse();
			printf("%zu\n", done);
		} else if (sscanf(line, "reconnect %zu %zu", &ask, &reply) == 2) {
			reconnect(ask, reply);
			printf("1\n");
		} else if (sscanf(line, "knock %zu", &n) == 1) {
			knock(n);
		} else if (strcmp(line, "admit\n") == 0) {
			admit();
		} else if (strcmp(line, "stream\n") == 0) {
			stream();
		} else if (strcmp(line, "halt\n") == 0) {
			halt();
		} else if (sscanf(line, "talk %zu %zu %zu", &ask, &reply, &step) == 3) {
			talk(ask, reply, step);
		} else if (strcmp(line, "hush\n") == 0) {
			hush();
		} else if (sscanf(line, "by %zu %zu", &n, &to) == 2) {
			by(n, to);
		} else if (sscanf(line, "pour %zu %zu", &n, &to) == 2) {
			pour(pairs[n], to);
			printf("1\n");
		} else {
			fprintf(stderr, "sockets: what is this? %s", line);
			return 2;
		}
	}
	return 0;
}
