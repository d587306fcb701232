// SPDX-License-Identifier: Apache-2.0
/* Multipath TCP. Its bytes are those of its subflow, which its sends and receives pass by: it has
 * no exchanges. With a peer that speaks plain TCP it is plain TCP. Answers are small enough for the
 * receiver's window: what MPTCP repeats or probes by, its subflow counts. */
#include "traffic.h"
#include <netinet/in.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static const char *no_mptcp(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);

	if (fd < 0)
		return "no MPTCP";
	close(fd);
	return NULL;
}

static void ask_untimed(struct end *end, const struct scenario *s)
{
	ask(end, s);
	end->exchanges = end->duration_ns = 0;
}

static void answer_untimed(struct end *end, const struct scenario *s)
{
	answer(end, s);
	end->exchanges = end->duration_ns = 0;
}

static void connect_by_plain(struct end *end, socklen_t length)
{
	close(end->fd);
	end->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	connect_plainly(end, length);
}

const struct scenario mptcp[] = {
	{.name = "mptcp",
	 .protocol = IPPROTO_MPTCP,
	 .lacks = no_mptcp,
	 .rounds = 5,
	 .request = 5000,
	 .answer = 3000,
	 .client = ask_untimed,
	 .server = answer_untimed},
	{.name = "mptcp-plain-client",
	 .protocol = IPPROTO_MPTCP,
	 .lacks = no_mptcp,
	 .rounds = 5,
	 .request = 5000,
	 .answer = 3000,
	 .connect = connect_by_plain,
	 .client = ask,
	 .server = answer},
	{0},
};
