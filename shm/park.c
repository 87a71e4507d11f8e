/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "shm/park.h"

#include <ck_pr.h>
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "shm/kernel.h"

/* Where the kernel has no futex_waitv, or denies it, a guarded sleep looks around this often. */
#define SLICE_NS (10 * 1000 * 1000)

/* 1 while futex_waitv works; of this process, not of the segment. */
static _Atomic uint32_t waitv_works = 1;

#ifdef DCM_HOOKS
const struct dcm_hooks *dcm_hooks;
const char *dcm_mutant;
#endif

int64_t dcm_park_now(void)
{
	struct timespec now;

#ifdef DCM_HOOKS
	if (DCM_HOOKED(now_ns))
		return dcm_hooks->now_ns();
#endif
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t dcm_park_deadline(int64_t timeout_ns)
{
	int64_t now;

	if (timeout_ns < 0)
		return DCM_FOREVER;
	now = dcm_park_now();
	return timeout_ns < DCM_FOREVER - now ? now + timeout_ns : DCM_FOREVER;
}

void dcm_park_pause(void)
{
#ifdef DCM_HOOKS
	if (DCM_HOOKED(pause)) {
		dcm_hooks->pause();
		return;
	}
#endif
	ck_pr_stall();
}

void dcm_park_yield(void)
{
#ifdef DCM_HOOKS
	if (DCM_HOOKED(pause)) {
		dcm_hooks->pause();
		return;
	}
#endif
	sched_yield();
}

void dcm_park_nap(int64_t ns)
{
#ifdef DCM_HOOKS
	/* Tests that kill at each step come here tens of thousands of times. */
	(void)ns;
	dcm_park_yield();
#else
	int saved = errno;

	/* By the bare call: who comes here may hold a lock that it must not be cancelled with. */
	syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &(struct timespec){ .tv_nsec = (long)ns },
		NULL);
	errno = saved;
#endif
}

