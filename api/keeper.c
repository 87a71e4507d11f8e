/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/keeper.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "api/handle.h"
#include "api/source.h"
#include "shm/baton.h"
#include "shm/beacon.h"
#include "shm/park.h"
#include "shm/process.h"
#include "shm/reap.h"

#define TICK_NS	    (1000 * 1000 * 1000)
#define SOON_NS_MIN (1000 * 1000)
#define SOON_NS_MAX (100 * 1000 * 1000)

enum { STACK_BYTES = 256 * 1024 };

/* Objects to be freed, in the 64s that the keeper is told of: at so many it aims each time it frees,
   and at so many more it is asked to. */
enum { FREED_AT_ONCE = 16, FREED_WHEN_ASKED = 32 };

/* Of the process, not of a fabric: whoever drops the last count touches these after it. */
static struct {
	dcm_atomic32 poke;   /* futex: kicks from this process */
	dcm_atomic32 wanted; /* WANTED_...: what they are for */
	dcm_atomic32 stop;
	dcm_atomic32 blocked; /* calls asleep now */
	dcm_atomic32 sleeps;  /* calls that ever went to sleep, and looks that were asked for */
	dcm_atomic32 idle;    /* 1: sleeping without a tick */
	dcm_atomic32 retired; /* 64s of objects since it last freed them */
} keeper;

/* Keepers, and those of them that do not block SIGBUS. More than one: the last of a fabric is still
   on its way out when the first of the next begins. */
static struct {
	dcm_atomic32 wanted;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned running, taking; /* under lock */
} sigbus = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* What the poke is for. Whatever needs less than a look around costs less than one. */
enum {
	WANTED_LOOK = 1,
	WANTED_RECLAIM = 2,
	WANTED_TICK = 4, /* a call is blocked, and it sleeps without a deadline */
};

enum { CHORES = 4 };
static void (*_Atomic on_marks)(const struct dcm_segment *seg, uint32_t self);
static uint32_t (*_Atomic chores[CHORES])(bool second); /* never taken out */

struct start {
	const struct dcm_segment *seg;
	struct dcm_ref self;
	void (*detach)(void *arg);
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t done;
	int result; /* 1: not yet */
};

/* One life of the keeper thread. */
struct life {
	const struct dcm_segment *seg;
	uint32_t self;
	struct dcm_beacon beacon;
	bool takes_sigbus;
	uint32_t
		sleeps_seen; /* before the last round that ended a second: later ones want another */
	int64_t soon_ns;     /* how soon to look after the dying again */
	struct dcm_hands hands;
	int64_t freed_ns, free_ns; /* when objects were freed, and are to be next */
	int64_t second_ns;	   /* when chores were last told that a second is over */
};

void dcm_keeper_chore(uint32_t (*chore)(bool second))
{
	for (size_t i = 0; i < CHORES; i++) {
		uint32_t (*none)(bool) = NULL;

		if (atomic_compare_exchange_strong(&chores[i], &none, chore) || none == chore)
			return;
	}
}

static uint32_t do_chores(bool second)
{
	uint32_t soon = 0, (*chore)(bool);

	for (size_t i = 0; i < CHORES && (chore = atomic_load(&chores[i])) != NULL; i++)
		soon += chore(second);
	return soon;
}

void dcm_keeper_on_marks(void (*look)(const struct dcm_segment *seg, uint32_t self))
{
	atomic_store(&on_marks, look);
}

/* Before the poke: the keeper takes what is wanted behind its key. */
static void poke_for(uint32_t what)
{
	dcm_or(&keeper.wanted, what);
	dcm_park_poke(&keeper.poke);
}

void dcm_keeper_kick(void)
{
	poke_for(WANTED_LOOK);
}

/* No system call while the keeper comes by itself, unless more come than it has reckoned with. */
void dcm_keeper_retired(void)
{
	if ((dcm_add(&keeper.retired, 1u) + 1) % FREED_WHEN_ASKED == 0)
		poke_for(WANTED_RECLAIM);
	else
		dcm_keeper_look_later();
}

