/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all families of scenarios share: an end of a connection that knows what it did, and the
 * words for the usual moves. A family is one file with a table of scenarios.
 */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MIB   (1 << 20)
#define PIECE (64 << 10)

/* One end of a connection and what it did. */
struct end {
	int fd;
	bool client;
	enum { NOTHING, SENT, RECEIVED } last;
	uint64_t last_at; /* start of the last send, or return of the last receive */
	uint64_t sent, received, exchanges, duration_ns;
	uint64_t connect_ns; /* a client's: how long connect() took until it was established */
	const char *failed;  /* why connect() failed, as the records say it, or NULL */
	struct sockaddr_storage local, remote;
};

/* Where a client connects to. */
enum target {
	SERVER,	     /* the server's address of the client's family */
	MAPPED,	     /* its IPv4 address, as IPv6 writes it */
	LINK_LOCAL,  /* its link-local address, on the client's eth0 */
	LOOPBACK,    /* 127.0.0.1: both ends live in the server's namespace */
	OWN,	     /* the server's address: both ends live in the server's namespace */
	BLACK_HOLE,  /* on the link, and never answers */
	UNREACHABLE, /* behind the server, which says that it knows no way */
};

/* Moves so many bytes, and notes them. */
typedef void way(struct end *end, size_t bytes);

/* A plain one needs `client` and `server` only, which are called once a connection. */
struct scenario {
	const char *name;
	int family; /* AF_INET */
	int protocol;
	enum target target;
	const char *bind; /* the listener's address: that of the target */
	int connections;
	int processes; /* on each side, which share the connections */
	int rounds;
	size_t request, answer;
	int serve_ms, think_ms;
	const char *fails;	    /* the reason with which connect() must end */
	const char *(*lacks)(void); /* why this machine cannot do it, or NULL */
	way *put_request, *get_request, *put_answer, *get_answer; /* put and get */
	void (*prepare)(int socket, bool client); /* before connect and before listen */
	void (*connect)(struct end *, socklen_t length);
	void (*listen)(int socket);
	/* In the place of accept: an end for each connection. */
	void (*accept)(int listener, struct end *, const struct scenario *);
	void (*client)(struct end *, const struct scenario *);
	void (*server)(struct end *, const struct scenario *);
};

extern const struct scenario requests[], sends[], receives[], endings[], connects[], sharing[],
	addresses[], fastopen[], uring[], mptcp[];

extern char *payload; /* as large as the largest write */
extern const char *at_work;

/* Says which step failed, and ends this process. */
__attribute__((noreturn)) void die(const char *step);
void pause_ms(int ms);
uint64_t now(void);
/* Anonymous memory that children share. */
void *shared(size_t size);
void set_option(int fd, int level, int option, int value, const char *step);
/* Waits for a child and fails with it. */
void join(pid_t child);

/* What every system call of a scenario must be told to. Nothing happens for 0 bytes. */
void note_sent(struct end *end, uint64_t began, ssize_t bytes);
void note_received(struct end *end, ssize_t bytes);

way put;	     /* by write; the kernel may take it in parts */
way get;	     /* as they come */
way put_by_zerocopy; /* whole pages of them may go out as they are */
/* Nothing more comes; the peer has closed its half (0) or reset (an error number). */
void get_end(struct end *end, int expected);
void close_write(struct end *end);
void reset_at_close(struct end *end);
void wait_for(int fd, short events);
/* Asks and gets `rounds` times, in the ways of the scenario; answers as often. */
void ask(struct end *end, const struct scenario *s);
void answer(struct end *end, const struct scenario *s);
/* All that the client asks, then its FIN. */
void take(struct end *end, const struct scenario *s);
/* An upload in pieces, a FIN, and the server's FIN. */
void upload(struct end *end, const struct scenario *s);
void answer_late(struct end *end, const struct scenario *s);
/* What a scenario does that does not connect, or accept, in its own way. */
void connect_plainly(struct end *end, socklen_t length);
void accept_plainly(int listener, struct end *end, const struct scenario *s);

#endif
