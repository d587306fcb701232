/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * A program of the shop: it serves, calls and hands on, and keeps account of what it did on its
 * sockets. What it does stands in its environment, in words:
 *
 * SERVE: PORT answers each request with as many bytes as it asks for.
 *
 * CALL: HOST:PORT:SEND:RECEIVE:EVERY[:fresh] asks every so many milliseconds (0: once, and then
 * ends), over one connection, or over a fresh one each time.
 *
 * PROXY: PORT[@SOURCE] hands a redirected connection on to where it was meant to go.
 *
 * Its account is a file in FOLDER: a line that says who it is, and a line for each kind of
 * connection. A line has WIDTH bytes and is written after each call of the socket API that changed
 * it, so the file is true even of a killed process. While there is a file FOLDER/rest, nobody
 * begins a call.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter_ipv4.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	WIDTH = 512,
	WORD = 88,
	MOST = 256,	/* kinds of connections */
	PATIENCE_S = 2, /* for a connect, an answer */
	PART = 1 << 16, /* bytes of a call of the socket API */
	LARGEST = 1 << 20,
};

/* The first bytes of a request and of an answer: each side tells the other who it is. */
struct head {
	char mark[4]; /* MARK */
	uint32_t length;
	uint32_t wish; /* the answer's length */
	char who[WORD];
};

static const char MARK[4] = "shop";

/* What was done on all connections of one kind. */
struct tally {
	char role[8];
	char peer[WORD];   /* NAMESPACE/POD; "probe"; "-" where it has not said */
	char target[WORD]; /* the server as it was called, or "-" */
	int port;	   /* of the server */
	unsigned long sent, received, requests, connections, failures;
};

static char folder[WORD], me[WORD];
static int account;
static struct tally tallies[MOST];
static int tally_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile int ended;
/* Connections that are not closed, and booked, yet. */
static int open_ends;

static const char *given(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value ? value : otherwise;
}

__attribute__((format(printf, 2, 3))) static void write_line(int number, const char *format, ...)
{
	char line[WIDTH + 1];
	va_list with;
	int length;

	va_start(with, format);
	length = vsnprintf(line, WIDTH, format, with);
	va_end(with);
	if (length >= WIDTH)
		errx(1, "a line of %d bytes", length);
	memset(line + length, ' ', WIDTH - 1 - length);
	line[WIDTH - 1] = '\n';
	if (pwrite(account, line, WIDTH, (off_t)number * WIDTH) != WIDTH)
		err(1, "write the account");
}

static void open_account(void)
{
	char file[4 * WORD];

	snprintf(folder, sizeof(folder), "%s", given("FOLDER", "/var/shop"));
	snprintf(me, sizeof(me), "%s/%s", given("NAMESPACE", "-"), given("POD", "-"));
	snprintf(file, sizeof(file), "%s/%s.%s.%s.%ld", folder, given("NAMESPACE", "-"),
		 given("POD", "-"), getenv("PROXY") ? "proxy" : "shop", (long)time(NULL));
	account = open(file, O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (account < 0)
		err(1, "%s", file);
	write_line(0,
		   "{\"namespace\":\"%s\",\"pod\":\"%s\",\"workload\":\"%s\",\"kind\":\"%s\","
		   "\"node\":\"%s\"}",
		   given("NAMESPACE", ""), given("POD", ""), given("WORKLOAD", ""),
		   given("KIND", ""), given("NODE", ""));
}

/* Adds to the tally of that kind. */
static void book(const struct tally *more)
{
	struct tally *t;
	int i = 0;

	pthread_mutex_lock(&lock);
	while (i < tally_count &&
	       (strcmp(tallies[i].role, more->role) || strcmp(tallies[i].peer, more->peer) ||
		strcmp(tallies[i].target, more->target) || tallies[i].port != more->port))
		i++;
	if (i == MOST)
		errx(1, "more than %d kinds of connections", MOST);
	t = &tallies[i];
	if (i == tally_count) {
		*t = *more;
		tally_count++;
	} else {
		t->sent += more->sent;
		t->received += more->received;
		t->requests += more->requests;
		t->connections += more->connections;
		t->failures += more->failures;
	}
	write_line(i + 1,
		   "{\"role\":\"%s\",\"peer\":\"%s\",\"target\":\"%s\",\"port\":%d,\"sent\":%lu,"
		   "\"received\":%lu,\"requests\":%lu,\"connections\":%lu,\"failures\":%lu}",
		   t->role, t->peer, t->target, t->port, t->sent, t->received, t->requests,
		   t->connections, t->failures);
	pthread_mutex_unlock(&lock);
}

/* A connection: what is not booked yet waits until the peer has said who he is. */
struct end {
	int fd;
	struct tally tally;
};

static void book_end(struct end *end)
{
	book(&end->tally);
	end->tally.sent = end->tally.received = end->tally.requests = 0;
	end->tally.connections = end->tally.failures = 0;
}

static void know(struct end *end, const char *who)
{
	snprintf(end->tally.peer, sizeof(end->tally.peer), "%s", who);
}

static int known(const struct end *end)
{
	return strcmp(end->tally.peer, "-");
}

static void close_end(struct end *end)
{
	close(end->fd);
	book_end(end);
	__atomic_sub_fetch(&open_ends, 1, __ATOMIC_SEQ_CST);
}

/* Sends it all. An answer is begun with its first byte: then the server has served a request.
 * Returns whether it could. */
static int send_all(struct end *end, const char *bytes, size_t count, int answers)
{
	while (count) {
		ssize_t done = send(end->fd, bytes, count < PART ? count : PART, MSG_NOSIGNAL);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return 0;
		end->tally.requests += answers;
		answers = 0;
		end->tally.sent += done;
		if (known(end))
			book_end(end);
		bytes += done;
		count -= done;
	}
	return 1;
}

/* Receives so much. A request is answered with the first byte of the answer. Returns whether it
 * came. */
static int receive_all(struct end *end, char *bytes, size_t count, int answered)
{
	while (count) {
		ssize_t done = recv(end->fd, bytes, count < PART ? count : PART, 0);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return 0;
		end->tally.requests += answered;
		answered = 0;
		end->tally.received += done;
		if (known(end))
			book_end(end);
		bytes += done;
		count -= done;
	}
	return 1;
}

static void start(void *(*run)(void *), void *with)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, with))
		errx(1, "no thread");
	pthread_detach(thread);
}