static struct timespec to_timespec(int64_t ns)
{
	return (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

/* Words of the segment are shared futexes: a private one would wake nobody in another process. */
static long wait_one(dcm_atomic32 *word, uint32_t expected, int64_t deadline_ns)
{
	struct timespec until = to_timespec(deadline_ns);

	return syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected,
		       deadline_ns == DCM_FOREVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

/* What one sleep is on: the word itself, what guards it, last the poke, which is private. */
struct nap {
	struct dcm_park_word on[2 + DCM_PARK_DEATHS];
	unsigned count;
	bool poked;
};

static long wait_many(const struct nap *nap, int64_t deadline_ns)
{
	struct timespec until = to_timespec(deadline_ns);
	struct futex_waitv on[2 + DCM_PARK_DEATHS];

	for (unsigned i = 0; i < nap->count; i++)
		on[i] = (struct futex_waitv){ .val = nap->on[i].expected,
					      .uaddr = (uintptr_t)nap->on[i].word,
					      .flags = FUTEX_32 };
	if (nap->poked)
		on[nap->count - 1].flags |= FUTEX_PRIVATE_FLAG;
	return syscall(SYS_futex_waitv, on, nap->count, 0,
		       deadline_ns == DCM_FOREVER ? NULL : &until, CLOCK_MONOTONIC);
}

static bool guards_hold(const struct nap *nap)
{
	for (unsigned i = 1; i < nap->count; i++)
		if (dcm_load(nap->on[i].word, acquire) != nap->on[i].expected)
			return false;
	return true;
}

/* Without futex_waitv: one word, in slices, and the guards looked at between them. */
static int wait_sliced(const struct nap *nap, int64_t deadline_ns)
{
	while (guards_hold(nap)) {
		int64_t slice = dcm_park_now() + SLICE_NS;

		if (wait_one(nap->on[0].word, nap->on[0].expected,
			     slice < deadline_ns ? slice : deadline_ns) == 0 ||
		    errno != ETIMEDOUT)
			return 0;
		if (slice >= deadline_ns)
			return -ETIMEDOUT;
	}
	return 0;
}

static int sleep_in_kernel(const struct nap *nap, int64_t deadline_ns)
{
	if (nap->count == 1)
		return wait_one(nap->on[0].word, nap->on[0].expected, deadline_ns) != 0 &&
				       errno == ETIMEDOUT
			       ? -ETIMEDOUT
			       : 0;
	if (atomic_load_explicit(&waitv_works, memory_order_relaxed)) {
		if (wait_many(nap, deadline_ns) >= 0)
			return 0;
		if (errno == ETIMEDOUT)
			return -ETIMEDOUT;
		if (errno != ENOSYS && errno != EPERM && errno != EACCES)
			return 0;
		atomic_store_explicit(&waitv_works, 0, memory_order_relaxed);
	}
	return wait_sliced(nap, deadline_ns);
}

static struct nap nap_on(dcm_atomic32 *ec, uint32_t key, const struct dcm_park_guard *guard)
{
	struct nap nap = { .on = { { ec, key } }, .count = 1 };

	if (guard == NULL)
		return nap;
	for (unsigned i = 0; i < DCM_PARK_DEATHS; i++)
		if (guard->alive[i].word != NULL)
			nap.on[nap.count++] = guard->alive[i];
	nap.poked = guard->poke.word != NULL;
	if (nap.poked)
		nap.on[nap.count++] = guard->poke;
	return nap;
}

/*
 * The kernel wakes one of those who sleep on an alive word when it marks it; that one may be us,
 * and we may leave with what we waited for. The others that sleep on it are threads of this process.
 * (Whom a handler keeps on the way here, or the host has cancelled, its keeper stands in for:
 * shm/baton.h.)
 */
static void pass_baton(const struct dcm_park_guard *guard)
{
	for (unsigned i = 0; guard != NULL && i < DCM_PARK_DEATHS; i++)
		/* seq: not before the sleep, whose end is what this is about */
		if (guard->alive[i].word != NULL &&
		    dcm_load(guard->alive[i].word, seq) != guard->alive[i].expected)
			DCM_LINE(sleeper_passes_baton) dcm_park_wake_word(guard->alive[i].word);
}

uint32_t dcm_park_prepare(dcm_atomic32 *ec)
{
	/* seq, W1: before the caller's look at what it waits for. */
	return dcm_or(ec, 1u) | 1u;
}

int dcm_park_sleep(dcm_atomic32 *ec, uint32_t key, const struct dcm_park_guard *guard,
		   int64_t deadline_ns)
{
	struct nap nap = nap_on(ec, key, guard);
	int saved = errno;
	int result;

#ifdef DCM_HOOKS
	if (DCM_HOOKED(futex_wait)) {
		result = dcm_hooks->futex_wait(nap.on, nap.count, deadline_ns);
		pass_baton(guard);
		return result;
	}
#endif
	result = sleep_in_kernel(&nap, deadline_ns);
	pass_baton(guard);
	errno = saved;
	return result;
}

static __attribute__((noinline)) int wake(dcm_atomic32 *word, int count)
{
	int saved = errno;
	long woken;

#ifdef DCM_HOOKS
	if (DCM_HOOKED(futex_wake))
		return dcm_hooks->futex_wake(word, count);
#endif
	woken = syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
	errno = saved;
	return woken > 0 ? (int)woken : 0;
}

void dcm_park_wake_word(dcm_atomic32 *word)
{
	wake(word, INT32_MAX);
}

void dcm_park_poke(dcm_atomic32 *poke)
{
	int saved = errno;

	dcm_add(poke, 1u);
#ifdef DCM_HOOKS
	if (DCM_HOOKED(futex_wake)) {
		dcm_hooks->futex_wake(poke, INT32_MAX);
		return;
	}
#endif
	syscall(SYS_futex, poke, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX, NULL, NULL, 0);
	errno = saved;
}

/*
 * Add @add to the word and wake all, with nothing in between: the kernel holds the queue meanwhile,
 * so whoever sleeps is woken or finds the word changed, and a kill or stop comes before or after.
 * (Cleared first and woken later, the bit would tell every other waker that nobody sleeps, for as
 * long as this one is stopped, and for ever if it is killed. Woken first and cleared later, the bit
 * of one that fell asleep in between would be lost.)
 */
static __attribute__((noinline)) void add_and_wake_all(dcm_atomic32 *ec, uint32_t add)
{
	int saved = errno;

#ifdef DCM_HOOKS
	if (DCM_HOOKED(futex_add_wake)) {
		dcm_hooks->futex_add_wake(ec, add);
		return;
	}
#endif
	/* The comparison is for a second word, which there is not: less than 0 is rarely true. */
	if (syscall(SYS_futex, ec, FUTEX_WAKE_OP, INT32_MAX, NULL, ec,
		    FUTEX_OP(FUTEX_OP_ADD, add, FUTEX_OP_CMP_LT, 0)) < 0) {
		dcm_add(ec, add); /* a kernel without it */
		wake(ec, INT32_MAX);
	}
	errno = saved;
}

void dcm_park_wake_all(dcm_atomic32 *ec)
{
	/* seq, W2: after the caller's store. */
	uint32_t seen = dcm_load(ec, DCM_ORDER(waker_looks_in_order, seq, relaxed));

	if ((seen & 1) == 0)
		return;
	/* Odd + 1: counted, and the bit is clear. Dying before this line leaves sleepers and their
	   bit: whoever wakes next, the caller's reaper at the latest, wakes them. */
	add_and_wake_all(ec, DCM_ORDER(waker_counts, 1u, 0u));
}

bool dcm_park_wake_one(dcm_atomic32 *ec)
{
	uint32_t seen = dcm_load(ec, DCM_ORDER(waker_looks_in_order, seq, relaxed));

	if ((seen & 1) == 0)
		return false;
	/* Odd + 2: counted, and the bit stays for the others that sleep. Added, not swapped in: a
	   second waker has a second piece of work and must wake a second sleeper. */
	seen = dcm_add(ec, DCM_ORDER(waker_of_one_counts, 2u, 0u)) + 2;
	if (wake(ec, 1) == 0 && (seen & 1) != 0)
		/* Nobody slept; whoever does by now is woken, since its bit goes. */
		add_and_wake_all(ec, 1u);
	return true;
}
