/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The mutexes of simulated processes, in place of the C library's: a fiber that waited for one in
 * the kernel would wait for ever. Whoever dies with one leaves it locked, which only its own
 * process can notice, and that one is dead too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>

#include "tests/sim/sim_state.h"

/* What lies in a pthread_mutex_t, all zero at first. */
struct lock {
	uint32_t held_by, had_by; /* thread + 1: now, and last */
	uint32_t wanted;	  /* somebody waits */
};

static_assert(sizeof(struct lock) <= sizeof(pthread_mutex_t), "within");

static struct lock *lock_of(void *mutex)
{
	return mutex;
}

/* If not, whoever unlocks it next asks again. */
static bool is_free(void *mutex)
{
	struct lock *lock = lock_of(mutex);

	if (lock->held_by != 0)
		lock->wanted = 1;
	return lock->held_by == 0;
}

int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr)
{
	(void)attr;
	*lock_of(mutex) = (struct lock){ 0 };
	return 0;
}

int pthread_mutex_destroy(pthread_mutex_t *mutex)
{
	(void)mutex;
	return 0;
}

static void take(struct lock *lock)
{
	/* What its last holder stored before it unlocked is in memory, and so is what is ours. Not
	   where we were the last ourselves: such a lock may cost no barrier (api/lock.h). */
	if (lock->had_by != (uint32_t)sim.current + 1) {
		if (lock->had_by != 0)
			sim_drain(lock->had_by - 1);
		sim_drain((unsigned)sim.current);
		sim.threads[sim.current].floor = sim.steps;
		sim.threads[sim.current].last_seq = sim.steps;
	}
	lock->held_by = lock->had_by = (uint32_t)sim.current + 1;
}

/* Beside the fibers there is one thread, and no lock to wait for. */
int pthread_mutex_lock(pthread_mutex_t *mutex)
{
	if (sim.current < 0)
		return 0;
	sim_step();
	while (!is_free(mutex))
		sim_wait(is_free, mutex);
	take(lock_of(mutex));
	return 0;
}

int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
	if (sim.current < 0)
		return 0;
	sim_step();
	if (lock_of(mutex)->held_by != 0)
		return EBUSY;
	take(lock_of(mutex));
	return 0;
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	struct lock *lock = lock_of(mutex);

	if (sim.current < 0)
		return 0;
	if (lock->held_by != (uint32_t)sim.current + 1)
		sim_fail("scenario: unlocks what another thread has locked");
	lock->held_by = 0;
	if (lock->wanted) {
		lock->wanted = 0;
		sim_changed();
		sim.next_stop = sim.steps;
	}
	return 0;
}
