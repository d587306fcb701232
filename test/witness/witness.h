/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the witness counts, by the two ends of a connection. */
#ifndef WITNESS_H
#define WITNESS_H

/* IPv6 or v4-mapped addresses and ports, in network order. */
struct tuple {
	unsigned char local[16];
	unsigned char remote[16];
	unsigned short local_port;
	unsigned short remote_port;
};

struct bytes {
	unsigned long long sent;
	unsigned long long received;
};

#endif
