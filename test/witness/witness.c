// SPDX-License-Identifier: Apache-2.0
/*
 * Loads the witness, says "ready", and at SIGTERM prints what it counted: one JSON line for each
 * end of each connection,
 *   {"local":"10.77.0.1","local_port":41234,"remote":"10.77.0.2","remote_port":8101,
 *    "sent":100000,"received":3000000}
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "witness.h"
#include "witness.skel.h"

static int fail(const char *step, const char *object)
{
	fprintf(stderr, "witness: cannot %s: %s: %s\n", step, object, strerror(errno));
	return 1;
}

static const char *text(const unsigned char *address, char *buffer)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (memcmp(address, mapped, sizeof(mapped)) == 0)
		return inet_ntop(AF_INET, address + 12, buffer, INET6_ADDRSTRLEN);
	return inet_ntop(AF_INET6, address, buffer, INET6_ADDRSTRLEN);
}

static void print(int map)
{
	struct tuple key, *previous = NULL;
	struct bytes bytes;
	char local[INET6_ADDRSTRLEN], remote[INET6_ADDRSTRLEN];

	while (bpf_map_get_next_key(map, previous, &key) == 0) {
		previous = &key;
		if (bpf_map_lookup_elem(map, &key, &bytes) != 0)
			continue;
		printf("{\"local\":\"%s\",\"local_port\":%d,\"remote\":\"%s\",\"remote_port\":%d,"
		       "\"sent\":%llu,\"received\":%llu}\n",
		       text(key.local, local), ntohs(key.local_port), text(key.remote, remote),
		       ntohs(key.remote_port), bytes.sent, bytes.received);
	}
}

int main(void)
{
	struct witness_bpf *witness;
	struct bpf_program *program;
	sigset_t stop;
	int signal;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	witness = witness_bpf__open_and_load();
	if (!witness)
		return fail("load", "witness");
	bpf_object__for_each_program(program, witness->obj)
	{
		/* A kernel without tcp_sendpage sends everything by tcp_sendmsg. */
		if (!bpf_program__attach(program) && errno != ENOENT)
			return fail("attach", bpf_program__name(program));
	}
	puts("ready");
	fflush(stdout);
	sigwait(&stop, &signal);
	print(bpf_map__fd(witness->maps.connections));
	return 0;
}