void dcm_keeper_stop(void)
{
	dcm_store(&keeper.stop, 1u, seq);
	poke_for(WANTED_LOOK);
}

void dcm_keeper_forked(void)
{
	dcm_store(&keeper.stop, 0u, relaxed);
	dcm_store(&keeper.wanted, 0u, relaxed);
	dcm_store(&keeper.blocked, 0u, relaxed);
	dcm_store(&keeper.idle, 0u, relaxed);
	dcm_store(&keeper.retired, 0u, relaxed);
	pthread_mutex_init(&sigbus.lock, NULL);
	pthread_cond_init(&sigbus.changed, NULL);
	sigbus.running = 0;
	sigbus.taking = 0;
}

void dcm_keeper_take_sigbus(void)
{
	dcm_store(&sigbus.wanted, 1u, seq);
	dcm_keeper_kick();
	pthread_mutex_lock(&sigbus.lock);
	while (sigbus.taking < sigbus.running)
		pthread_cond_wait(&sigbus.changed, &sigbus.lock);
	pthread_mutex_unlock(&sigbus.lock);
}

/* Of this keeper. */
static void take_sigbus(struct life *life)
{
	sigset_t set;

	if (life->takes_sigbus || dcm_load(&sigbus.wanted, seq) == 0)
		return;
	life->takes_sigbus = true;
	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	pthread_mutex_lock(&sigbus.lock);
	sigbus.taking++;
	pthread_cond_broadcast(&sigbus.changed);
	pthread_mutex_unlock(&sigbus.lock);
}

static void begin(struct life *life)
{
	pthread_mutex_lock(&sigbus.lock);
	sigbus.running++;
	pthread_mutex_unlock(&sigbus.lock);
	take_sigbus(life);
}

static void end(const struct life *life)
{
	pthread_mutex_lock(&sigbus.lock);
	sigbus.running--;
	sigbus.taking -= life->takes_sigbus;
	pthread_cond_broadcast(&sigbus.changed);
	pthread_mutex_unlock(&sigbus.lock);
}

void dcm_keeper_blocked(int change)
{
	dcm_add(&keeper.blocked, (uint32_t)change);
	if (change >= 0)
		dcm_keeper_look_later();
}

void dcm_keeper_look_later(void)
{
	/* seq, T1: counted, then look whether the keeper ticks. */
	dcm_add(&keeper.sleeps, 1u);
	if (dcm_load(&keeper.idle, seq) != 0 && dcm_swap(&keeper.idle, 0u) != 0)
		poke_for(WANTED_TICK);
}

static bool is_wanted(const struct life *life)
{
	return dcm_load(&keeper.blocked, seq) != 0 ||
	       dcm_load(&keeper.sleeps, seq) != life->sleeps_seen;
}

/* Does anybody in this process sleep, or did anybody since the last round that ended a second? */
static bool must_tick(const struct life *life)
{
	if (is_wanted(life))
		return true;
	/* seq, T2: say that there is no tick, then look again for sleepers. Pairs T1. */
	dcm_store(&keeper.idle, 1u, seq);
	return is_wanted(life);
}

/* Is it time for what chores need not do at each look? A round that comes before, since others asked for
   it, is not what a look later meant. */
static bool is_second(struct life *life)
{
	int64_t now = dcm_park_now();

	if (now - life->second_ns < TICK_NS)
		return false;
	life->second_ns = now;
	/* Before the chores: what they ask for is one more. */
	life->sleeps_seen = dcm_load(&keeper.sleeps, seq);
	return true;
}

static void pass_on(struct dcm_object *object, void *unused)
{
	(void)unused;
	object->type->pass_on(object);
}

/* Threads of this process that are asleep, though something that was told of is for them. */
static void look_at_sleepers(struct life *life, bool second)
{
	dcm_baton_look(life->seg, life->self, &life->hands);
	if (second)
		dcm_handle_each(DCM_KINDS_ONE_WOKEN, pass_on, NULL);
}

