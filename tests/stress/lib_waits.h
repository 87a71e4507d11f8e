/* SPDX-License-Identifier: BSD-2-Clause */
/* lib_waits - the ways in which an event loop can wait for descriptors to become readable */
#ifndef DCM_TESTS_STRESS_LIB_WAITS_H
#define DCM_TESTS_STRESS_LIB_WAITS_H

#include <stdbool.h>

enum way {
	WAY_POLL,	 /* poll() */
	WAY_LEVEL,	 /* epoll */
	WAY_EDGE,	 /* epoll, edge-triggered */
	WAY_URING,	 /* io_uring, a poll for each time */
	WAY_URING_MULTI, /* io_uring, one poll that tells again and again */
	WAYS
};

enum { WAITS_MAX = 16 };

struct waits {
	enum way way;
	int fds[WAITS_MAX]; /* -1: none */
	int fd;		    /* of epoll or io_uring; -1: neither */
	struct uring *uring;
};

/* waits_name() - for results */
const char *waits_name(enum way way);

/* waits_open() - false: the kernel does not let this process wait so */
bool waits_open(struct waits *waits, enum way way);

/* waits_add() - also wait for @fd, which is known as @number; in place of one of that number before */
void waits_add(struct waits *waits, unsigned int number, int fd);

/* waits_for() - those that are readable, a bit for each number; 0: none for @ms */
unsigned int waits_for(struct waits *waits, int ms);

void waits_close(struct waits *waits);

#endif