static int listen_at(int port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(AF_INET6, SOCK_STREAM, 0), yes = 1, no = 0;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
	if (bind(fd, (void *)&any, sizeof(any)) || listen(fd, 64))
		err(1, "listen at %d", port);
	return fd;
}

/* Whether something to read is there before the program is to end. */
static int waits(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};

	while (!ended) {
		if (poll(&wait, 1, 100) > 0)
			return 1;
	}
	return 0;
}

/* The kubelet's probe, which has no head; its first bytes have been read. */
static void answer_probe(struct end *end, char *bytes, size_t length)
{
	static const char answer[] = "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";

	know(end, "probe");
	while (length < PART && memcmp(bytes + length - 4, "\r\n\r\n", 4)) {
		if (!receive_all(end, bytes + length, 1, 0))
			return;
		length++;
	}
	send_all(end, answer, sizeof(answer) - 1, 1);
}

static void *serve_one(void *with)
{
	struct end *end = with;
	char *bytes = calloc(1, LARGEST);
	struct head *head = (void *)bytes;

	__atomic_add_fetch(&open_ends, 1, __ATOMIC_SEQ_CST);
	while (waits(end->fd) && receive_all(end, bytes, sizeof(head->mark), 0)) {
		if (!memcmp(bytes, "GET ", 4)) {
			answer_probe(end, bytes, sizeof(head->mark));
			break;
		}
		if (!receive_all(end, bytes + sizeof(head->mark),
				 sizeof(*head) - sizeof(head->mark), 0))
			break;
		if (memcmp(head->mark, MARK, sizeof(MARK)) || head->length < sizeof(*head) ||
		    head->length > LARGEST || head->wish > LARGEST)
			break;
		know(end, head->who);
		book_end(end);
		if (!receive_all(end, bytes + sizeof(*head), head->length - sizeof(*head), 0))
			break;
		snprintf(head->who, sizeof(head->who), "%s", me);
		if (!send_all(end, bytes, head->wish, 1))
			break;
	}
	close_end(end);
	free(end);
	free(bytes);
	return NULL;
}

static void *serve(void *with)
{
	int port = atoi(with), listener = listen_at(port);

	while (!ended) {
		struct end *end = calloc(1, sizeof(*end));

		end->fd = accept(listener, NULL, NULL);
		if (end->fd < 0)
			err(1, "accept");
		end->tally = (struct tally){.role = "server",
					    .peer = "-",
					    .target = "-",
					    .port = port,
					    .connections = 1};
		start(serve_one, end);
	}
	return NULL;
}

static int connect_to(const struct sockaddr *to, socklen_t length, const char *source)
{
	struct timeval patience = {.tv_sec = PATIENCE_S};
	int fd = socket(to->sa_family, SOCK_STREAM, 0);
	struct sockaddr_in from = {.sin_family = AF_INET};

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if ((!source ||
	     (inet_aton(source, &from.sin_addr) && !bind(fd, (void *)&from, sizeof(from)))) &&
	    !connect(fd, to, length))
		return fd;
	close(fd);
	return -1;
}

static int rests(void)
{
	char file[WORD + 8];

	snprintf(file, sizeof(file), "%s/rest", folder);
	return !access(file, F_OK);
}

/* A name may take long to find: by then it may be time to rest. */
static void connect_by_name(struct end *end, const char *host, const char *port)
{
	struct addrinfo *found = NULL;

	if (!getaddrinfo(host, port, &(struct addrinfo){.ai_socktype = SOCK_STREAM}, &found)) {
		if (!rests()) {
			end->fd = connect_to(found->ai_addr, found->ai_addrlen, NULL);
			end->tally.connections = end->fd >= 0;
			end->tally.failures = end->fd < 0;
			if (end->fd < 0)
				book_end(end);
		}
		freeaddrinfo(found);
	}
}

