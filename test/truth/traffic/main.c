// SPDX-License-Identifier: Apache-2.0
/*
 * Scripted TCP connections whose bytes and exchanges are known exactly. Prints one JSON line for
 * each end of each connection, as the application at that end saw it:
 *
 *   {"scenario":"keepalive","role":"client","local":"10.77.0.1","local_port":41234,
 *    "remote":"10.77.0.2","remote_port":8101,"sent":100000,"received":3000000,
 *    "exchanges":1000,"duration_ns":51234567,"connect_ns":50321,"failed":"","skipped":""}
 *
 * sent and received are what the system calls returned; exchanges and duration_ns follow the
 * definition: a client's last send to its first receive after it, a server's last receive to its
 * first send after it. `failed` says why a connect failed: refused, timed_out, reset, unreachable.
 * `skipped` says why this machine cannot run the scenario; such a line has no connection. Each
 * scenario has a server port of its own: 8101, 8102, and so on.
 */
#include "traffic.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <net/if.h>
#include <netdb.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define FIRST_PORT 8101
/* A scenario that takes longer hangs. */
#define PATIENCE_S 120
/* Scenarios that --only can choose. */
#define MOST 100

static const struct scenario *const families[] = {requests, sends,     receives, endings, connects,
						  sharing,  addresses, fastopen, uring,	  mptcp};
#define FAMILIES (sizeof(families) / sizeof(families[0]))

static double scale = 1;
static const char *client_ns, *server_ns, *ipv4 = "127.0.0.1", *ipv6 = "::1";

/* What is many (100 and more) or large (a MiB and more) follows --scale. */
static size_t scaled(size_t n, size_t from)
{
	size_t less = n * scale;

	return n < from ? n : less > 0 ? less : 1;
}

static struct scenario completed(const struct scenario *from)
{
	struct scenario s = *from;

	s.family = s.family ? s.family : AF_INET;
	s.processes = s.processes ? s.processes : 1;
	s.connections = scaled(s.connections ? s.connections : 1, 100);
	s.rounds = scaled(s.rounds ? s.rounds : 1, 100);
	s.request = scaled(s.request, MIB);
	s.answer = scaled(s.answer, MIB);
	s.put_request = s.put_request ? s.put_request : put;
	s.get_request = s.get_request ? s.get_request : get;
	s.put_answer = s.put_answer ? s.put_answer : put;
	s.get_answer = s.get_answer ? s.get_answer : get;
	return s;
}

/* A sibling of the server's IPv4 address 10.NET.0.2. */
static const char *sibling(const char *format)
{
	static char text[64];
	int net = 0;

	sscanf(ipv4, "%*d.%d", &net);
	snprintf(text, sizeof(text), format, net);
	return text;
}

static const char *target_address(const struct scenario *s)
{
	static char mapped[64];

	switch (s->target) {
	case MAPPED:
		snprintf(mapped, sizeof(mapped), "::ffff:%s", ipv4);
		return mapped;
	case LINK_LOCAL:
		return sibling("fe80::%d:2");
	case LOOPBACK:
		return "127.0.0.1";
	case BLACK_HOLE:
		return sibling("10.%d.0.9");
	case UNREACHABLE:
		return sibling("10.%d.9.1");
	default:
		return s->family == AF_INET6 ? ipv6 : ipv4;
	}
}

static struct sockaddr_storage address(const char *ip, int port, socklen_t *length)
{
	struct sockaddr_storage result = {0};
	struct sockaddr_in *v4 = (void *)&result;
	struct sockaddr_in6 *v6 = (void *)&result;

	if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*length = sizeof(*v4);
	} else if (inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		if (IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr))
			v6->sin6_scope_id = if_nametoindex("eth0");
		*length = sizeof(*v6);
	} else {
		fprintf(stderr, "traffic: %s is no address\n", ip);
		exit(2);
	}
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

/* As the agent writes it: IPv4 is IPv4, and without a scope. Both 0 where there is none. */
static void spell(const struct sockaddr_storage *address, char *text, size_t size, int *port)
{
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;

	strcpy(text, "0.0.0.0");
	*port = 0;
	if (address->ss_family == AF_INET) {
		inet_ntop(AF_INET, &v4->sin_addr, text, size);
		*port = ntohs(v4->sin_port);
	} else if (address->ss_family == AF_INET6) {
		if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
			inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, text, size);
		else
			inet_ntop(AF_INET6, &v6->sin6_addr, text, size);
		*port = ntohs(v6->sin6_port);
	}
}

static void tell_all(const struct end *end, const struct scenario *s, const char *skipped)
{
	char local[64], remote[64], line[768];
	int local_port, remote_port, length;

	spell(&end->local, local, sizeof(local), &local_port);
	spell(&end->remote, remote, sizeof(remote), &remote_port);
	length = snprintf(line, sizeof(line),
			  "{\"scenario\":\"%s\",\"role\":\"%s\",\"local\":\"%s\",\"local_port\":%d,"
			  "\"remote\":\"%s\",\"remote_port\":%d,\"sent\":%llu,\"received\":%llu,"
			  "\"exchanges\":%llu,\"duration_ns\":%llu,\"connect_ns\":%llu,"
			  "\"failed\":\"%s\",\"skipped\":\"%s\"}\n",
			  s->name, end->client ? "client" : "server", local, local_port, remote,
			  remote_port, (unsigned long long)end->sent,
			  (unsigned long long)end->received, (unsigned long long)end->exchanges,
			  (unsigned long long)end->duration_ns, (unsigned long long)end->connect_ns,
			  end->failed ? end->failed : "", skipped);
	/* One write: lines of two processes must not mix. */
	if (write(STDOUT_FILENO, line, length) != length)
		die("print");
}

