// SPDX-License-Identifier: Apache-2.0
/* The kinds of addresses that two ends can have. */
#include "traffic.h"
#include <netinet/in.h>

static void only_six(int socket, bool client)
{
	if (!client)
		set_option(socket, IPPROTO_IPV6, IPV6_V6ONLY, 1, "set IPV6_V6ONLY");
}

#define TALK .rounds = 5, .request = 333, .answer = 777, .client = ask, .server = answer

const struct scenario addresses[] = {
	{.name = "ipv6", .family = AF_INET6, TALK},
	{.name = "ipv6-only", .family = AF_INET6, .bind = "::", .prepare = only_six, TALK},
	/* Both sockets are IPv6, the connection is IPv4. */
	{.name = "v4-mapped", .target = MAPPED, .bind = "::", TALK},
	{.name = "dual-stack-4", .bind = "::", TALK},
	{.name = "dual-stack-6", .family = AF_INET6, .bind = "::", TALK},
	{.name = "link-local", .target = LINK_LOCAL, TALK},
	/* Left out without --loopback; and 127.0.0.1 is whose own address was seen there first. */
	{.name = "own-address", .target = OWN, TALK},
	{.name = "loopback", .target = LOOPBACK, TALK},
	{0},
};
