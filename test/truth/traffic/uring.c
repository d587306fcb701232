// SPDX-License-Identifier: Apache-2.0
/* io_uring, by bare system calls: the kernel sends and receives where no call of that name is. */
#include "traffic.h"
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>

struct ring {
	int fd;
	unsigned *submit_tail, *submit_mask, *submit_array;
	unsigned *done_head, *done_tail, *done_mask;
	struct io_uring_sqe *submissions;
	struct io_uring_cqe *completions;
};

static int setup(struct io_uring_params *parameters)
{
	return syscall(SYS_io_uring_setup, 2, parameters);
}

static const char *no_uring(void)
{
	struct io_uring_params parameters = {0};
	int fd = setup(&parameters);

	if (fd < 0)
		return errno == ENOSYS ? "no io_uring" : "io_uring is not allowed";
	close(fd);
	return NULL;
}

static void *part(int fd, size_t size, off_t which)
{
	void *memory =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, which);

	if (memory == MAP_FAILED)
		die("map the ring");
	return memory;
}

static struct ring open_ring(void)
{
	struct io_uring_params p = {0};
	struct ring ring = {.fd = setup(&p)};
	char *submit, *done;

	if (ring.fd < 0)
		die("set up io_uring");
	submit =
		part(ring.fd, p.sq_off.array + p.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
	done = part(ring.fd, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe),
		    IORING_OFF_CQ_RING);
	ring.submissions =
		part(ring.fd, p.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
	ring.submit_tail = (void *)(submit + p.sq_off.tail);
	ring.submit_mask = (void *)(submit + p.sq_off.ring_mask);
	ring.submit_array = (void *)(submit + p.sq_off.array);
	ring.done_head = (void *)(done + p.cq_off.head);
	ring.done_tail = (void *)(done + p.cq_off.tail);
	ring.done_mask = (void *)(done + p.cq_off.ring_mask);
	ring.completions = (void *)(done + p.cq_off.cqes);
	return ring;
}

/* One operation, and its result. */
static ssize_t operate(struct ring *ring, int operation, int fd, void *buffer, size_t bytes)
{
	unsigned tail = *ring->submit_tail, index = tail & *ring->submit_mask, head;
	ssize_t result;

	ring->submissions[index] = (struct io_uring_sqe){
		.opcode = operation, .fd = fd, .addr = (uintptr_t)buffer, .len = bytes};
	ring->submit_array[index] = index;
	__atomic_store_n(ring->submit_tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		die("submit");
	head = *ring->done_head;
	if (head == __atomic_load_n(ring->done_tail, __ATOMIC_ACQUIRE))
		die("wait for the completion");
	result = ring->completions[head & *ring->done_mask].res;
	__atomic_store_n(ring->done_head, head + 1, __ATOMIC_RELEASE);
	if (result <= 0) {
		errno = -result;
		die("send or receive by io_uring");
	}
	return result;
}

static void put_by_ring(struct ring *ring, struct end *end, size_t bytes)
{
	while (bytes > 0) {
		uint64_t began = now();
		ssize_t n = operate(ring, IORING_OP_SEND, end->fd, payload, bytes);

		note_sent(end, began, n);
		bytes -= n;
	}
}

static void get_by_ring(struct ring *ring, struct end *end, size_t bytes)
{
	static char buffer[PIECE];

	while (bytes > 0) {
		ssize_t n = operate(ring, IORING_OP_RECV, end->fd, buffer,
				    bytes < PIECE ? bytes : PIECE);

		note_received(end, n);
		bytes -= n;
	}
}

static void ask_by_ring(struct end *end, const struct scenario *s)
{
	struct ring ring = open_ring();

	for (int i = 0; i < s->rounds; i++) {
		put_by_ring(&ring, end, s->request);
		get_by_ring(&ring, end, s->answer);
	}
	close(ring.fd);
}

static void answer_by_ring(struct end *end, const struct scenario *s)
{
	struct ring ring = open_ring();

	for (int i = 0; i < s->rounds; i++) {
		get_by_ring(&ring, end, s->request);
		put_by_ring(&ring, end, s->answer);
	}
	close(ring.fd);
}

const struct scenario uring[] = {
	{.name = "io-uring",
	 .lacks = no_uring,
	 .rounds = 20,
	 .request = 5000,
	 .answer = 300000,
	 .client = ask_by_ring,
	 .server = answer_by_ring},
	{0},
};