static void tell(const struct end *end, const struct scenario *s)
{
	tell_all(end, s, "");
}

static void run_client(const struct scenario *s, int port, int connections)
{
	const char *ip = target_address(s);

	for (int i = 0; i < connections; i++) {
		struct end end = {.client = true};
		socklen_t length, local_length = sizeof(end.local);

		end.remote = address(ip, port, &length);
		end.fd = socket(end.remote.ss_family, SOCK_STREAM | SOCK_CLOEXEC, s->protocol);
		if (end.fd < 0)
			die("make a socket");
		if (s->prepare)
			s->prepare(end.fd, true);
		(s->connect ? s->connect : connect_plainly)(&end, length);
		if (strcmp(end.failed ? end.failed : "", s->fails ? s->fails : "") != 0)
			die(end.failed ? end.failed : "fail to connect");
		getsockname(end.fd, (void *)&end.local, &local_length);
		if (!end.failed)
			s->client(&end, s);
		close(end.fd);
		tell(&end, s);
	}
}

static int make_listener(const struct scenario *s, int port)
{
	socklen_t length;
	struct sockaddr_storage here =
		address(s->bind ? s->bind : target_address(s), port, &length);
	int listener = socket(here.ss_family, SOCK_STREAM | SOCK_CLOEXEC, s->protocol);

	set_option(listener, SOL_SOCKET, SO_REUSEADDR, 1, "set SO_REUSEADDR");
	if (s->prepare)
		s->prepare(listener, false);
	if (bind(listener, (void *)&here, length) != 0)
		die("bind");
	if (s->listen)
		s->listen(listener);
	else if (listen(listener, 64) != 0)
		die("listen");
	return listener;
}

void accept_plainly(int listener, struct end *end, const struct scenario *s)
{
	socklen_t remote_length = sizeof(end->remote), local_length = sizeof(end->local);

	(void)s;
	end->fd = accept4(listener, (void *)&end->remote, &remote_length, SOCK_CLOEXEC);
	if (end->fd < 0)
		die("accept");
	getsockname(end->fd, (void *)&end->local, &local_length);
}

static void run_server(const struct scenario *s, int listener, int connections)
{
	for (int i = 0; i < connections; i++) {
		struct end end = {.client = false};

		(s->accept ? s->accept : accept_plainly)(listener, &end, s);
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

/* Splits the connections among the processes; the first does not wait for the others. */
static int share(const struct scenario *s, int process)
{
	return s->connections / s->processes + (process < s->connections % s->processes);
}

static void run(const struct scenario *s, int port)
{
	bool within = s->target == LOOPBACK || s->target == OWN;
	int ready[2];
	char byte;

	if (s->server != NULL) {
		if (pipe2(ready, O_CLOEXEC) != 0)
			die("make a pipe");
		if (start(s, "server", server_ns)) {
			int listener = make_listener(s, port), mine = 0;

			while (mine < s->processes - 1 && !start(s, "server", NULL))
				mine++;
			close(ready[0]);
			close(ready[1]);
			run_server(s, listener, share(s, mine));
			finish(s);
			exit(0);
		}
		/* The server closes its end once it listens. */
		close(ready[1]);
		if (read(ready[0], &byte, 1) != 0)
			die("wait for the server");
		close(ready[0]);
	}
	for (int i = 0; i < s->processes; i++) {
		if (start(s, "client", within ? server_ns : client_ns)) {
			run_client(s, port, share(s, i));
			exit(0);
		}
	}
	finish(s);
}

static bool among(const char *name, const char *const *names, int count)
{
	for (int i = 0; i < count; i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

static const char usage[] = "usage: traffic [--client-ns NAME] [--server-ns NAME] [--ipv4 SERVER] "
			    "[--ipv6 SERVER] [--scale FACTOR] [--only SCENARIO]...\n";

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
	const char *only[MOST] = {0};
	int chosen = 0;
	size_t largest = PIECE;
	int option, port = FIRST_PORT;

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
			if (chosen < MOST)
				only[chosen++] = optarg;
			break;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < FAMILIES; i++) {
		for (const struct scenario *from = families[i]; from->name; from++) {
			struct scenario s = completed(from);

			largest = s.request > largest ? s.request : largest;
			largest = s.answer > largest ? s.answer : largest;
		}
	}
	payload = aligned_alloc(4096, (largest + 4095) & ~4095UL);
	if (payload == NULL)
		die("allocate");
	memset(payload, 'x', largest);

	for (size_t i = 0; i < FAMILIES; i++) {
		for (const struct scenario *from = families[i]; from->name; from++, port++) {
			struct scenario s = completed(from);
			const char *why;

			if (chosen > 0 && !among(s.name, only, chosen))
				continue;
			at_work = s.name;
			why = s.lacks ? s.lacks() : NULL;
			if (why)
				tell_all(&(struct end){.client = true}, &s, why);
			else
				run(&s, port);
		}
	}
	return 0;
}