/* Asks once. Returns whether there may be more on this connection. */
static int call_once(struct end *end, char *bytes, uint32_t length, uint32_t wish)
{
	struct head *head = (void *)bytes;

	*head = (struct head){.length = length, .wish = wish};
	memcpy(head->mark, MARK, sizeof(MARK));
	snprintf(head->who, sizeof(head->who), "%s", me);
	if (!send_all(end, bytes, length, 0) || !receive_all(end, bytes, sizeof(*head), 1))
		return 0;
	/* Where no node knows a Service's address yet, whoever is outside may answer. */
	if (memcmp(head->mark, MARK, sizeof(MARK)))
		return 0;
	know(end, head->who);
	book_end(end);
	return receive_all(end, bytes, wish - sizeof(*head), 0);
}

static void *call(void *with)
{
	char host[WORD], port[8], fresh[8] = "", *bytes = calloc(1, LARGEST);
	uint32_t length, wish;
	int every, asked = 0;
	struct end end = {.fd = -1};
	struct tally none = {.role = "client", .peer = "-"};

	if (sscanf(with, "%87[^:]:%7[^:]:%u:%u:%d:%7s", host, port, &length, &wish, &every, fresh) <
		    5 ||
	    length < sizeof(struct head) || wish < sizeof(struct head) || length > LARGEST ||
	    wish > LARGEST)
		errx(2, "CALL: %s", (char *)with);
	none.port = atoi(port);
	snprintf(none.target, sizeof(none.target), "%s", host);
	for (; !ended && (every || !asked); poll(NULL, 0, every ? every : 100)) {
		if (rests())
			continue;
		if (end.fd < 0) {
			end = (struct end){.fd = -1, .tally = none};
			connect_by_name(&end, host, port);
			if (end.fd < 0)
				continue;
			__atomic_add_fetch(&open_ends, 1, __ATOMIC_SEQ_CST);
		}
		asked = 1;
		if (!call_once(&end, bytes, length, wish) || *fresh || !every) {
			close_end(&end);
			end.fd = -1;
		}
	}
	if (end.fd >= 0)
		close_end(&end);
	if (!every)
		exit(0);
	return NULL;
}

struct pair {
	int inner;
	struct end outer;
	int keeps; /* Account of the outer one, which is the one that others see */
};

static void *hand_on(void *with)
{
	struct pair *pair = with;
	struct tally *tally = &pair->outer.tally;
	struct pollfd ends[] = {{.fd = pair->inner, .events = POLLIN},
				{.fd = pair->outer.fd, .events = POLLIN}};
	char bytes[PART];
	int more = 1, asked = 0;

	while (more && poll(ends, 2, -1) > 0) {
		for (int i = 0; i < 2 && more; i++) {
			ssize_t count, sent;

			if (!ends[i].revents)
				continue;
			count = recv(ends[i].fd, bytes, sizeof(bytes), 0);
			sent = count > 0 ? send(ends[1 - i].fd, bytes, count, MSG_NOSIGNAL) : -1;
			more = count > 0 && sent == count;
			if (i == 0 && sent > 0) {
				tally->sent += sent;
				asked = 1;
			} else if (i == 1 && count > 0) {
				tally->received += count;
				tally->requests += asked;
				asked = 0;
			}
			if (pair->keeps)
				book_end(&pair->outer);
		}
	}
	close(pair->outer.fd);
	close(pair->inner);
	free(pair);
	return NULL;
}

static void *proxy(void *with)
{
	char *source = strchr(with, '@');
	int listener = listen_at(atoi(with));

	while (!ended) {
		struct pair *pair = calloc(1, sizeof(*pair));
		struct sockaddr_in meant;
		socklen_t length = sizeof(meant);

		pair->inner = accept(listener, NULL, NULL);
		pair->outer.fd =
			getsockopt(pair->inner, SOL_IP, SO_ORIGINAL_DST, &meant, &length)
				? -1
				: connect_to((void *)&meant, length, source ? source + 1 : NULL);
		pair->keeps = !source;
		if (pair->outer.fd >= 0) {
			pair->outer.tally = (struct tally){.role = "proxy",
							   .peer = "-",
							   .target = "-",
							   .port = ntohs(meant.sin_port),
							   .connections = 1};
			start(hand_on, pair);
		} else {
			close(pair->inner);
			free(pair);
		}
	}
	return NULL;
}

static void each(const char *variable, void *(*run)(void *))
{
	char *words = strdup(given(variable, ""));

	for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
		start(run, word);
}

int main(void)
{
	sigset_t stop;
	int signal;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &stop, NULL);
	open_account();
	each("SERVE", serve);
	each("PROXY", proxy);
	each("CALL", call);
	sigwait(&stop, &signal);
	/* What was begun is ended: a server answers, a caller gets its answer. */
	ended = 1;
	for (int i = 0; i < 25 && __atomic_load_n(&open_ends, __ATOMIC_SEQ_CST) > 0; i++)
		poll(NULL, 0, 100);
	return 0;
}
