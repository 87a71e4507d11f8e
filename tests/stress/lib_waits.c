/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/stress/lib_waits.h"

#include <linux/io_uring.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/tap.h"

enum { URING_ENTRIES = 256 };

/* The rings, by the bare system calls. */
struct uring {
	struct io_uring_params of;
	void *sq, *cq;
	struct io_uring_sqe *sqes;
	uint32_t added[WAITS_MAX]; /* how often a descriptor came by that number */
};

const char *waits_name(enum way way)
{
	static const char *const names[WAYS] = { "poll", "epoll", "epoll, edge-triggered",
						 "io_uring, polled each time",
						 "io_uring, polled once for all" };

	return names[way];
}

static _Atomic uint32_t *ring_word(void *ring, uint32_t offset)
{
	return (_Atomic uint32_t *)(void *)((char *)ring + offset);
}

static void *ring_map(int fd, size_t bytes, off_t what)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);

	if (at == MAP_FAILED)
		sysbail("mmap of io_uring");
	return at;
}

static size_t sq_bytes(const struct uring *u)
{
	return u->of.sq_off.array + u->of.sq_entries * sizeof(uint32_t);
}

static size_t cq_bytes(const struct uring *u)
{
	return u->of.cq_off.cqes + u->of.cq_entries * sizeof(struct io_uring_cqe);
}

static bool uring_open(struct waits *w)
{
	struct uring *u = calloc(1, sizeof *u);

	if (u == NULL)
		sysbail("calloc");
	w->fd = (int)syscall(SYS_io_uring_setup, URING_ENTRIES, &u->of);
	w->uring = u;
	if (w->fd < 0) {
		free(u);
		return false;
	}
	u->sq = ring_map(w->fd, sq_bytes(u), IORING_OFF_SQ_RING);
	u->cq = ring_map(w->fd, cq_bytes(u), IORING_OFF_CQ_RING);
	u->sqes = ring_map(w->fd, u->of.sq_entries * sizeof *u->sqes, IORING_OFF_SQES);
	return true;
}

/* From now on; what is readable already is told at once. */
static void uring_poll(struct waits *w, unsigned int number)
{
	struct uring *u = w->uring;
	_Atomic uint32_t *tail = ring_word(u->sq, u->of.sq_off.tail);
	uint32_t mask = *ring_word(u->sq, u->of.sq_off.ring_mask), at = atomic_load(tail) & mask;

	u->sqes[at] = (struct io_uring_sqe){
		.opcode = IORING_OP_POLL_ADD,
		.fd = w->fds[number],
		.len = w->way == WAY_URING_MULTI ? IORING_POLL_ADD_MULTI : 0,
		.poll32_events = POLLIN,
		.user_data = (uint64_t)u->added[number] << 32 | number,
	};
	*ring_word(u->sq, u->of.sq_off.array + at * (uint32_t)sizeof(uint32_t)) = at;
	atomic_fetch_add(tail, 1u);
	if (syscall(SYS_io_uring_enter, w->fd, 1, 0, 0, NULL, 0) != 1)
		sysbail("io_uring_enter");
}

/* Of what is told of a descriptor that another took the place of, nothing is said. */
static unsigned int uring_ready(struct waits *w)
{
	struct uring *u = w->uring;
	_Atomic uint32_t *head = ring_word(u->cq, u->of.cq_off.head);
	uint32_t mask = *ring_word(u->cq, u->of.cq_off.ring_mask);
	const struct io_uring_cqe *cqes =
		(const struct io_uring_cqe *)(void *)((char *)u->cq + u->of.cq_off.cqes);
	uint32_t tail = atomic_load(ring_word(u->cq, u->of.cq_off.tail));
	unsigned int ready = 0;

	while (atomic_load(head) != tail) {
		struct io_uring_cqe cqe = cqes[atomic_load(head) & mask];
		unsigned int number = (unsigned int)cqe.user_data % WAITS_MAX;

		atomic_fetch_add(head, 1u);
		if (cqe.user_data >> 32 != u->added[number])
			continue;
		if (cqe.res < 0)
			bail("a poll by io_uring: %s", strerror(-cqe.res));
		ready |= 1u << number;
		/* Armed again before the caller looks: what comes behind that is told anew. */
		if ((cqe.flags & IORING_CQE_F_MORE) == 0)
			uring_poll(w, number);
	}
	return ready;
}

bool waits_open(struct waits *w, enum way way)
{
	*w = (struct waits){ .way = way, .fd = -1 };
	for (unsigned int i = 0; i < WAITS_MAX; i++)
		w->fds[i] = -1;
	if (way == WAY_LEVEL || way == WAY_EDGE)
		w->fd = epoll_create1(EPOLL_CLOEXEC);
	return way < WAY_URING || uring_open(w);
}

void waits_add(struct waits *w, unsigned int number, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = number };

	w->fds[number] = fd;
	if (w->way == WAY_EDGE)
		event.events |= EPOLLET;
	if (w->way >= WAY_URING) {
		w->uring->added[number]++;
		uring_poll(w, number);
	} else if (w->fd >= 0 && epoll_ctl(w->fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		sysbail("epoll_ctl");
	}
}

static unsigned int poll_all(struct waits *w, int ms)
{
	struct pollfd on[WAITS_MAX];
	unsigned int ready = 0;

	for (unsigned int i = 0; i < WAITS_MAX; i++)
		on[i] = (struct pollfd){ .fd = w->fds[i], .events = POLLIN };
	poll(on, WAITS_MAX, ms);
	for (unsigned int i = 0; i < WAITS_MAX; i++)
		if (on[i].revents != 0)
			ready |= 1u << i;
	return ready;
}

unsigned int waits_for(struct waits *w, int ms)
{
	struct epoll_event events[WAITS_MAX];
	struct pollfd on = { .fd = w->fd, .events = POLLIN };
	unsigned int ready = 0;
	int count;

	if (w->way == WAY_POLL)
		return poll_all(w, ms);
	if (w->way >= WAY_URING) {
		poll(&on, 1, ms);
		return uring_ready(w);
	}
	count = epoll_wait(w->fd, events, WAITS_MAX, ms);
	for (int i = 0; i < count; i++)
		ready |= 1u << events[i].data.u32;
	return ready;
}

void waits_close(struct waits *w)
{
	struct uring *u = w->uring;

	if (w->way >= WAY_URING) {
		munmap(u->sqes, u->of.sq_entries * sizeof *u->sqes);
		munmap(u->cq, cq_bytes(u));
		munmap(u->sq, sq_bytes(u));
		free(u);
	}
	if (w->fd >= 0)
		close(w->fd);
}
