// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* The tracepoint backend where tracing programs have no socket storage: before 5.11. */
#define PROBE_READS
#define STATE_HASH
#include "tracepoint.bpf.c"
