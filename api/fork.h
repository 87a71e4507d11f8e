/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fork - a forked child notices that it is one
 *
 * At the first call into the library that a child makes, however it was made (fork, _Fork, a raw
 * clone), what belongs to the parent alone is dropped, once, before anything else is done: first
 * the numbers (dcm_handle_forked), then the base of SIDs and the process's own handle, then what
 * was registered here, in the order of registration.
 *
 * What fork() leaves to be done in the child at once (locks that were held across it) is done by
 * handlers of pthread_atfork() and does not wait for that call.
 */
#ifndef DCM_API_FORK_H
#define DCM_API_FORK_H

#include <stdbool.h>
#include <stdint.h>

#include "api/hot.h"

/* Points at a word that says NEW until the first call, then at one that the kernel zeroes in
   a child. */
extern uint32_t *dcm_fork_word;

enum {
	DCM_FORK_NEW = 0,     /* nothing was done yet in this process */
	DCM_FORK_SETTLED = 1, /* go on */
	DCM_FORK_BUSY = 2,    /* a thread is at it */
};

DCM_SELDOM void dcm_fork_settle(void);

/*
 * dcm_fork_check() - at the entry of every public function that touches state
 * Two loads, once settled. Threads of a child that come while one of them settles things wait for
 * it; calls out of the resets themselves go through.
 */
static inline void dcm_fork_check(void)
{
	uint32_t *word = __atomic_load_n(&dcm_fork_word, __ATOMIC_ACQUIRE);

	if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != DCM_FORK_SETTLED)
		dcm_fork_settle();
}

/*
 * dcm_fork_register() - have @reset called in every forked child from now on
 * The same function twice counts once. A few places, fixed: meant for modules, once each.
 * Return: false when no place is left.
 */
bool dcm_fork_register(void (*reset)(void));

#endif