/* @soon: so many things want another look, each a little later than the one before. */
static int64_t next_look(struct life *life, uint32_t soon)
{
	if (soon != 0) {
		life->soon_ns = life->soon_ns == 0 ? SOON_NS_MIN : life->soon_ns * 2;
		if (life->soon_ns > SOON_NS_MAX)
			life->soon_ns = SOON_NS_MAX;
		return dcm_park_now() + life->soon_ns;
	}
	life->soon_ns = 0;
	return must_tick(life) ? dcm_park_now() + TICK_NS : DCM_FOREVER;
}

/* The key of what may end the next sleep, and in *@asked what a kick before it asked for. */
static uint32_t listen(struct dcm_process *process, uint32_t *asked)
{
	uint32_t key = dcm_park_prepare(&process->control);

	/* Behind the key: who asks for more later changes the word. */
	*asked = dcm_load(&process->asked, seq);
	if (*asked != 0)
		*asked = dcm_swap(&process->asked, 0u);
	return key;
}

static bool has_died(const struct dcm_park_guard *guard)
{
	for (size_t i = 0; i < DCM_PARK_DEATHS; i++)
		if (guard->alive[i].word != NULL &&
		    dcm_load(guard->alive[i].word, seq) != guard->alive[i].expected)
			return true;
	return false;
}

/* What this process wants since the guard's key was taken; the next key comes before it is taken. */
static uint32_t take_wanted(struct dcm_park_guard *guard)
{
	uint32_t now = dcm_load(guard->poke.word, seq);

	if (now == guard->poke.expected)
		return 0;
	guard->poke.expected = now;
	return dcm_swap(&keeper.wanted, 0u);
}

/*
 * Free what was retired. The next time is when there will be some more if they come as they did: so
 * whoever closes handle upon handle need not ask for it each time.
 */
static void reclaim(struct life *life)
{
	int64_t now = dcm_park_now(), took = now - life->freed_ns;
	int64_t many = (int64_t)dcm_swap(&keeper.retired, 0u);

	dcm_handle_reclaim();
	life->freed_ns = now;
	life->free_ns = DCM_FOREVER;
	if (many != 0 && took < TICK_NS) {
		took = took * FREED_AT_ONCE / many;
		life->free_ns = now + (took > SOON_NS_MIN ? took : SOON_NS_MIN);
	}
}

/* What needs no whole round. */
static void see_to(struct life *life, uint32_t asked, uint32_t wanted)
{
	void (*look)(const struct dcm_segment *, uint32_t) = atomic_load(&on_marks);

	if ((asked & DCM_KICK_MARKED) != 0 && look != NULL)
		look(life->seg, life->self);
	if ((wanted & WANTED_RECLAIM) != 0)
		reclaim(life);
	dcm_source_tend((asked & DCM_KICK_SOURCES) != 0);
}

/* Sleep until a whole round is due. What needs none is seen to in between: it comes often. */
static void sleep_and_listen(struct life *life, uint32_t key, struct dcm_park_guard *guard,
			     int64_t deadline)
{
	struct dcm_process *process = dcm_process_at(life->seg, life->self);
	uint32_t asked, wanted;

	for (;;) {
		int64_t until = life->free_ns < deadline ? life->free_ns : deadline;

		if (dcm_park_sleep(&process->control, key, guard, until) < 0) {
			if (until == deadline)
				return;
			reclaim(life);
			continue;
		}
		key = listen(process, &asked);
		wanted = take_wanted(guard);
		if ((asked & DCM_KICK_AROUND) != 0 || (wanted & WANTED_LOOK) != 0 ||
		    has_died(guard))
			return;
		see_to(life, asked, wanted);
		if (deadline == DCM_FOREVER && (wanted & WANTED_TICK) != 0)
			deadline = next_look(life, 0);
		if (dcm_park_now() >= life->free_ns)
			reclaim(life);
		/* Somebody who rings all the time ends each sleep before its time. */
		if (deadline != DCM_FOREVER && dcm_park_now() >= deadline)
			return;
	}
}

