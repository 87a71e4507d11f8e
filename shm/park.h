/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * park - sleeping on a word of the segment, and waking whoever sleeps there
 *
 * An event count: bit 0 of the word says that somebody may be asleep, the rest counts. The waiter
 *
 *	key = dcm_park_prepare(ec);
 *	if (what I wait for is there) { done; the bit stays, at the cost of one needless wake }
 *	dcm_park_sleep(ec, key, ...);		and around again
 *
 * and the waker, after a seq store or any read-modify-write that made it true,
 *
 *	dcm_park_wake_all(ec);  or  dcm_park_wake_one(ec);
 *
 * Edges: W1 waiter's or(ec) then its look; W2 waker's store, then its load(ec). All four seq:
 * either the look sees the store, or the load sees the bit.
 */
#ifndef DCM_SHM_PARK_H
#define DCM_SHM_PARK_H

#include "shm/atomics.h"

#define DCM_FOREVER INT64_MAX /* as a deadline */

/* A word that ends a sleep when it is not, or no longer, as expected. */
struct dcm_park_word {
	dcm_atomic32 *word; /* null: none */
	uint32_t expected;
};

/* What else ends a sleep: the death of one or two others, and a word of the waiter's own process. */
enum { DCM_PARK_DEATHS = 2 };
struct dcm_park_guard {
	struct dcm_park_word alive[DCM_PARK_DEATHS];
	struct dcm_park_word poke;
};

uint32_t dcm_park_prepare(dcm_atomic32 *ec);

/*
 * dcm_park_sleep() - until the word is no longer @key, or a guard's is no longer as expected
 * @deadline_ns: CLOCK_MONOTONIC, or DCM_FOREVER
 * The word need not be an event count: any word of the segment with the value that was read.
 * Of those who sleep on an alive word the kernel wakes one; that one wakes the others in here.
 * Return: 0 (woken, changed, or for no reason: look again) or -ETIMEDOUT.
 */
int dcm_park_sleep(dcm_atomic32 *ec, uint32_t key, const struct dcm_park_guard *guard,
		   int64_t deadline_ns);

void dcm_park_wake_all(dcm_atomic32 *ec);
/* Return: whether somebody may have been asleep. */
bool dcm_park_wake_one(dcm_atomic32 *ec);

/* dcm_park_sleeps() - of the two before: would they wake anybody; looks only */
static inline bool dcm_park_sleeps(const dcm_atomic32 *ec)
{
	/* seq, W2 */
	return (dcm_load(ec, DCM_ORDER(waker_looks_in_order, seq, relaxed)) & 1) != 0;
}

/* dcm_park_wake_word() - everybody who sleeps on a word that is not an event count */
void dcm_park_wake_word(dcm_atomic32 *word);

/* dcm_park_poke() - change a word of this process's own that guards a sleep, and wake its sleepers */
void dcm_park_poke(dcm_atomic32 *poke);

/* dcm_park_deadline() - now + @timeout_ns; negative: DCM_FOREVER. Saturates. */
int64_t dcm_park_deadline(int64_t timeout_ns);
int64_t dcm_park_now(void);
/* dcm_park_pause() - once around a spin */
void dcm_park_pause(void);
/* dcm_park_yield() - whoever else was woken on this processor goes first */
void dcm_park_yield(void);

/*
 * dcm_park_nap() - the same, for longer: @ns, below a second
 * One that the kernel means to go on may be chosen again when it yields, and not while it sleeps.
 */
void dcm_park_nap(int64_t ns);

#endif
