/* SPDX-License-Identifier: BSD-2-Clause */
/* events - what its driver (events.c), and what is measured (events_cases.c), share */
#ifndef DCM_BENCH_EVENTS_H
#define DCM_BENCH_EVENTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench/lib_place.h"

enum { EVENTS_ROUNDS_MAX = 10000 };

/* What a case works on: each has its own, for they take turns. */
struct events_thing {
	uint64_t notice, object, listener, session, publication;
	int fd;
};

/* One thing that is measured: so many turns are one sample. */
struct events_case {
	const char *name, *what;
	uint32_t turns;
	uint32_t beside; /* index of the case that its ratio is of */
	void (*begin)(struct events_thing *t);
	void (*turn)(struct events_thing *t);
	void (*end)(struct events_thing *t);
};

extern const struct events_case events_cases[];
extern const uint32_t events_case_count;

/* events_serve() - for bench_child(): one server of each kind, by the name of its endpoint */
enum events_waiting {
	EVENTS_SLEEPER, /* in DcmReceive */
	EVENTS_BADGE,	/* the same, and it accepts with a badge */
	EVENTS_LOOP,	/* in epoll_wait */
	EVENTS_READER,	/* it has subscriptions, which it reads and does not sleep in */
	EVENTS_SERVERS,
};
struct events_server {
	struct place place;
	_Atomic uint32_t *ready;
	enum events_waiting waiting;
};
void events_serve(void *server);

/*
 * events_traced() - some turns of each case, for its parent to see, and the end of this process
 * events_count_calls() - there: system calls of one turn of each. False: it may not be traced
 */
void events_traced(struct events_thing *things) __attribute__((noreturn));
bool events_count_calls(pid_t pid, double *calls);

#endif
