/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lib_race - two threads that do one thing each at the same moment, again and again
 *
 *	race_start(&race, other, &random, 64);
 *	for (each round) {
 *		race_go(&race, &random2);
 *		...this thread's part...
 *		race_done(&race);
 *	}
 *	race_stop(&race);
 */
#ifndef DCM_TESTS_API_LIB_RACE_H
#define DCM_TESTS_API_LIB_RACE_H

#include "tests/api/lib_api.h"

struct race {
	pthread_barrier_t barrier;
	atomic_uint ready; /* of both: go, without a sleep */
	bool over;
	unsigned apart; /* one of them up to so many looks later */
	void (*other)(void);
	uint64_t random; /* the other's */
	struct task task;
};

/* The other thread calls @other in each round. */
void race_start(struct race *race, void (*other)(void), unsigned apart, uint64_t random);
void race_go(struct race *race, uint64_t *random);
/* Both have done their part. */
void race_done(struct race *race);
void race_stop(struct race *race);

/* The same for two threads that are there already, once: both go when both have come. */
void race_meet(atomic_uint *ready, unsigned apart, uint64_t *random);

#endif
