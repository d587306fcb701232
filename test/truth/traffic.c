// SPDX-License-Identifier: Apache-2.0
/*
 * Scripted TCP connections whose bytes and exchanges are known exactly. Prints one JSON line for
 * each end of each connection, as the application at that end saw it:
 *
 *   {"scenario":"keepalive","role":"client","local":"10.77.0.1","local_port":41234,
 *    "remote":"10.77.0.2","remote_port":8101,"sent":100000,"received":3000000,
 *    "exchanges":1000,"duration_ns":51234567}
 *
 * sent and received are what the system calls returned; exchanges and duration_ns follow the
 * definition: a client's last send to its first receive after it, a server's last receive to its
 * first send after it. Each scenario has a server port of its own: 8101, 8102, and so on.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FIRST_PORT 8101
#define MIB	   (1 << 20)
#define PIECE	   (64 << 10)
/* A scenario that takes longer hangs. */
#define PATIENCE_S 120

static const char *at_work = "start"; /* the scenario and role, for messages */
static double scale = 1;

__attribute__((noreturn)) static void die(const char *step)
{
	fprintf(stderr, "traffic: %s: cannot %s: %s\n", at_work, step, strerror(errno));
	exit(1);
}

static void pause_ms(int ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000L};

	while (nanosleep(&left, &left) != 0)
		;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* One end of a connection and what it did. */
struct end {
	int fd;
	bool client;
	enum { NOTHING, SENT, RECEIVED } last;
	uint64_t last_at; /* start of the last send, or return of the last receive */
	uint64_t sent, received, exchanges, duration_ns;
	struct sockaddr_storage local, remote;
};

static void note_sent(struct end *end, uint64_t began, ssize_t bytes)
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

static void note_received(struct end *end, ssize_t bytes)
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

static char *payload; /* as large as the largest write */
static size_t payload_size;

/* put: one write; the kernel may take it in parts. */
static void put(struct end *end, size_t bytes)
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

/* get: exactly so many bytes, as they come. */
static void get(struct end *end, size_t bytes)
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

/* get_end: nothing more comes; the peer has closed its half (0) or reset (an error number). */
static void get_end(struct end *end, int expected)
{
	char byte;
	ssize_t n = read(end->fd, &byte, 1);

	if (n > 0)
		errno = EBADMSG;
	if (n > 0 || (n == 0 ? 0 : errno) != expected)
		die("read the end");
}

static void close_write(struct end *end)
{
	if (shutdown(end->fd, SHUT_WR) != 0)
		die("shut down");
}

static void reset_at_close(struct end *end)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	if (setsockopt(end->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) != 0)
		die("set SO_LINGER");
}

struct scenario {
	const char *name;
	int family;
	int connections;
	int rounds;
	size_t request, answer;
	int serve_ms, think_ms;
	void (*client)(struct end *, const struct scenario *);
	void (*server)(struct end *, const struct scenario *);
};

static void ask(struct end *end, const struct scenario *s)
{
	for (int i = 0; i < s->rounds; i++) {
		if (i > 0 && s->think_ms)
			pause_ms(s->think_ms);
		put(end, s->request);
		get(end, s->answer);
	}
}

static void answer(struct end *end, const struct scenario *s)
{
	for (int i = 0; i < s->rounds; i++) {
		get(end, s->request);
		if (s->serve_ms)
			pause_ms(s->serve_ms);
		put(end, s->answer);
	}
}

/* The server's first word is no exchange. */
static void ask_greeted(struct end *end, const struct scenario *s)
{
	get(end, s->answer);
	ask(end, s);
}

static void greet(struct end *end, const struct scenario *s)
{
	put(end, s->answer);
	answer(end, s);
}

/* The client waits for the server's FIN, which is not a byte, nor the answer to anything. */
static void upload(struct end *end, const struct scenario *s)
{
	for (size_t left = s->request; left > 0;) {
		size_t piece = left < PIECE ? left : PIECE;

		put(end, piece);
		left -= piece;
	}
	close_write(end);
	get_end(end, 0);
}

static void take(struct end *end, const struct scenario *s)
{
	get(end, s->request);
	get_end(end, 0);
}

static void download(struct end *end, const struct scenario *s)
{
	get(end, s->answer);
	get_end(end, 0);
}

static void give(struct end *end, const struct scenario *s)
{
	put(end, s->answer);
}

