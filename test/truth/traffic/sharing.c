// SPDX-License-Identifier: Apache-2.0
/* One socket in several hands: processes and threads; several listeners on one port. */
#include "traffic.h"
#include <pthread.h>

/* Runs a move in a child, which keeps the book in memory that both share. */
static void by_child(struct end *end, size_t bytes, way *move)
{
	struct end *book = shared(sizeof(*book));
	pid_t child;

	*book = *end;
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		move(book, bytes);
		exit(0);
	}
	join(child);
	*end = *book;
}

static void put_by_child(struct end *end, size_t bytes)
{
	by_child(end, bytes, put);
}

static void get_half_by_child(struct end *end, size_t bytes)
{
	get(end, bytes / 2);
	by_child(end, bytes - bytes / 2, get);
}

static void send_socket(int channel, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	if (sendmsg(channel, &message, 0) != 1)
		die("pass the socket");
}

static int receive_socket(int channel)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	int fd;

	if (recvmsg(channel, &message, 0) != 1)
		die("take the socket");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

/* Another process gets the socket as a message, reads and answers, and is the last to close it. */
static void answer_by_another(struct end *end, const struct scenario *s)
{
	struct end *book = shared(sizeof(*book));
	int channel[2];
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) != 0)
		die("make a channel");
	*book = *end;
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		close(book->fd);
		book->fd = receive_socket(channel[1]);
		answer(book, s);
		exit(0);
	}
	send_socket(channel[0], end->fd);
	close(end->fd);
	join(child);
	*end = *book;
	close(channel[0]);
	end->fd = channel[1]; /* for the caller to close */
}

#define THREADS 4

struct hand {
	struct end end;
	size_t bytes;
	pthread_t thread;
};

static void *put_by_thread(void *argument)
{
	struct hand *hand = argument;

	for (int i = 0; i < 100; i++)
		put(&hand->end, hand->bytes / 100);
	return NULL;
}

/* Four threads write at once, and none reads: one exchange, from the last of all sends. */
static void put_by_threads(struct end *end, size_t bytes)
{
	struct hand hands[THREADS];

	for (int i = 0; i < THREADS; i++) {
		hands[i].end = *end;
		hands[i].bytes = bytes / THREADS;
		if (pthread_create(&hands[i].thread, NULL, put_by_thread, &hands[i]) != 0)
			die("start a thread");
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(hands[i].thread, NULL);
		note_sent(end, hands[i].end.last_at, hands[i].bytes);
	}
}

static void share_port(int socket, bool client)
{
	if (!client)
		set_option(socket, SOL_SOCKET, SO_REUSEPORT, 1, "set SO_REUSEPORT");
}

/* Two listeners on one port; the kernel chooses. */
static void accept_from_either(int listener, struct end *end, const struct scenario *s)
{
	static int other = -1;
	socklen_t remote_length = sizeof(end->remote), local_length = sizeof(end->local);
	struct pollfd both[2];

	(void)s;
	if (other < 0) {
		other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		getsockname(listener, (void *)&end->local, &local_length);
		share_port(other, false);
		if (bind(other, (void *)&end->local, local_length) != 0 || listen(other, 64) != 0)
			die("listen twice");
	}
	both[0] = (struct pollfd){.fd = listener, .events = POLLIN};
	both[1] = (struct pollfd){.fd = other, .events = POLLIN};
	if (poll(both, 2, -1) < 0)
		die("poll");
	end->fd = accept(both[0].revents ? listener : other, (void *)&end->remote, &remote_length);
	if (end->fd < 0)
		die("accept");
	getsockname(end->fd, (void *)&end->local, &local_length);
}

const struct scenario sharing[] = {
	{.name = "fork",
	 .rounds = 5,
	 .request = 1000,
	 .answer = 3000,
	 .put_request = put_by_child,
	 .get_request = get_half_by_child,
	 .put_answer = put_by_child,
	 .client = ask,
	 .server = answer},
	{.name = "passed-on",
	 .connections = 3,
	 .rounds = 5,
	 .request = 1000,
	 .answer = 3000,
	 .client = ask,
	 .server = answer_by_another},
	{.name = "threads",
	 .rounds = 5,
	 .request = 400000,
	 .answer = 3000,
	 .put_request = put_by_threads,
	 .client = ask,
	 .server = answer},
	{.name = "reuse-port",
	 .connections = 40,
	 .request = 100,
	 .answer = 300,
	 .prepare = share_port,
	 .accept = accept_from_either,
	 .client = ask,
	 .server = answer},
	{0},
};
