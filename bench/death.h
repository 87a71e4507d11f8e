/* SPDX-License-Identifier: BSD-2-Clause */
/* death - what its driver (death.c), and the processes that it starts (death_roles.c), share */
#ifndef DCM_BENCH_DEATH_H
#define DCM_BENCH_DEATH_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench/lib_place.h"

enum { DEATH_CALLERS_MAX = 256 };

enum death_call {
	DEATH_CALL,
	DEATH_CONNECT,
	DEATH_LISTEN,
	DEATH_READ,
	DEATH_CALLS,
	DEATH_RAW = DEATH_CALLS, /* no call of the library: a robust futex, as it is */
};

extern const char *const death_call_names[DEATH_CALLS + 1]; /* as on the command line */

struct death_caller {
	pid_t pid;
	int64_t returned_ns;
};

/* One group of callers, and one victim after the other. */
struct death_stage {
	/* What the next round is. Written before round is raised. */
	enum death_call call;
	size_t resident;
	uint32_t callers;
	struct place place;
	_Alignas(64) _Atomic uint32_t round;
	_Atomic uint32_t victims;  /* that were ready so far */
	_Atomic uint32_t blocked;  /* callers about to block, in all rounds */
	_Atomic uint32_t returned; /* that returned, likewise, and wait for all others */
	_Atomic uint32_t away;	   /* rounds whose callers may put things away */
	_Atomic uint32_t back;	   /* callers that have put everything away, in all rounds */
	_Alignas(64) _Atomic uint32_t robust; /* of the raw victim */
	_Alignas(64) struct death_caller caller[DEATH_CALLERS_MAX];
};

struct death_caller_is {
	struct death_stage *stage;
	uint32_t number;
};

/* For bench_child(): struct death_stage, struct death_caller_is. */
void death_victim(void *stage);
void death_caller(void *is);

#endif
