/* SPDX-License-Identifier: BSD-2-Clause */
/* events - what its driver (events.c), and what is measured (events_cases.c), share */
#ifndef DCM_BENCH_EVENTS_H
#define DCM_BENCH_EVENTS_H

#include <stdatomic.h>
#include <stdint.h>

#include "bench/lib_place.h"

enum { EVENTS_ROUNDS_MAX = 10000 };

/* One thing that is measured: so many turns are one sample. */
struct events_case {
	const char *name, *what;
	uint32_t turns;
	void (*begin)(void);
	void (*turn)(void);
	void (*end)(void);
};

extern const struct events_case events_cases[];
extern const uint32_t events_case_count;

/* events_serve() - for bench_child(): a server in DcmReceive, or (@loop) in epoll_wait */
struct events_server {
	struct place place;
	_Atomic uint32_t *ready;
	const char *name; /* of its endpoint */
	bool loop;
};
void events_serve(void *server);

#endif