/* All that may have come up, then sleep until more does. */
static void round_once(struct life *life)
{
	const struct dcm_segment *seg = life->seg;
	uint32_t self = life->self;
	struct dcm_process *process = dcm_process_at(seg, self);
	struct dcm_park_guard guard = { .poke.word = &keeper.poke };
	uint32_t key, asked, soon = 0;
	bool second;

	/* Keys before the work: what comes up during it ends the sleep at once. */
	guard.poke.expected = dcm_load(&keeper.poke, seq);
	dcm_store(&keeper.wanted, 0u, seq); /* all of it is done below */
	key = listen(process, &asked);
	if (dcm_load(&keeper.stop, seq) != 0)
		return;
	/*
	 * In this order. Who lives when it is chosen and dies before the scan is found by it, who
	 * dies behind it ends the sleep; and what the dead leave is a chore.
	 */
	if (!dcm_process_watch(seg, self, &guard, &soon))
		return;
	soon += dcm_reap_scan(seg, self, false);
	second = is_second(life);
	/* Whoever is counted later falls asleep later. */
	if (dcm_load(&keeper.blocked, seq) != 0)
		look_at_sleepers(life, second);
	soon += do_chores(second);
	dcm_source_tend(true);
	reclaim(life);
	sleep_and_listen(life, key, &guard, next_look(life, soon));
	/* What woke it may have woken calls as well, on the same processor: they only return. */
	if (dcm_load(&keeper.blocked, seq) != 0)
		dcm_park_yield();
	dcm_store(&keeper.idle, 0u, seq);
}

static void started(struct start *start, int result)
{
	pthread_mutex_lock(&start->lock);
	start->result = result;
	pthread_cond_signal(&start->done);
	pthread_mutex_unlock(&start->lock);
}

static void *keeper_main(void *arg)
{
	struct start start = *(struct start *)arg;
	struct life life = { .seg = start.seg, .self = start.self.index };
	int result;

	begin(&life);
	result = dcm_beacon_arm(start.seg, start.self, &life.beacon);
	pthread_setname_np(pthread_self(), "dcm-keeper");
	/* Behind this line what @arg points at is gone. */
	started(arg, result);
	if (result < 0) {
		end(&life);
		return NULL;
	}
	dcm_handle_on_retire(dcm_keeper_retired);
	while (dcm_load(&keeper.stop, seq) == 0) {
		take_sigbus(&life);
		round_once(&life);
	}
	dcm_handle_on_retire(NULL);
	dcm_beacon_disarm(start.seg, start.self, &life.beacon);
	start.detach(start.arg);
	end(&life);
	return NULL;
}

static int create(struct start *start)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int r = pthread_attr_init(&attr);

	if (r != 0)
		return -r;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	/* The thread is born with all signals blocked: it never runs a handler of the host's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&thread, &attr, keeper_main, start);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return -r;
}

int dcm_keeper_start(const struct dcm_segment *seg, struct dcm_ref self, void (*detach)(void *arg),
		     void *arg)
{
	struct start start = { .seg = seg,
			       .self = self,
			       .detach = detach,
			       .arg = arg,
			       .lock = PTHREAD_MUTEX_INITIALIZER,
			       .done = PTHREAD_COND_INITIALIZER,
			       .result = 1 };
	int r;

	dcm_store(&keeper.stop, 0u, seq);
	r = create(&start);
	if (r < 0)
		return r;
	pthread_mutex_lock(&start.lock);
	while (start.result == 1)
		pthread_cond_wait(&start.done, &start.lock);
	pthread_mutex_unlock(&start.lock);
	pthread_mutex_destroy(&start.lock);
	pthread_cond_destroy(&start.done);
	return start.result;
}