/* The reader comes late, so that the writer's one large call blocks. */
static void answer_late(struct end *end, const struct scenario *s)
{
	pause_ms(200);
	answer(end, s);
}

static void ask_in_parts(struct end *end, const struct scenario *s)
{
	struct pollfd writable = {.fd = end->fd, .events = POLLOUT};

	for (size_t left = s->request; left > 0;) {
		uint64_t began = now();
		ssize_t n = send(end->fd, payload, left, MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN)
			die("send");
		note_sent(end, began, n);
		if (n > 0)
			left -= n;
		else if (poll(&writable, 1, -1) < 0)
			die("poll");
	}
	get(end, s->answer);
}

static void ask_half_closed(struct end *end, const struct scenario *s)
{
	put(end, s->request);
	close_write(end);
	get(end, s->answer);
	get_end(end, 0);
}

static void answer_half_closed(struct end *end, const struct scenario *s)
{
	get(end, s->request);
	get_end(end, 0);
	put(end, s->answer);
}

/* What the server has not read when it closes makes its kernel send a reset. */
static void ask_in_vain(struct end *end, const struct scenario *s)
{
	put(end, s->request);
	get_end(end, ECONNRESET);
}

static void leave_unread(struct end *end, const struct scenario *s)
{
	get(end, s->request / 2);
}

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

