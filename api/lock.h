/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lock - a mutex that costs the thread which uses it most two plain stores
 *
 * Whoever has entered it some times in a row becomes its favourite, and from then on enters and
 * leaves without a locked instruction. Another thread takes that away with membarrier(), some
 * microseconds, and the lock is a mutex as others are until a favourite is found again; each time
 * that takes twice as many entries, so threads that take turns soon have a plain mutex. Who only comes
 * by now and then, as the keeper does each second, visits: whose favour it took has it back with its
 * next entry.
 *
 * Edges, of words private to the process: D1 favourite: store inside, then load favourite; taker:
 * store favourite, membarrier, then load inside. The favourite has only a compiler's barrier between
 * its two; the kernel runs a full one on its processor between the taker's two. So the taker sees
 * it inside, and waits, or it sees that it is the favourite no more, and steps back. The same for
 * leaving: it has left before the taker looks, or it sees that somebody may be asleep.
 *
 * Each thread that was ever the favourite has a seat of its own to say so in: one that has looked
 * and not stored yet, for however long, harms nobody who is the favourite by then. When the seats
 * are taken there is no new favourite.
 *
 * A thread that ends as the favourite leaves its number behind: the next thread of that number is
 * the favourite, and the only one. A thread that ends inside leaves it locked, as it does a mutex.
 * In a forked child nobody enters a lock of the parent's. Its memory stays until all have left.
 *
 * Where membarrier() is denied from the start there are no favourites. Where it is denied later (a
 * filter), who finds that out waits FAR_LONGER_NS, in which a processor has emptied its store
 * buffer whatever it does, and there are no new ones.
 *
 * ThreadSanitizer and the simulator know mutexes and not membarrier(): theirs have no favourite.
 */
#ifndef DCM_API_LOCK_H
#define DCM_API_LOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "api/hot.h"

#if defined(DCM_HOOKS) || defined(__SANITIZE_THREAD__)
#define DCM_LOCK_FAVOURS 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define DCM_LOCK_FAVOURS 0
#endif
#endif
#ifndef DCM_LOCK_FAVOURS
#define DCM_LOCK_FAVOURS 1
#endif

enum { DCM_LOCK_SEATS = 8, DCM_LOCK_BY_MUTEX = DCM_LOCK_SEATS };

struct dcm_lock {
	/* Thread | seat; 0: nobody. Changed with the mutex. */
	_Atomic uintptr_t favourite;
	uint32_t by; /* by whoever is in: its seat, or DCM_LOCK_BY_MUTEX */
	/* 1: the favourite of this seat is in; a futex for who takes that away. */
	_Atomic uint32_t inside[DCM_LOCK_SEATS];
	/* With the mutex: */
	uint32_t in_a_row, enough;
	uintptr_t last, seated[DCM_LOCK_SEATS];
	pthread_mutex_t mutex;
};

void dcm_lock_init(struct dcm_lock *lock);
void dcm_lock_destroy(struct dcm_lock *lock);

/* Enter as a visitor; left as ever. */
void dcm_lock_visit(struct dcm_lock *lock);

/* The rest of entering and leaving, where that is not all. */
DCM_SELDOM void dcm_lock_enter_mutex(struct dcm_lock *lock);
DCM_SELDOM bool dcm_lock_try_mutex(struct dcm_lock *lock);
DCM_SELDOM void dcm_lock_leave_mutex(struct dcm_lock *lock);
DCM_SELDOM void dcm_lock_tell_taker(struct dcm_lock *lock, uint32_t seat);

static inline uintptr_t dcm_lock_self(void)
{
#ifdef __x86_64__
	/* pthread_self() without the call: glibc's thread is known by where its first word points to. */
	uintptr_t self;

	__asm__("mov %%fs:0, %0" : "=r"(self));
	return self;
#else
	return (uintptr_t)pthread_self();
#endif
}

static inline uintptr_t dcm_lock_favourite(struct dcm_lock *lock)
{
	return atomic_load_explicit(&lock->favourite, memory_order_relaxed);
}

/* D1, between the store and the load. */
static inline bool dcm_lock_still(struct dcm_lock *lock, uintptr_t favourite)
{
	atomic_signal_fence(memory_order_seq_cst);
	return dcm_lock_favourite(lock) == favourite;
}

/* By favour, if this thread has it. */
static inline bool dcm_lock_enter_favoured(struct dcm_lock *lock)
{
	uintptr_t favourite = DCM_LOCK_FAVOURS ? dcm_lock_favourite(lock) : 0;
	uint32_t seat = (uint32_t)(favourite ^ dcm_lock_self());

	if (!DCM_LOCK_FAVOURS || (favourite ^ dcm_lock_self()) >= DCM_LOCK_SEATS)
		return false;
	atomic_store_explicit(&lock->inside[seat], 1u, memory_order_relaxed);
	if (dcm_lock_still(lock, favourite)) {
		lock->by = seat;
		return true;
	}
	atomic_store_explicit(&lock->inside[seat], 0u, memory_order_release);
	dcm_lock_tell_taker(lock, seat);
	return false;
}

static inline void dcm_lock_enter(struct dcm_lock *lock)
{
	if (!dcm_lock_enter_favoured(lock))
		dcm_lock_enter_mutex(lock);
}

/* dcm_lock_try() - enter, unless that would take waiting, or taking the favour from another */
static inline bool dcm_lock_try(struct dcm_lock *lock)
{
	return dcm_lock_enter_favoured(lock) || dcm_lock_try_mutex(lock);
}

static inline void dcm_lock_leave(struct dcm_lock *lock)
{
	uint32_t seat = lock->by;

	if (seat == DCM_LOCK_BY_MUTEX) {
		dcm_lock_leave_mutex(lock);
		return;
	}
	atomic_store_explicit(&lock->inside[seat], 0u, memory_order_release);
	if (!dcm_lock_still(lock, dcm_lock_self() | seat))
		dcm_lock_tell_taker(lock, seat);
}

#endif
