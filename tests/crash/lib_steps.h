/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steps - something else happens at one access to shared memory of a call, each in turn
 *
 *	for (uint32_t at = 0; came; at++) {
 *		steps_begin(at, act, arg);
 *		DcmAccept(...);
 *		came = steps_end();
 *	}
 */
#ifndef DCM_TESTS_CRASH_STEPS_H
#define DCM_TESTS_CRASH_STEPS_H

#include <dcm/types.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Once, before there is another thread. */
void steps_install(void);
/* From now on @act is called before the access of number @at of this thread, counted from 0; its
   own accesses are not counted. */
void steps_begin(uint32_t at, void (*act)(void *arg), void *arg);
/* No more. Return: whether it came to that access. */
bool steps_end(void);

#define STEPS_LONG_NS INT64_C(20000000000)

/* A call that cannot go wrong, or the test dies. */
void steps_must(Retcode rc, const char *what);
/* A session of this process with itself; DcmInit must be in effect. */
Handle steps_connect(const char *name, Handle *listener);

/* Another thread that is at work meanwhile. */
struct beside {
	pthread_t thread;
	_Atomic int tid, over;
	void (*run)(void *arg);
	void *arg;
};
void beside_start(struct beside *b, void (*run)(void *arg), void *arg);
/* Comes back when it sleeps, whatever for, or is over. */
void beside_settle(struct beside *b);
/* Is it over? Waits for 20 seconds at the most. */
bool beside_ends(struct beside *b);
void beside_join(struct beside *b);

#endif