static void ask_by_sendfile(struct end *end, const struct scenario *s)
{
	int file = memfd_create("request", 0);

	if (file < 0 || ftruncate(file, s->request) != 0)
		die("make a file");
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

static void ask_by_zerocopy(struct end *end, const struct scenario *s)
{
	int one = 1;

	if (setsockopt(end->fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)) != 0)
		die("set SO_ZEROCOPY");
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

static void answer_after_nothing(struct end *end, const struct scenario *s)
{
	for (int i = 0; i < s->rounds; i++) {
		get(end, s->request);
		if (send(end->fd, payload, 0, 0) != 0)
			die("send nothing");
		put(end, s->answer);
	}
}

static void ask_then_reset(struct end *end, const struct scenario *s)
{
	ask(end, s);
	reset_at_close(end);
}

static void answer_until_reset(struct end *end, const struct scenario *s)
{
	answer(end, s);
	get_end(end, ECONNRESET);
}

static void send_then_reset(struct end *end, const struct scenario *s)
{
	put(end, s->request);
	reset_at_close(end);
}

/* The reset is there before the data is read, and the socket closed already. */
static void read_after_reset(struct end *end, const struct scenario *s)
{
	struct pollfd reset = {.fd = end->fd};

	if (poll(&reset, 1, -1) < 0)
		die("poll");
	get(end, s->request);
}

/* What is many (100 and more) or large (a MiB and more) follows --scale. A scenario without a
 * server is refused: nobody listens on its port, and its client has no address to tell. */
static struct scenario scenarios[] = {
	{.name = "keepalive",
	 .rounds = 1000,
	 .request = 100,
	 .answer = 3000,
	 .client = ask,
	 .server = answer},
	{.name = "ipv6",
	 .family = AF_INET6,
	 .rounds = 200,
	 .request = 333,
	 .answer = 777,
	 .client = ask,
	 .server = answer},
	{.name = "short",
	 .connections = 200,
	 .request = 100,
	 .answer = 1000,
	 .client = ask,
	 .server = answer},
	{.name = "upload", .request = 4 * MIB + 1, .client = upload, .server = take},
	{.name = "download", .answer = 4 * MIB + 1, .client = download, .server = give},
	{.name = "large",
	 .request = 8 * MIB,
	 .answer = 8 * MIB,
	 .client = ask,
	 .server = answer_late},
	{.name = "partial",
	 .request = 8 * MIB,
	 .answer = 10,
	 .client = ask_in_parts,
	 .server = answer_late},
	{.name = "half-close",
	 .request = 1000,
	 .answer = 5000,
	 .client = ask_half_closed,
	 .server = answer_half_closed},
	{.name = "unread", .request = 1000, .client = ask_in_vain, .server = leave_unread},
	{.name = "peek",
	 .rounds = 10,
	 .request = 1000,
	 .answer = 500,
	 .client = ask_peeking,
	 .server = answer_peeking},
	{.name = "sendfile",
	 .request = 2 * MIB + 77,
	 .answer = 20,
	 .client = ask_by_sendfile,
	 .server = answer},
	{.name = "zerocopy",
	 .request = MIB + 99,
	 .answer = 20,
	 .client = ask_by_zerocopy,
	 .server = answer},
	{.name = "splice",
	 .request = MIB + 33,
	 .answer = 20,
	 .client = ask,
	 .server = answer_by_splice},
	{.name = "discard",
	 .rounds = 5,
	 .request = 2000,
	 .answer = 20,
	 .client = ask,
	 .server = answer_discarding},
	{.name = "slow",
	 .rounds = 100,
	 .request = 50,
	 .answer = 50,
	 .serve_ms = 20,
	 .client = ask,
	 .server = answer},
	{.name = "thinking",
	 .rounds = 4,
	 .request = 50,
	 .answer = 50,
	 .think_ms = 1000,
	 .client = ask,
	 .server = answer},
	{.name = "greeting",
	 .rounds = 5,
	 .request = 60,
	 .answer = 70,
	 .client = ask_greeted,
	 .server = greet},
	{.name = "empty",
	 .rounds = 5,
	 .request = 10,
	 .answer = 10,
	 .client = ask,
	 .server = answer_after_nothing},
	{.name = "reset",
	 .rounds = 3,
	 .request = 40,
	 .answer = 4000,
	 .client = ask_then_reset,
	 .server = answer_until_reset},
	{.name = "late-read",
	 .request = 1000,
	 .client = send_then_reset,
	 .server = read_after_reset},
	{.name = "refused", .client = ask},
};

#define COUNT (sizeof(scenarios) / sizeof(scenarios[0]))

static long scaled(long n, long from)
{
	long less = n * scale;

	return n < from ? n : less > 0 ? less : 1;
}

static void complete(struct scenario *s)
{
	s->family = s->family ? s->family : AF_INET;
	s->connections = scaled(s->connections ? s->connections : 1, 100);
	s->rounds = scaled(s->rounds ? s->rounds : 1, 100);
	s->request = scaled(s->request, MIB);
	s->answer = scaled(s->answer, MIB);
	payload_size = s->request > payload_size ? s->request : payload_size;
	payload_size = s->answer > payload_size ? s->answer : payload_size;
}

static struct sockaddr_storage address(const char *ip, int family, int port, socklen_t *length)
{
	struct sockaddr_storage result = {.ss_family = family};
	struct sockaddr_in *v4 = (void *)&result;
	struct sockaddr_in6 *v6 = (void *)&result;
	bool is6 = family == AF_INET6;

	if (inet_pton(family, ip, is6 ? (void *)&v6->sin6_addr : (void *)&v4->sin_addr) != 1) {
		fprintf(stderr, "traffic: %s is no IPv%d address\n", ip, is6 ? 6 : 4);
		exit(2);
	}
	if (is6)
		v6->sin6_port = htons(port);
	else
		v4->sin_port = htons(port);
	*length = is6 ? sizeof(*v6) : sizeof(*v4);
	return result;
}

static void enter(const char *namespace)
{
	char path[256];
	int fd;

	if (namespace == NULL)
		return;
	snprintf(path, sizeof(path), "/run/netns/%s", namespace);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
		die("enter the network namespace");
	close(fd);
}

static void tell(const struct end *end, const struct scenario *s)
{
	char local[64], local_port[8], remote[64], remote_port[8], line[512];
	int length;

	getnameinfo((const void *)&end->local, sizeof(end->local), local, sizeof(local), local_port,
		    sizeof(local_port), NI_NUMERICHOST | NI_NUMERICSERV);
	getnameinfo((const void *)&end->remote, sizeof(end->remote), remote, sizeof(remote),
		    remote_port, sizeof(remote_port), NI_NUMERICHOST | NI_NUMERICSERV);
	length = snprintf(line, sizeof(line),
			  "{\"scenario\":\"%s\",\"role\":\"%s\",\"local\":\"%s\",\"local_port\":%s,"
			  "\"remote\":\"%s\",\"remote_port\":%s,\"sent\":%llu,\"received\":%llu,"
			  "\"exchanges\":%llu,\"duration_ns\":%llu}\n",
			  s->name, end->client ? "client" : "server", local, local_port, remote,
			  remote_port, (unsigned long long)end->sent,
			  (unsigned long long)end->received, (unsigned long long)end->exchanges,
			  (unsigned long long)end->duration_ns);
	/* One write: lines of two processes must not mix. */
	if (write(STDOUT_FILENO, line, length) != length)
		die("print");
}

static void run_client(const struct scenario *s, const char *ip, int port)
{
	for (int i = 0; i < s->connections; i++) {
		struct end end = {.client = true};
		socklen_t length, local_length = sizeof(end.local);
		bool refused;

		end.remote = address(ip, s->family, port, &length);
		end.fd = socket(s->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (end.fd < 0)
			die("make a socket");
		refused = connect(end.fd, (void *)&end.remote, length) != 0;
		if (refused && (s->server != NULL || errno != ECONNREFUSED))
			die("connect");
		getsockname(end.fd, (void *)&end.local, &local_length);
		if (!refused)
			s->client(&end, s);
		close(end.fd);
		tell(&end, s);
	}
}

static void run_server(const struct scenario *s, const char *ip, int port, int ready)
{
	int listener = socket(s->family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	socklen_t length;
	struct sockaddr_storage here = address(ip, s->family, port, &length);

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (void *)&here, length) != 0 || listen(listener, 16) != 0)
		die("listen");
	close(ready);
	for (int i = 0; i < s->connections; i++) {
		struct end end = {.client = false};
		socklen_t remote_length = sizeof(end.remote), local_length = sizeof(end.local);

		end.fd = accept4(listener, (void *)&end.remote, &remote_length, SOCK_CLOEXEC);
		if (end.fd < 0)
			die("accept");
		getsockname(end.fd, (void *)&end.local, &local_length);
		s->server(&end, s);
		close(end.fd);
		tell(&end, s);
	}
}

static bool start(const struct scenario *s, const char *role, const char *namespace)
{
	static char name[64];

	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (child > 0)
		return false;
	snprintf(name, sizeof(name), "%s %s", s->name, role);
	at_work = name;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(PATIENCE_S);
	enter(namespace);
	return true;
}

/* All children of a scenario end well, or all end. */
static void finish(const struct scenario *s)
{
	int status;

	while (wait(&status) > 0) {
		if (status == 0)
			continue;
		fprintf(stderr, "traffic: %s failed%s\n", s->name,
			WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ": it hung" : "");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"client-ns", required_argument, NULL, 'c'},
		{"server-ns", required_argument, NULL, 's'},
		{"ipv4", required_argument, NULL, '4'},
		{"ipv6", required_argument, NULL, '6'},
		{"scale", required_argument, NULL, 'x'},
		{"only", required_argument, NULL, 'o'},
		{0},
	};
	const char *client_ns = NULL, *server_ns = NULL, *ipv4 = "127.0.0.1", *ipv6 = "::1",
		   *only = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			client_ns = optarg;
			break;
		case 's':
			server_ns = optarg;
			break;
		case '4':
			ipv4 = optarg;
			break;
		case '6':
			ipv6 = optarg;
			break;
		case 'x':
			scale = atof(optarg);
			break;
		case 'o':
			only = optarg;
			break;
		default:
			fprintf(stderr, "usage: traffic [--client-ns NAME] [--server-ns NAME] "
					"[--ipv4 SERVER] "
					"[--ipv6 SERVER] [--scale FACTOR] [--only SCENARIO]\n");
			return 2;
		}
	}
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < COUNT; i++)
		complete(&scenarios[i]);
	payload = calloc(1, payload_size);
	if (payload == NULL)
		die("allocate");

	for (size_t i = 0; i < COUNT; i++) {
		const struct scenario *s = &scenarios[i];
		const char *ip = s->family == AF_INET6 ? ipv6 : ipv4;
		int ready[2];
		char byte;

		if (only != NULL && strcmp(only, s->name) != 0)
			continue;
		if (s->server != NULL) {
			if (pipe2(ready, O_CLOEXEC) != 0)
				die("make a pipe");
			if (start(s, "server", server_ns)) {
				close(ready[0]);
				run_server(s, ip, FIRST_PORT + i, ready[1]);
				return 0;
			}
			/* The server closes its end once it listens. */
			close(ready[1]);
			if (read(ready[0], &byte, 1) != 0)
				die("wait for the server");
			close(ready[0]);
		}
		if (start(s, "client", client_ns)) {
			run_client(s, ip, FIRST_PORT + i);
			return 0;
		}
		finish(s);
	}
	return 0;
}
