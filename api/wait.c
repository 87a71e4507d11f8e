/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/wait.h"

#include "api/guard.h"
#include "api/keeper.h"

/* Between two looks at the clock, which costs more than they do. */
#ifdef DCM_HOOKS
enum { LOOKS_AT_ONCE = 1 }; /* simulated time passes in the pauses */
#else
enum { LOOKS_AT_ONCE = 16 };
#endif

#define STICKY 1ull
#define ONE_CALL 2ull
#define CALLS_MASK 0xfffffffeull

static uint64_t generation_of(uint64_t word)
{
	return word >> 32;
}

/* Count this call as blocked. False: an interrupt was waiting for it, and is now used up. */
static bool enter(struct dcm_blocker *b, uint64_t *generation)
{
	uint64_t word = dcm_load(&b->interrupt, seq);

	for (;;) {
		uint64_t next = word & STICKY ? word & ~STICKY : word + ONE_CALL;

		if (!dcm_cas(&b->interrupt, &word, next))
			continue;
		*generation = generation_of(word);
		return (word & STICKY) == 0;
	}
}

static bool interrupted(struct dcm_blocker *b, uint64_t generation)
{
	return generation_of(dcm_load(&b->interrupt, seq)) != generation;
}

/*
 * The interrupt that moved the generation on has taken this call off the count already. If the call
 * does not report it, since data came or time ran out at that moment, the next one will.
 */
static void leave(struct dcm_blocker *b, uint64_t generation, bool reported)
{
	uint64_t word = dcm_load(&b->interrupt, seq), next;

	do {
		if (generation_of(word) == generation)
			next = word - ONE_CALL;
		else if (reported)
			return;
		else
			next = word | STICKY;
	} while (!dcm_cas(&b->interrupt, &word, next));
}

void dcm_wait_interrupt(struct dcm_blocker *b)
{
	uint64_t word = dcm_load(&b->interrupt, seq);

	for (;;) {
		uint64_t next = word & CALLS_MASK ? ((word >> 32) + 1) << 32 : word | STICKY;

		if (dcm_cas(&b->interrupt, &word, next))
			break;
	}
	dcm_park_poke(&b->poke);
}

void dcm_wait_close(struct dcm_blocker *b)
{
	dcm_store(&b->closed, 1u, seq);
	dcm_park_poke(&b->poke);
}

/* Look, without sleeping, until it is there or @spin_ns are over. */
static Retcode spin(int64_t spin_ns, dcm_look_fn *look, void *arg)
{
	int64_t until = dcm_park_now() + spin_ns;
	Retcode rc;

	do {
		for (int i = 0; i < LOOKS_AT_ONCE; i++) {
			rc = look(arg, NULL);
			if (rc != DCM_LOOK_AGAIN)
				return rc;
			dcm_park_pause();
		}
	} while (dcm_park_now() < until);
	return DCM_LOOK_AGAIN;
}

/*
 * A wake meant for one may have picked this call although it leaves without a look at the work: its
 * object is closed, and the slot, with the word and who sleeps there, is another object's now.
 */
static Retcode leave_closed(const struct dcm_wait_on *on)
{
	if (on->counted)
		dcm_park_wake_all(on->word);
	return rcNotConnected;
}

static Retcode sleep_for(struct dcm_blocker *b, uint64_t generation, int64_t deadline_ns,
			 dcm_look_fn *look, void *arg)
{
	for (;;) {
		struct dcm_wait_on on = { .guard.poke.word = &b->poke };
		Retcode rc;

		/* Before the looks: an interrupt or a close behind them changes it. */
		on.guard.poke.expected = dcm_load(&b->poke, seq);
		rc = look(arg, &on);
		if (rc == rcNotConnected)
			return leave_closed(&on);
		if (rc != DCM_LOOK_AGAIN)
			return rc;
		if (dcm_load(&b->closed, seq))
			return leave_closed(&on);
		if (interrupted(b, generation))
			return rcIpcInterrupt;
		if (dcm_guard_lost())
			return rcFail;
		/* The clock, too: a word that others keep changing ends every sleep early. */
		if (dcm_park_sleep(on.word, on.key, &on.guard, deadline_ns) < 0 ||
		    (deadline_ns != DCM_FOREVER && dcm_park_now() >= deadline_ns)) {
			rc = look(arg, NULL);
			if (rc == rcNotConnected)
				return leave_closed(&on);
			return rc != DCM_LOOK_AGAIN ? rc : rcTimeout;
		}
	}
}

static Retcode wait_for(struct dcm_blocker *b, int64_t timeout_ns, int64_t spin_ns,
			dcm_look_fn *look, void *arg)
{
	int64_t deadline_ns;
	uint64_t generation;
	Retcode rc = look(arg, NULL);

	if (rc != DCM_LOOK_AGAIN)
		return rc;
	if (dcm_load(&b->closed, seq))
		return rcNotConnected;
	if (timeout_ns == 0)
		return rcTimeout;
	deadline_ns = dcm_park_deadline(timeout_ns);
	if (!enter(b, &generation))
		return rcIpcInterrupt;
	rc = DCM_LOOK_AGAIN;
	if (spin_ns > 0)
		rc = spin(spin_ns, look, arg);
	if (rc == DCM_LOOK_AGAIN) {
		dcm_keeper_blocked(1);
		rc = sleep_for(b, generation, deadline_ns, look, arg);
		dcm_keeper_blocked(-1);
	}
	leave(b, generation, rc == rcIpcInterrupt);
	return rc;
}

Retcode dcm_wait_for(struct dcm_blocker *b, int64_t timeout_ns, int64_t spin_ns, dcm_look_fn *look,
		     void *arg)
{
	Retcode rc = wait_for(b, timeout_ns, spin_ns, look, arg);

	/* Zero pages look like a peer that is gone, or like nothing for ever. */
	return rc != rcOk && dcm_guard_lost() ? dcm_guard_fail() : rc;
}

int64_t dcm_wait_ns(DcmTimeout timeout)
{
	return timeout == INFINITE_TIMEOUT ? -1 : (int64_t)timeout * 1000000;
}
