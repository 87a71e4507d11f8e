/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/lock.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FAR_LONGER_NS (2 * 1000 * 1000)

enum { ENOUGH_FIRST = 16, ENOUGH_MOST = 1 << 24 };

/* Whether there may be favourites: not known yet, yes, no. */
enum { UNKNOWN, USABLE, DENIED };
static _Atomic int barriers = UNKNOWN;

void dcm_lock_init(struct dcm_lock *lock)
{
	*lock = (struct dcm_lock){ .enough = ENOUGH_FIRST };
	pthread_mutex_init(&lock->mutex, NULL);
}

void dcm_lock_destroy(struct dcm_lock *lock)
{
	pthread_mutex_destroy(&lock->mutex);
}

static bool ask_for_barriers(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0) == 0;
}

static bool barrier_everywhere(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0) == 0;
}

static bool usable(void)
{
	int known = atomic_load_explicit(&barriers, memory_order_relaxed);

	if (known == UNKNOWN) {
		known = ask_for_barriers() && barrier_everywhere() ? USABLE : DENIED;
		atomic_store_explicit(&barriers, known, memory_order_relaxed);
	}
	return known == USABLE;
}

static_assert((DCM_LOCK_SEATS & (DCM_LOCK_SEATS - 1)) == 0 && DCM_LOCK_SEATS <= 16,
	      "a seat fits below a thread's number, which is aligned to 16 at the least");

/* The seat of the thread with this number, or a new one; DCM_LOCK_SEATS: all are others'. */
static uint32_t seat_of(struct dcm_lock *lock, uintptr_t self)
{
	uint32_t seat = 0;

	while (seat < DCM_LOCK_SEATS && lock->seated[seat] != self && lock->seated[seat] != 0)
		seat++;
	return seat;
}

/* With the mutex. */
static void favour(struct dcm_lock *lock, uintptr_t self)
{
	uint32_t seat = seat_of(lock, self);

	lock->in_a_row = 0;
	if (seat == DCM_LOCK_SEATS || self % DCM_LOCK_SEATS != 0)
		return;
	lock->seated[seat] = self;
	atomic_store_explicit(&lock->favourite, self | seat, memory_order_relaxed);
}

static void wait_outside(_Atomic uint32_t *inside)
{
	/* acquire, pairs with the release that leaves: what the favourite did in there is seen. */
	while (atomic_load_explicit(inside, memory_order_acquire) != 0)
		syscall(SYS_futex, inside, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

/* With the mutex: nobody is in by favour when this returns, nor comes in. */
static void take_favour(struct dcm_lock *lock, uintptr_t favourite)
{
	const struct timespec far_longer = { .tv_nsec = FAR_LONGER_NS };

	atomic_store_explicit(&lock->favourite, (uintptr_t)0, memory_order_relaxed);
	/* A forked child may have to ask anew. */
	if (!barrier_everywhere() && !(ask_for_barriers() && barrier_everywhere())) {
		atomic_store_explicit(&barriers, DENIED, memory_order_relaxed);
		/* By the bare call: a thread is not cancelled with the lock. */
		syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &far_longer, NULL);
	}
	wait_outside(&lock->inside[favourite % DCM_LOCK_SEATS]);
}

void dcm_lock_visit(struct dcm_lock *lock)
{
	uintptr_t favourite;
	int saved = errno;

	pthread_mutex_lock(&lock->mutex);
	favourite = dcm_lock_favourite(lock);
	if (favourite != 0) {
		take_favour(lock, favourite);
		/* Its next entry is as the last of enough in a row. */
		lock->last = favourite - favourite % DCM_LOCK_SEATS;
		lock->in_a_row = lock->enough - 1;
	}
	lock->by = DCM_LOCK_BY_MUTEX;
	errno = saved;
}

/* With the mutex, and nobody in by favour. */
static void enter(struct dcm_lock *lock)
{
	uintptr_t self = dcm_lock_self();

	if (DCM_LOCK_FAVOURS) {
		lock->in_a_row = lock->last == self ? lock->in_a_row + 1 : 1;
		lock->last = self;
	}
	lock->by = DCM_LOCK_BY_MUTEX;
}

void dcm_lock_enter_mutex(struct dcm_lock *lock)
{
	int saved = errno;

	pthread_mutex_lock(&lock->mutex);
	if (DCM_LOCK_FAVOURS && dcm_lock_favourite(lock) != 0) {
		take_favour(lock, dcm_lock_favourite(lock));
		if (lock->enough < ENOUGH_MOST)
			lock->enough *= 2;
	}
	enter(lock);
	errno = saved;
}

bool dcm_lock_try_mutex(struct dcm_lock *lock)
{
	/* Another's favour, as far as that can be said from here: not worth the mutex. */
	if ((DCM_LOCK_FAVOURS && dcm_lock_favourite(lock) != 0) ||
	    pthread_mutex_trylock(&lock->mutex) != 0)
		return false;
	if (DCM_LOCK_FAVOURS && dcm_lock_favourite(lock) != 0) {
		pthread_mutex_unlock(&lock->mutex);
		return false;
	}
	enter(lock);
	return true;
}

void dcm_lock_tell_taker(struct dcm_lock *lock, uint32_t seat)
{
	int saved = errno;

	syscall(SYS_futex, &lock->inside[seat], FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, NULL,
		NULL, 0);
	errno = saved;
}

void dcm_lock_leave_mutex(struct dcm_lock *lock)
{
	int saved = errno;

	if (DCM_LOCK_FAVOURS && lock->in_a_row >= lock->enough && usable())
		favour(lock, dcm_lock_self());
	pthread_mutex_unlock(&lock->mutex);
	errno = saved;
}
