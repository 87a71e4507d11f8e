/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * No event is lost between those who ring, the keeper, and those who fetch or poll: the keeper here
 * looks only at bells that rang, never at all of them, so that one lost ring leaves somebody asleep.
 * Objects are closed and notices released while it looks.
 */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <dcm/fabric.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

#include "api/notice.h"
#include "tests/tap.h"
#include "tests/unit/lib_teller.h"

#define KINDS (1u << DCM_KIND_SUBSCRIPTION)

enum { TELLERS = 3, CHANGES = 20000, PASSING = 3000, LONG_MS = 60 * 1000 };

static struct teller *fetched[TELLERS], *polled;
static _Atomic uint64_t fetched_stamp[TELLERS], polled_stamp;
static Notice notice;
static int fd;
static sem_t kicked;
static _Atomic bool stop;
static uint64_t changes, seed;

static uint64_t stamp_of(struct teller *t)
{
	return dcm_load(&t->state, seq) >> 32;
}

static void kick(void)
{
	sem_post(&kicked);
}

static void *keep(void *unused)
{
	(void)unused;
	for (;;) {
		sem_wait(&kicked);
		if (stop)
			return NULL;
		dcm_source_tend(false);
	}
}

static void raise_to(_Atomic uint64_t *word, uint64_t value)
{
	uint64_t old = *word;

	while (old < value && !atomic_compare_exchange_weak(word, &old, value))
		;
}

static bool all_fetched(void)
{
	for (unsigned i = 0; i < TELLERS; i++)
		if (fetched_stamp[i] < changes)
			return false;
	return true;
}

static void *fetch(void *unused)
{
	EventDesc event[TELLERS];
	size_t count;

	(void)unused;
	while (!all_fetched()) {
		Retcode rc = KnNoticeGetEvent(notice, LONG_MS, TELLERS, event, &count);

		if (rc == rcNotConnected || rc == rcInvalidArgument)
			break; /* the other has fetched the last, and the notice is released */
		if (rc != rcOk)
			die("nothing was fetched for a minute: an event is lost");
		for (size_t i = 0; i < count; i++)
			raise_to(&fetched_stamp[event[i].eventId],
				 stamp_of(fetched[event[i].eventId]));
	}
	return NULL;
}

static void *poll_it(void *unused)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	(void)unused;
	while (polled_stamp < changes) {
		uint32_t pulses = dcm_source_pulses(&polled->source);
		uint64_t state;

		if (poll(&p, 1, LONG_MS) != 1)
			die("nothing was readable for a minute: an event is lost");
		/* Takes all there is; the call that finds nothing clears the descriptor. */
		while ((uint32_t)(state = dcm_load(&polled->state, seq)) != 0)
			if (dcm_cas(&polled->state, &state, state >> 32 << 32))
				raise_to(&polled_stamp, state >> 32);
		dcm_source_drained(&polled->source, pulses);
	}
	return NULL;
}

static uint64_t draw(uint64_t *dice, uint64_t bound)
{
	*dice = *dice * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (*dice >> 33) % bound;
}

/* Changes one of them, now fast, now only when the one before was seen. */
static void ring_one(struct teller *t, _Atomic uint64_t *seen, uint64_t *dice)
{
	bool patient = false;

	for (uint64_t i = 1; i <= changes; i++) {
		if (draw(dice, 64) == 0)
			patient = !patient;
		for (unsigned spin = 0; patient && *seen + 1 < i; spin++)
			if (spin > 1000)
				usleep(10);
		teller_change(t, TELLER_STATE);
		teller_ring(t, kick);
	}
}

struct ringer {
	struct teller *teller;
	_Atomic uint64_t *seen;
	uint64_t dice;
	pthread_t thread;
};

static void *ring(void *arg)
{
	struct ringer *r = arg;

	ring_one(r->teller, r->seen, &r->dice);
	return NULL;
}

static void subscribe(struct teller *t, uintptr_t id)
{
	struct dcm_notice_object *n = dcm_notice_find(notice);

	if (n == NULL || dcm_source_subscribe(&t->source, n, TELLER_STATE, id, 0) != rcOk)
		bail("cannot subscribe");
	dcm_object_drop(&n->object);
}

static pthread_t start(void *(*run)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, arg) != 0)
		sysbail("no thread");
	return thread;
}

