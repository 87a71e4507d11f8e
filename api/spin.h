/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spin - how long a call looks again and again before it sleeps
 *
 * To look costs this processor; to sleep costs the call the time in which it is woken, and whoever
 * wakes it a system call. The policy ADAPTIVE looks for as long as a sleep and a wake may take, as
 * long as that is worth it:
 *
 *   - what came while it looked doubles what is looked for next time, up to the whole;
 *   - what did not come makes it a half, an eighth, nothing: the peer is slow, or waits for this
 *     very processor;
 *   - asleep, it learns whether looking would have been of use: as often as PROBE_AFTER sleeps
 *     were short it looks once more. Where both sides share a processor all sleeps are short, and
 *     looking is in vain each time: that costs one look in so many calls.
 *
 * Where the peer sleeps itself, and has more to do than to answer, the whole is more: several times
 * what a sleep and a wake take (times_more). Such a wait sleeps in the end, whatever the policy.
 *
 * All of it is private to the process and a guess: a value that another thread overwrites is lost.
 */
#ifndef DCM_API_SPIN_H
#define DCM_API_SPIN_H

#include "shm/atomics.h"

/* Of the process: what DcmSetWaitPolicy() or DCM_WAIT said. As a policy of an object. */
#define DCM_SPIN_AS_PROCESS 0u

struct dcm_spin {
	dcm_atomic32 policy;   /* 1 + DCM_WAIT_...; DCM_SPIN_AS_PROCESS */
	dcm_atomic64 most_ns;  /* as int64_t; negative: the library's choice, or for ever */
	dcm_atomic32 halvings; /* of what is looked for; HALVINGS_ALL: nothing */
	dcm_atomic32 shorts;   /* sleeps that were short since the last look */
	uint32_t times_more;   /* constant: what the whole is, beyond one sleep and wake */
};

/* dcm_spin_set() - the policy of one object; null: of all that have none of their own */
void dcm_spin_set(struct dcm_spin *spin, uint32_t policy, int64_t most_ns);

/* dcm_spin_default() - what the environment says; nothing if the program has said otherwise */
void dcm_spin_default(uint32_t policy);

/* dcm_spin_ns() - for how long to look now; 0: sleep at once, INT64_MAX: never sleep */
int64_t dcm_spin_ns(const struct dcm_spin *spin);

/* dcm_spin_adapts() - is that for as long as the library learns that it is of use */
bool dcm_spin_adapts(const struct dcm_spin *spin);

/* dcm_spin_came() - what was looked for came while it was; behind each such look */
static inline void dcm_spin_came(struct dcm_spin *spin)
{
	/* relaxed: see above */
	uint32_t halvings = dcm_load(&spin->halvings, relaxed);

	if (halvings != 0)
		dcm_store(&spin->halvings, halvings - 1, relaxed);
}

/* dcm_spin_in_vain() - it did not */
void dcm_spin_in_vain(struct dcm_spin *spin);

/* dcm_spin_slept() - a wait that slept was @waited_ns long in all */
void dcm_spin_slept(struct dcm_spin *spin, int64_t waited_ns);

#endif
