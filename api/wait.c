/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/wait.h"

#include "api/guard.h"
#include "api/keeper.h"

/* Between two looks at the clock. */
#ifdef DCM_HOOKS
enum { LOOKS_AT_ONCE = 1 }; /* simulated time passes in the pauses */
#else
enum { LOOKS_AT_ONCE = 16 };
#endif

#define STICKY	   1ull
#define ONE_CALL   2ull
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
	/* seq: who is counted behind this look sees behind that, before it sleeps, that it is closed; and
	   whom an interrupt has taken off the count is poked by that. */
	if ((dcm_load(&b->interrupt, seq) & CALLS_MASK) != 0)
		dcm_park_poke(&b->poke);
}

Retcode dcm_wait_unless_lost(Retcode rc)
{
	return dcm_guard_lost() ? dcm_guard_fail() : rc;
}

static Retcode unless_lost(Retcode rc)
{
	return rc == rcOk ? rc : dcm_wait_unless_lost(rc);
}

/* A call that spins counts as blocked only after so long: until then nobody need look after it. */
#define SPIN_BLOCKS_NS (1000 * 1000 * 1000)

/* A call that may have to wait; the times are known from the first look at the clock on. */
struct waiting {
	struct dcm_blocker *b;
	bool counted;		 /* as blocked */
	struct dcm_spin *learnt; /* null: it does not look before it sleeps */
	uint64_t generation;
	int64_t start_ns, deadline_ns;
	dcm_look_fn *look;
	void *arg;
};

/* The keeper looks after it; to make that begin may be a system call. */
static void count(struct waiting *w)
{
	if (!w->counted)
		dcm_keeper_blocked(1);
	w->counted = true;
}

/* Look, without sleeping, until it is there or @spin_ns are over. */
static Retcode spin(struct waiting *w, int64_t spin_ns)
{
	int64_t now;

	do {
		for (int i = 0; i < LOOKS_AT_ONCE; i++) {
			Retcode rc = w->look(w->arg, NULL);

			if (rc != DCM_LOOK_AGAIN)
				return rc;
			dcm_park_pause();
		}
		if (dcm_load(&w->b->closed, seq))
			return rcNotConnected;
		if (interrupted(w->b, w->generation))
			return rcIpcInterrupt;
		if (dcm_guard_lost())
			return rcFail;
		now = dcm_park_now();
		if (now >= w->deadline_ns)
			return rcTimeout;
		if (now - w->start_ns >= SPIN_BLOCKS_NS)
			count(w);
	} while (now - w->start_ns < spin_ns);
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

/* False: the wait is over by the clock. */
static bool sleep_once(const struct waiting *w, struct dcm_wait_on *on)
{
	int64_t until_ns = w->deadline_ns;
	bool timed_out;

	if (on->most_ns != 0 && dcm_park_deadline(on->most_ns) < until_ns)
		until_ns = dcm_park_deadline(on->most_ns);
	timed_out = dcm_park_sleep(on->word, on->key, &on->guard, until_ns) < 0;
	/* The clock, too: a word that others keep changing ends every sleep early. */
	if (timed_out && until_ns == w->deadline_ns)
		return false;
	return w->deadline_ns == DCM_FOREVER || dcm_park_now() < w->deadline_ns;
}

static Retcode sleep_for(const struct waiting *w)
{
	for (;;) {
		struct dcm_wait_on on = { .guard.poke.word = &w->b->poke };
		bool over;
		Retcode rc;

		/* Before the looks: an interrupt or a close behind them changes it. */
		on.guard.poke.expected = dcm_load(&w->b->poke, seq);
		rc = w->look(w->arg, &on);
		if (rc == rcNotConnected)
			return leave_closed(&on);
		if (rc != DCM_LOOK_AGAIN)
			return rc;
		if (dcm_load(&w->b->closed, seq))
			return leave_closed(&on);
		if (interrupted(w->b, w->generation))
			return rcIpcInterrupt;
		if (dcm_guard_lost())
			return rcFail;
		over = !sleep_once(w, &on);
		/* A look that does not mean to sleep: who finds what it was woken for leaves no mark that
		   it sleeps, for which the next waker would ask the kernel. */
		rc = w->look(w->arg, NULL);
		if (rc == rcNotConnected)
			return leave_closed(&on);
		if (rc != DCM_LOOK_AGAIN || over)
			return rc != DCM_LOOK_AGAIN ? rc : rcTimeout;
	}
}

static Retcode spin_and_sleep(struct waiting *w, int64_t spin_ns)
{
	Retcode rc = DCM_LOOK_AGAIN;

	if (spin_ns > 0) {
		rc = spin(w, spin_ns);
		if (rc == rcOk)
			dcm_spin_came(w->learnt);
		else
			dcm_spin_in_vain(w->learnt);
	}
	if (rc == DCM_LOOK_AGAIN) {
		count(w);
		rc = sleep_for(w);
		if (rc == rcOk && w->learnt != NULL)
			dcm_spin_slept(w->learnt, dcm_park_now() - w->start_ns);
	}
	return rc;
}

static Retcode block(struct waiting *w, int64_t spin_ns)
{
	Retcode rc;

	if (w->learnt != NULL)
		w->start_ns = dcm_park_now();
	if (!enter(w->b, &w->generation))
		return rcIpcInterrupt;
	rc = spin_and_sleep(w, spin_ns);
	if (w->counted)
		dcm_keeper_blocked(-1);
	leave(w->b, w->generation, rc == rcIpcInterrupt);
	return rc;
}

static Retcode wait_until(struct dcm_blocker *b, int64_t timeout_ns, int64_t *deadline_ns,
			  struct dcm_spin *learnt, dcm_look_fn *look, void *arg)
{
	struct waiting w = { .b = b, .learnt = learnt, .look = look, .arg = arg };
	int64_t spin_ns = 0;
	Retcode rc = look(arg, NULL);

	if (rc != DCM_LOOK_AGAIN)
		return rc;
	if (dcm_load(&b->closed, seq))
		return rcNotConnected;
	if (timeout_ns == 0)
		return rcTimeout;
	if (learnt != NULL)
		spin_ns = dcm_spin_ns(learnt);
	if (*deadline_ns == 0)
		*deadline_ns = dcm_park_deadline(timeout_ns);
	w.deadline_ns = *deadline_ns;
	return block(&w, spin_ns);
}

Retcode dcm_wait_until(struct dcm_blocker *b, int64_t timeout_ns, int64_t *deadline_ns, bool spins,
		       dcm_look_fn *look, void *arg)
{
	return unless_lost(
		wait_until(b, timeout_ns, deadline_ns, spins ? &b->spin : NULL, look, arg));
}

Retcode dcm_wait_learning(struct dcm_blocker *b, int64_t timeout_ns, struct dcm_spin *learnt,
			  dcm_look_fn *look, void *arg)
{
	int64_t deadline_ns = 0;

	return unless_lost(wait_until(b, timeout_ns, &deadline_ns, learnt, look, arg));
}

Retcode dcm_wait_for(struct dcm_blocker *b, int64_t timeout_ns, bool spins, dcm_look_fn *look,
		     void *arg)
{
	int64_t deadline_ns = 0;
	Retcode rc = spins ? dcm_wait_first(b, timeout_ns, look, arg) : DCM_LOOK_AGAIN;

	return rc != DCM_LOOK_AGAIN ? rc
				    : dcm_wait_until(b, timeout_ns, &deadline_ns, spins, look, arg);
}

int64_t dcm_wait_ns(DcmTimeout timeout)
{
	return timeout == INFINITE_TIMEOUT ? -1 : (int64_t)timeout * 1000000;
}
