/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/api/lib_race.h"

#include <sched.h>

void race_meet(atomic_uint *ready, unsigned apart, uint64_t *random)
{
	atomic_fetch_add(ready, 1);
	while (atomic_load(ready) % 2 != 0)
		sched_yield();
	for (uint64_t n = random_next(random) % apart; n > 0; n--)
		atomic_load(ready);
}

void race_go(struct race *race, uint64_t *random)
{
	pthread_barrier_wait(&race->barrier);
	if (!race->over)
		race_meet(&race->ready, race->apart, random);
}

void race_done(struct race *race)
{
	pthread_barrier_wait(&race->barrier);
}

static void do_other(void *arg)
{
	struct race *race = arg;

	for (;;) {
		race_go(race, &race->random);
		if (race->over)
			return;
		race->other();
		race_done(race);
	}
}

void race_start(struct race *race, void (*other)(void), unsigned apart, uint64_t random)
{
	race->over = false;
	race->other = other;
	race->apart = apart;
	race->random = random;
	atomic_store(&race->ready, 0);
	pthread_barrier_init(&race->barrier, NULL, 2);
	task_start(&race->task, do_other, race);
}

void race_stop(struct race *race)
{
	race->over = true;
	pthread_barrier_wait(&race->barrier);
	task_join(&race->task);
	pthread_barrier_destroy(&race->barrier);
}
