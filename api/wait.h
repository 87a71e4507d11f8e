/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wait - one way to block on an object: data first, then close, interrupt, death, time
 *
 * Each object that calls block on has a blocker, in private memory. Nothing in the segment is
 * trusted with interruption: shared words only wake.
 */
#ifndef DCM_API_WAIT_H
#define DCM_API_WAIT_H

#include <dcm/types.h>

#include "api/handle.h"
#include "api/hot.h"
#include "api/spin.h"
#include "shm/park.h"

struct dcm_blocker {
	dcm_atomic32 poke;	/* changes with each interrupt and close */
	dcm_atomic32 closed;	/* 1: the handle is closed */
	dcm_atomic64 interrupt; /* generation:32 | calls registered:31 | sticky:1 */
	struct dcm_spin spin;	/* how its calls look before they sleep, of those that may */
};

/* How the objects behind DCM handles begin that base API calls block on. */
struct dcm_blockable {
	struct dcm_object object;
	struct dcm_blocker blocker;
};

/* What a call found when it looked. */
#define DCM_LOOK_AGAIN 1 /* not yet; any Retcode is final */

/* Where to sleep until it may be different. */
struct dcm_wait_on {
	dcm_atomic32 *word;
	uint32_t key;
	bool counted;	 /* the word is an event count, and its waker may wake one alone */
	int64_t most_ns; /* this sleep is no longer, the wait may be; 0: it is as long as that */
	struct dcm_park_guard guard; /* the look sets alive, dcm_wait_for() the rest */
};

/*
 * A look: is it there? With @on it must first take the key of the word that it wants to sleep on
 * (dcm_wait_on_count() or a load), then look.
 */
typedef Retcode dcm_look_fn(void *arg, struct dcm_wait_on *on);

/* dcm_wait_on_count() - sleep on an event count of the segment; null @on: this look does not sleep */
static inline void dcm_wait_on_count(struct dcm_wait_on *on, dcm_atomic32 *ec)
{
	if (on == NULL)
		return;
	on->word = ec;
	on->key = dcm_park_prepare(ec);
	on->counted = true;
}

/* Before the first pause, which on some processors costs more than all the rest of a call. */
#ifdef DCM_HOOKS
enum { DCM_LOOKS_FIRST = 1 }; /* simulated time passes in the pauses */
#else
enum { DCM_LOOKS_FIRST = 100 };
#endif

/* dcm_wait_unless_lost() - a look that found @rc, not rcOk: if the segment is lost, that is told.
   Zero pages look like a peer that is gone. */
DCM_SELDOM Retcode dcm_wait_unless_lost(Retcode rc);

/*
 * dcm_wait_first() - the looks that take neither a clock nor a sleep, before one of the two below
 * Return: what was found; DCM_LOOK_AGAIN.
 */
static inline Retcode dcm_wait_first(struct dcm_blocker *blocker, int64_t timeout_ns,
				     dcm_look_fn *look, void *arg)
{
	Retcode rc = look(arg, NULL);

	if (rc == DCM_LOOK_AGAIN && timeout_ns != 0 && dcm_spin_ns(&blocker->spin) != 0) {
		for (int i = 0; i < DCM_LOOKS_FIRST && rc == DCM_LOOK_AGAIN; i++)
			rc = look(arg, NULL);
		if (rc == rcOk)
			dcm_spin_came(&blocker->spin);
	}
	return rc == rcOk || rc == DCM_LOOK_AGAIN ? rc : dcm_wait_unless_lost(rc);
}

/*
 * dcm_wait_for() - look, and sleep, until the look is final
 * @timeout_ns: 0 looks once; negative waits for ever; counted from when the first looks are over
 * @spins:      look again and again before the first sleep, as the blocker's policy says
 * Return: what the look found; rcTimeout; rcIpcInterrupt; rcNotConnected when closed meanwhile;
 * rcFail, with its detail set, when the segment is lost (api/guard.h), unless the look found rcOk.
 */
Retcode dcm_wait_for(struct dcm_blocker *blocker, int64_t timeout_ns, bool spins, dcm_look_fn *look,
		     void *arg);

/*
 * dcm_wait_learning() - the same, but that it looks as @learnt says, of several objects; null: not
 */
Retcode dcm_wait_learning(struct dcm_blocker *blocker, int64_t timeout_ns, struct dcm_spin *learnt,
			  dcm_look_fn *look, void *arg);

/*
 * dcm_wait_until() - one of several waits that end at the same time, behind the first looks
 * @deadline_ns: 0 before the first that takes time, which sets it
 */
Retcode dcm_wait_until(struct dcm_blocker *blocker, int64_t timeout_ns, int64_t *deadline_ns,
		       bool spins, dcm_look_fn *look, void *arg);

/* dcm_wait_interrupt() - end all calls registered as blocked; when there is none, the next */
void dcm_wait_interrupt(struct dcm_blocker *blocker);

/* dcm_wait_close() - end all calls, now and later */
void dcm_wait_close(struct dcm_blocker *blocker);

/* dcm_wait_ns() - a DcmTimeout in milliseconds as nanoseconds, INFINITE_TIMEOUT as -1 */
int64_t dcm_wait_ns(DcmTimeout timeout);

#endif
