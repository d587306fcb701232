/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What the kernel side and the agent say to each other: the record, the configuration and the
 * counters. The only ABI; `hack/generate` writes its offsets for TypeScript and AssemblyScript
 * from the compiled objects' BTF, and a test fails when they drift.
 *
 * Little endian, fixed widths, no hidden padding. Times are boot time in nanoseconds
 * (CLOCK_BOOTTIME). Totals are cumulative over the life of a connection.
 */
#ifndef RINGSIDE_H
#define RINGSIDE_H

/* Buckets of powers of two, upper bounds 2^-14 s (61 us) to 2^2 s, and one for what is longer. */
#define BUCKETS	     18
#define BUCKET_FIRST (-14)

enum role {
	ROLE_UNKNOWN,
	ROLE_CLIENT,
	ROLE_SERVER,
};

enum kind {
	KIND_SNAPSHOT, /* a live connection, from the sweep */
	KIND_CLOSED,   /* it reached TCP_CLOSE; what is queued may still be read */
	KIND_FINAL,    /* its socket is destroyed: the last word */
	KIND_FAILED,   /* it never was established; `reason` says why */
	KIND_ALIVE,    /* closed and not yet destroyed: only `id`, `time` and `sweep` are set */
};

enum reason {
	REASON_NONE, /* no error: closed by its users */
	REASON_REFUSED,
	REASON_TIMED_OUT,
	REASON_RESET,
	REASON_UNREACHABLE,
	REASON_OTHER,
};

enum record_flag {
	RECORD_SEEDED = 1,	   /* older than the agent: its totals start at first sight */
	RECORD_RESET_SENT = 2,	   /* our end has sent an RST */
	RECORD_RESET_RECEIVED = 4, /* or had one */
};

/* A snapshot of one connection: 208 bytes. Addresses are IPv6 or v4-mapped, in network order;
 * ports in host order. A port of 0 in a KIND_FINAL says that the kernel had cleared it already. */
struct record {
	__u64 time; /* of the snapshot */
	__u64 id;
	__u64 born_at;	/* first sight */
	__u64 cgroup;	/* cgroup v2 id, 0 where unknown */
	__u64 sent;	/* payload bytes that the application sent and */
	__u64 received; /* read */
	__u64 exchanges;
	__u64 duration_ns; /* of all exchanges */
	__u8 local[16];
	__u8 remote[16];
	__u32 netns; /* inode of the network namespace */
	__u32 scope; /* interface of link-local addresses, else 0 */
	__u32 sweep; /* the sweep's number as the record was made */
	__u32 connect_us;
	__u32 srtt_us;
	__u32 segments; /* data segments sent */
	__u32 retransmitted;
	__u32 spare;
	__u16 local_port;
	__u16 remote_port;
	__u8 role;
	__u8 kind;
	__u8 reason;
	__u8 flags;
	__u32 buckets[BUCKETS]; /* of exchanges, by duration */
};

/* A cgroup's names, sent up before the first record that has its id: its own, then its parents'.
 * Each ends in a zero; what does not fit is cut off. */
#define CGROUP_LEVELS 5
#define CGROUP_NAME   80

struct cgroup_path {
	__u64 id;
	char names[CGROUP_LEVELS][CGROUP_NAME];
};

/* Set by the agent before load. */
struct config {
	__u32 max_connections; /* live states, beyond which sockets are refused and counted */
	__u32 ring_size;       /* bytes */
	__u32 refresh;	    /* an idle connection is written every so many sweeps, a power of two */
	__u32 packet_sends; /* 1: a send is seen as a packet that leaves, not at its entry */
	__u32 move_copies;  /* programs alike on a send and on a receive */
};

/* Written by the agent before each sweep. */
struct control {
	__u32 sweep;
	__u32 spare;
};

/* One counter for each place where something can be lost; read by the agent. */
struct counters {
	__u64 records;	   /* written to the ring */
	__u64 finals_lost; /* last words that found no room, and the bytes with them */
	__u64 finals_lost_sent;
	__u64 finals_lost_received;
	__u64 snapshots_deferred; /* sweep stopped for want of room; it goes on after a drain */
	__u64 connections;	  /* first sights */
	__u64 connections_ended;
	__u64 refused_limit;  /* not counted, for max_connections was reached */
	__u64 refused_memory; /* not counted, for the kernel had no memory for the state */
	__u64 late;	      /* seen first in mid-life and not by the seed */
	__u64 seeded;
	__u64 seeds_lost;	/* older connections that found no room among the seeds */
	__u64 clamped;		/* totals that came out below zero */
	__u64 cgroups_deferred; /* names of a cgroup found no room; its next connection brings them
				 */
};

#endif