static void begin(void)
{
	KnNoticeCreate(&notice);
	for (unsigned i = 0; i < TELLERS; i++) {
		fetched[i] = teller_new();
		subscribe(fetched[i], i);
		fetched_stamp[i] = 0;
	}
	polled = teller_new();
	polled_stamp = 0;
	if (dcm_source_fd(&polled->source, &fd) != rcOk)
		bail("no descriptor");
	stop = false;
	sem_init(&kicked, 0, 0);
}

static void end(void)
{
	for (unsigned i = 0; i < TELLERS; i++) {
		dcm_handle_close(fetched[i]->object.number, KINDS);
		dcm_object_drop(&fetched[i]->object);
	}
	dcm_handle_close(polled->object.number, KINDS);
	dcm_object_drop(&polled->object);
	KnNoticeRelease(notice);
	sem_destroy(&kicked);
}

static void test_none_lost(void)
{
	struct ringer ringers[TELLERS + 1];
	pthread_t keeper, fetchers[2], poller;

	changes = tap_scaled(CHANGES);
	begin();
	keeper = start(keep, NULL);
	fetchers[0] = start(fetch, NULL);
	fetchers[1] = start(fetch, NULL);
	poller = start(poll_it, NULL);
	for (unsigned i = 0; i <= TELLERS; i++) {
		ringers[i] = (struct ringer){
			.teller = i < TELLERS ? fetched[i] : polled,
			.seen = i < TELLERS ? &fetched_stamp[i] : &polled_stamp,
			.dice = seed + i,
		};
		ringers[i].thread = start(ring, &ringers[i]);
	}
	for (unsigned i = 0; i <= TELLERS; i++)
		pthread_join(ringers[i].thread, NULL);
	while (!all_fetched())
		usleep(1000);
	KnNoticeRelease(notice);
	pthread_join(fetchers[0], NULL);
	pthread_join(fetchers[1], NULL);
	pthread_join(poller, NULL);
	stop = true;
	kick();
	pthread_join(keeper, NULL);
	ok(1, "%llu changes of each were seen", (unsigned long long)changes);
	end();
}

static struct teller *_Atomic passing;
static _Atomic bool passing_stop;

/* Rings, looks and fires at whatever there is just now. */
static void *disturb(void *arg)
{
	uint64_t dice = *(uint64_t *)arg;

	while (!passing_stop) {
		struct teller *t = passing;
		/* By its number: it may be gone. */
		struct dcm_object *object =
			t != NULL ? dcm_handle_find(t->object.number, KINDS) : NULL;

		dcm_source_tend(draw(&dice, 2) == 0);
		if (object == NULL)
			continue;
		teller_change(t, TELLER_STATE);
		teller_ring(t, kick);
		if (draw(&dice, 4) == 0)
			dcm_source_fire(&t->source, TELLER_OTHER);
		if (draw(&dice, 4) == 0)
			dcm_source_drained(&t->source, dcm_source_pulses(&t->source));
		dcm_object_drop(object);
	}
	return NULL;
}

/* Objects and notices that come and go under those who look. */
static void test_closed_under_looks(void)
{
	uint64_t rounds = tap_scaled(PASSING), dice[2] = { seed, seed + 1 };
	struct teller *all[PASSING];
	pthread_t thread[2];
	EventDesc event;
	size_t count;

	if (rounds > PASSING)
		rounds = PASSING;
	sem_init(&kicked, 0, 0);
	for (unsigned i = 0; i < 2; i++)
		thread[i] = start(disturb, &dice[i]);
	for (uint64_t i = 0; i < rounds; i++) {
		all[i] = teller_new();
		KnNoticeCreate(&notice);
		subscribe(all[i], 1);
		passing = all[i];
		if (i % 2 == 0 && dcm_source_fd(&all[i]->source, &fd) != rcOk)
			bail("no descriptor");
		if (i % 3 == 0)
			KnNoticeGetEvent(notice, 1, 1, &event, &count);
		if (i % 5 == 0)
			KnNoticeRelease(notice);
		dcm_handle_close(all[i]->object.number, KINDS);
		KnNoticeGetEvent(notice, 0, 1, &event, &count);
		KnNoticeRelease(notice);
	}
	passing_stop = true;
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	for (uint64_t i = 0; i < rounds; i++)
		dcm_object_drop(&all[i]->object);
	is_uint(0, teller_looks_closed(), "nobody looked at any of %llu that were closed",
		(unsigned long long)rounds);
	sem_destroy(&kicked);
}

int main(void)
{
	plan_lazy();
	seed = tap_seed();
	test_none_lost();
	test_closed_under_looks();
	return 0;
}
