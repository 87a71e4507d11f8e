/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keeper - the one thread of the library
 *
 * It carries the beacon (the alive word is its robust futex), sleeps on its control word and on
 * alive words of the processes that this one watches, and does what may wait: reaping, closing
 * what was handed over, unmapping. It blocks all signals. While nothing is to be done it does not
 * wake up. While a channel has much memory that may go (api/end.h) it looks around once a second; so
 * it does while calls of this process are blocked, for the case that whoever should have told them
 * died or was stopped in the middle of telling, or is a thread of this process that a signal handler
 * keeps (shm/baton.h). A rung bell (shm/bell.h) costs it no such round: it looks at its sources
 * (api/source.h) and sleeps on.
 * (SIGBUS alone it takes when the program asked for a guard: api/guard.h.)
 */
#ifndef DCM_API_KEEPER_H
#define DCM_API_KEEPER_H

#include "shm/segment.h"

/*
 * dcm_keeper_start() - start it for this process's slot @self, and wait until its beacon is armed
 * @detach: called by the thread as its last act, with @arg, when it was told to stop; nothing of the
 *          fabric is touched behind it
 * Return: 0 or negative errno (then there is no thread).
 */
int dcm_keeper_start(const struct dcm_segment *seg, struct dcm_ref self, void (*detach)(void *arg),
		     void *arg);

/*
 * dcm_keeper_chore() - have @chore done each time the keeper looks around; the same one counts once
 * @chore: its argument says that a second has passed since it last said so: time for what costs more
 * and is in no hurry. It returns how many things want another look soon. A few places, fixed.
 */
void dcm_keeper_chore(uint32_t (*chore)(bool second));

/*
 * dcm_keeper_on_marks() - have @look called when connections of this process @self are marked
 * One alone: whoever gives another replaces it.
 */
void dcm_keeper_on_marks(void (*look)(const struct dcm_segment *seg, uint32_t self));

/* dcm_keeper_kick() - have it look around */
void dcm_keeper_kick(void);

/* dcm_keeper_retired() - another 64 objects wait for dcm_handle_reclaim(), which it is to call */
void dcm_keeper_retired(void);

/*
 * dcm_keeper_look_later() - have it look around in a second or so, though nothing be blocked
 * Once for each call, or for several together; any thread, the keeper too.
 */
void dcm_keeper_look_later(void);

/* dcm_keeper_stop() - nobody needs the fabric any more: have it detach and end */
void dcm_keeper_stop(void);

/*
 * dcm_keeper_take_sigbus() - from now on a fault of the keeper goes to the process's handler
 * The kernel ends a process that faults with SIGBUS blocked. Comes back when it is so; holds for
 * every keeper that is started later, in forked children too.
 */
void dcm_keeper_take_sigbus(void);

/* dcm_keeper_blocked() - @change more calls that are blocked, or sources that are followed */
void dcm_keeper_blocked(int change);

/* dcm_keeper_forked() - in a forked child: there is none */
void dcm_keeper_forked(void);

#endif
