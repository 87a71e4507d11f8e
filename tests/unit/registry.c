/* SPDX-License-Identifier: BSD-2-Clause */
/* Publishing, subscribing and telling: alone step by step, then many at once to quiet points. */
#define _GNU_SOURCE
#include "shm/registry.h"

#include <linux/futex.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "shm/catalog.h"
#include "shm/hash.h"
#include "shm/park.h"
#include "shm/process.h"
#include "shm/reap.h"
#include "shm/ring.h"
#include "tests/tap.h"
#include "tests/unit/lib_world.h"

static const struct dcm_capacity small = { .processes = 8,
					   .endpoints = 66,
					   .subscriptions = 6,
					   .connections = 4,
					   .listeners = 1,
					   .ring_shift = 1 };

static bool publish(struct world *w, uint32_t by, const char *type, const char *name, uint64_t sid,
		    struct dcm_ref *out)
{
	struct dcm_endpoint_key key = world_endpoint(type, name, sid);

	return dcm_registry_publish(&w->seg, by, &key, out);
}

static void unpublish(struct world *w, uint32_t by, struct dcm_ref ref)
{
	if (dcm_registry_retire(&w->seg, &ref, by, by))
		dcm_registry_remove(&w->seg, ref);
}

static void test_look(struct world *w, uint32_t server)
{
	char longest[256];
	struct dcm_endpoint_view view = { .sid = 0 };
	struct dcm_ref ref, other;

	memset(longest, 'n', 255);
	longest[255] = '\0';
	ok(publish(w, server, "t.A", longest, 5, &ref), "published");
	ok(dcm_registry_look(&w->seg, ref.index, dcm_hash("t.A"), &view), "and seen");
	ok(view.endpoint.index == ref.index && view.endpoint.generation == ref.generation,
	   "as it is");
	ok(view.process.index == server && view.process.generation == 1, "of whom it is");
	is_string("t.A", view.type, "its type");
	is_string(longest, view.name, "its name");
	is_string("server", view.server, "its server");
	is_uint(5, view.sid, "its SID");
	ok(view.type_hash == dcm_hash("t.A") && view.name_hash == dcm_hash(longest), "its hashes");
	ok(dcm_registry_look(&w->seg, ref.index, 0, &view), "of any interface");
	ok(!dcm_registry_look(&w->seg, ref.index, dcm_hash("t.B"), &view), "not of another");
	ok(!dcm_registry_look(&w->seg, 1, 0, &view), "a free slot is nothing");
	ok(!dcm_registry_look(&w->seg, 66, 0, &view), "nor is one that is not there");
	ok(dcm_registry_is_live(&w->seg, ref), "it is live");
	other = (struct dcm_ref){ ref.index, ref.generation + 1 };
	ok(!dcm_registry_is_live(&w->seg, other), "a later one is not");
	ok(!dcm_registry_retire(&w->seg, &other, server, server), "nor can it be retired");
	ok(!dcm_registry_retire(&w->seg, &ref, server + 1, server + 1), "nor by another");
	ok(dcm_registry_retire(&w->seg, &ref, server, server), "retired");
	ok(!dcm_registry_look(&w->seg, ref.index, 0, &view), "gone at once");
	ok(!dcm_registry_is_live(&w->seg, ref), "for all");
	ok(!dcm_registry_retire(&w->seg, &ref, server, server), "once");
	dcm_registry_remove(&w->seg, ref);
	world_clean(w, "removed");
}

static void test_full(struct world *w, uint32_t server)
{
	struct dcm_ref refs[66], ref, subs[6];
	uint32_t good = 0, cursor = 0, index, seen = 0;

	for (int i = 0; i < 66; i++)
		good += publish(w, server, i % 2 ? "t.A" : "t.B", "x", 5, &refs[i]);
	is_uint(66, good, "as many as there is room for");
	ok(!publish(w, server, "t.A", "x", 5, &ref), "and no more");
	while (dcm_catalog_next(&w->seg, dcm_hash("t.A"), 0, &cursor, &index))
		seen += index % 2;
	is_uint(33, seen, "one bucket has the half of them");
	for (int i = 0; i < 66; i++)
		unpublish(w, server, refs[i]);
	good = 0;
	for (int i = 0; i < 6; i++)
		good += dcm_registry_subscribe(&w->seg, server, 1, &subs[i]);
	ok(good == 6 && !dcm_registry_subscribe(&w->seg, server, 1, &ref),
	   "subscriptions likewise");
	ok(!dcm_registry_unsubscribe(&w->seg, subs[0], server + 1, server + 1), "not by another");
	for (int i = 0; i < 6; i++)
		good -= dcm_registry_unsubscribe(&w->seg, subs[i], server, server);
	is_uint(0, good, "each ends once");
	ok(!dcm_registry_unsubscribe(&w->seg, subs[0], server, server), "and no more");
	world_clean(w, "emptied");
}

static void test_hints(struct world *w, uint32_t server, uint32_t client)
{
	struct dcm_header *h = dcm_segment_header(&w->seg);
	struct dcm_ref sub, a, b, c, nobody = { 6, 1 };
	struct dcm_subscription *slot;
	uint32_t index = 99;

	publish(w, server, "t.A", "a", 5, &a);
	dcm_registry_subscribe(&w->seg, client, dcm_hash("t.A"), &sub);
	is_int(DCM_HINT_ALL, dcm_registry_hint(&w->seg, sub, &index), "at first: everything");
	is_int(DCM_HINT_NONE, dcm_registry_hint(&w->seg, sub, &index), "then nothing");
	publish(w, server, "t.A", "b", 5, &b);
	publish(w, server, "t.B", "c", 5, &c);
	is_int(DCM_HINT_ONE, dcm_registry_hint(&w->seg, sub, &index), "a publication");
	is_uint(b.index, index, "where it is");
	is_int(DCM_HINT_NONE, dcm_registry_hint(&w->seg, sub, &index), "not another interface's");
	unpublish(w, server, a);
	is_int(DCM_HINT_ONE, dcm_registry_hint(&w->seg, sub, &index), "an end");
	is_uint(a.index, index, "of which");
	unpublish(w, server, b);
	publish(w, server, "t.A", "b", 5, &b);
	unpublish(w, server, b);
	is_uint(1, dcm_load(&h->overflows, seq), "more than fits is counted");
	is_int(DCM_HINT_ALL, dcm_registry_hint(&w->seg, sub, &index), "and is: everything");
	/* What fitted is still there, and does no harm. */
	while (dcm_registry_hint(&w->seg, sub, &index) == DCM_HINT_ONE)
		;
	dcm_registry_resync(&w->seg, sub);
	is_int(DCM_HINT_ALL, dcm_registry_hint(&w->seg, sub, &index), "on request: everything");
	slot = dcm_subscription_at(&w->seg, sub.index);
	dcm_ring_push(dcm_ring_view(&slot->ring, small.ring_shift), 67);
	is_int(DCM_HINT_ALL, dcm_registry_hint(&w->seg, sub, &index), "a hint that cannot be");
	is_int(DCM_HINT_NONE, dcm_registry_hint(&w->seg, nobody, &index), "no such subscription");
	dcm_registry_resync(&w->seg, nobody);
	unpublish(w, server, c);
	dcm_registry_announce(&w->seg, a.index);
	dcm_registry_unsubscribe(&w->seg, sub, client, client);
	dcm_registry_subscribe(&w->seg, client, dcm_hash("t.A"), &sub);
	is_int(DCM_HINT_ALL, dcm_registry_hint(&w->seg, sub, &index),
	       "in its next use: everything");
	is_int(DCM_HINT_NONE, dcm_registry_hint(&w->seg, sub, &index), "and nothing of before");
	dcm_registry_unsubscribe(&w->seg, sub, client, client);
	world_clean(w, "hints are read");
}

/* Of two interfaces in one bucket, two names and two servers: who wants which. */
static void test_interest(struct world *w, uint32_t server, uint32_t client)
{
	const uint64_t hash = dcm_hash("t.A"), beside = hash + DCM_BUCKETS, name = dcm_hash("a");
	const struct {
		struct dcm_interest interest;
		bool a5, b5, a6;
		const char *what;
	} cases[] = {
		{ { &hash, 1, 0, 0 }, true, true, true, "all of an interface" },
		{ { &hash, 1, name, 0 }, true, false, true, "a name" },
		{ { &hash, 1, 0, 5 }, true, true, false, "a server" },
		{ { &hash, 1, name, 5 }, true, false, false, "a name of a server" },
		{ { &beside, 1, 0, 0 }, false, false, false, "an interface of the same bucket" },
	};
	struct dcm_ref sub, refs[3];
	uint32_t index;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const bool wanted[] = { cases[i].a5, cases[i].b5, cases[i].a6 };
		uint64_t name_hash = cases[i].interest.name_hash;
		dcm_atomic32 *ec =
			dcm_registry_ec(&w->seg, cases[i].interest.type_hashes[0], name_hash);
		unsigned good = 0;

		dcm_registry_subscribe_to(&w->seg, client, &cases[i].interest, &sub);
		dcm_registry_hint(&w->seg, sub, &index);
		for (unsigned k = 0; k < 3; k++) {
			uint32_t key = dcm_park_prepare(ec);

			publish(w, server, "t.A", k == 1 ? "b" : "a", k == 2 ? 6 : 5, &refs[k]);
			good += (dcm_registry_hint(&w->seg, sub, &index) == DCM_HINT_ONE) ==
				wanted[k];
			good += (dcm_load(ec, seq) != key) == wanted[k];
		}
		is_uint(6, good, "%s: hints and wakes about that alone", cases[i].what);
		for (unsigned k = 0; k < 3; k++)
			unpublish(w, server, refs[k]);
		dcm_registry_unsubscribe(&w->seg, sub, client, client);
	}
}

static void test_death(struct world *w, uint32_t client)
{
	uint32_t victim = world_process(w, "victim"), index = 99;
	struct dcm_endpoint_view view;
	struct dcm_ref sub, live, claimed, reaped;

	dcm_registry_subscribe(&w->seg, client, dcm_hash("t.A"), &sub);
	publish(w, victim, "t.A", "live", 5, &live);
	dcm_slot_claim(&w->seg.endpoint, victim, &claimed);
	publish(w, victim, "t.A", "reaped", 5, &reaped);
	dcm_slot_step(&w->seg.endpoint, reaped, victim, DCM_ENDPOINT_LIVE, victim, DCM_REAP);
	while (dcm_registry_hint(&w->seg, sub, &index) != DCM_HINT_NONE)
		;
	world_kill(w, victim);
	ok(!dcm_registry_is_live(&w->seg, live), "what is of the dead is not live");
	ok(!dcm_registry_look(&w->seg, live.index, 0, &view), "nor seen");
	dcm_reap_notice(&w->seg, victim);
	is_int(DCM_HINT_ONE, dcm_registry_hint(&w->seg, sub, &index), "the notice gives a hint");
	is_uint(live.index, index, "where it was");
	world_reap(w, victim, client);
	ok(dcm_registry_hint(&w->seg, sub, &index) != DCM_HINT_NONE, "the reaper gives another");
	dcm_registry_unsubscribe(&w->seg, sub, client, client);
	world_clean(w, "the dead one is reaped");
	is_uint(1, dcm_load(&dcm_segment_header(&w->seg)->reaped, seq), "and counted");
}

/* One that died while it took an endpoint apart, perhaps before it told anybody. */
static void test_half_gone(struct world *w, uint32_t client)
{
	uint32_t victim = world_process(w, "victim"), index = 99;
	struct dcm_ref sub, half;

	publish(w, victim, "t.A", "half", 5, &half);
	dcm_registry_subscribe(&w->seg, client, dcm_hash("t.A"), &sub);
	dcm_registry_hint(&w->seg, sub, &index);
	dcm_slot_step(&w->seg.endpoint, half, victim, DCM_ENDPOINT_LIVE, victim, DCM_REAP);
	world_kill(w, victim);
	world_reap(w, victim, client);
	is_int(DCM_HINT_ONE, dcm_registry_hint(&w->seg, sub, &index), "its reaper tells");
	is_uint(half.index, index, "of that one");
	dcm_registry_unsubscribe(&w->seg, sub, client, client);
	world_clean(w, "the half gone is gone");
}

/* The kernel wakes one of those who sleep on an alive word; that one wakes the others. */
struct wake {
	struct world w;
	uint32_t self, victim;
	dcm_atomic32 asleep, awake;
};

enum { SLEEPERS = 3 };

static void sleep_on_alive(struct wake *s)
{
	struct dcm_ref victim = world_ref(&s->w, s->victim);
	struct dcm_park_guard guard = { .poke.word = NULL };
	dcm_atomic32 ec = 0;

	dcm_add(&s->asleep, 1u);
	while (dcm_process_guard(&s->w.seg, victim, s->self, &guard.alive[0]))
		dcm_park_sleep(&ec, 0, &guard, DCM_FOREVER);
	dcm_add(&s->awake, 1u);
}

static void wake_run(void *context, unsigned number)
{
	struct wake *s = context;

	if (number < SLEEPERS) {
		sleep_on_alive(s);
		return;
	}
	while (dcm_load(&s->asleep, seq) < SLEEPERS)
		dcm_park_pause();
	usleep(5000);
	world_kill(&s->w, s->victim);
}

static void test_baton(void)
{
	struct wake s = { .victim = 0 };

	world_make(&s.w, &small);
	s.self = world_process(&s.w, "caller");
	s.victim = world_process(&s.w, "victim");
	world_threads(SLEEPERS + 1, wake_run, &s);
	is_uint(SLEEPERS, dcm_load(&s.awake, seq),
		"a death wakes all who sleep on it, with nobody's help");
	world_free(&s.w);
}

/* Names of a slot that is used anew all the time are never those of two uses. */
struct torn {
	struct world w;
	uint32_t server;
	uint64_t rounds;
	dcm_atomic32 done;
	dcm_atomic64 seen, bad;
};

static void name_of(uint64_t i, char type[256], char name[256])
{
	size_t length = 1 + i % 250;

	memset(type, 'a' + (int)(i % 26), length);
	type[length] = '\0';
	memset(name, 'A' + (int)(i % 26), 256 - 5 - length);
	name[256 - 5 - length] = '\0';
}

static void torn_write(struct torn *t)
{
	char type[256], name[256];
	struct dcm_ref ref;

	for (uint64_t i = 0; i < t->rounds; i++) {
		name_of(i, type, name);
		if (publish(&t->w, t->server, type, name, i + 1, &ref))
			unpublish(&t->w, t->server, ref);
	}
	dcm_store(&t->done, 1u, seq);
}

static void torn_read(struct torn *t)
{
	struct dcm_endpoint_view view;
	char type[256], name[256];

	while (dcm_load(&t->done, relaxed) == 0) {
		if (!dcm_registry_look(&t->w.seg, 0, 0, &view))
			continue;
		name_of(view.sid - 1, type, name);
		dcm_add(&t->seen, 1ull);
		if (strcmp(view.type, type) != 0 || strcmp(view.name, name) != 0 ||
		    view.type_hash != dcm_hash(type) || view.name_hash != dcm_hash(name))
			dcm_add(&t->bad, 1ull);
	}
}

static void torn_run(void *context, unsigned number)
{
	if (number == 0)
		torn_write(context);
	else
		torn_read(context);
}

static void test_torn(void)
{
	struct torn t = { .rounds = tap_scaled(300000) };

	world_make(&t.w, &small);
	t.server = world_process(&t.w, "server");
	world_threads(3, torn_run, &t);
	is_uint(0, dcm_load(&t.bad, seq), "no view mixes two publications");
	note("%llu views", (unsigned long long)dcm_load(&t.seen, seq));
	world_clean(&t.w, "after that");
	world_free(&t.w);
}

/*
 * Publishers and subscribers on rings of two cells. In each round the publishers do what they like
 * while the subscribers follow, asleep when there is nothing; then, at the quiet point, each
 * subscriber reads to the end, and what it has announced must be what is live.
 */
enum { PUBLISHERS = 3, SUBSCRIBERS = 3, TYPES = 2, HELD = 8, ROUNDS = 60, TURNS = 400 };

struct crowd {
	struct world w;
	uint64_t rounds, turns;
	pthread_barrier_t barrier;
	dcm_atomic32 busy; /* publishers in this round */
	dcm_atomic64 notices, wrong, resyncs, deaths;
};

static const char *const types[TYPES] = { "crowd.A", "crowd.B" };

static void publish_round(struct crowd *c, uint32_t *self, struct dcm_ref held[HELD],
			  struct world_random *random)
{
	for (uint64_t i = 0; i < c->turns; i++) {
		struct dcm_ref *ref = &held[world_below(random, HELD)];

		if (ref->generation != 0) {
			unpublish(&c->w, *self, *ref);
			*ref = (struct dcm_ref){ 0, 0 };
		} else if (!publish(&c->w, *self, types[world_below(random, TYPES)], "x", 1, ref)) {
			*ref = (struct dcm_ref){ 0, 0 };
		}
	}
	if (world_below(random, 4) == 0) {
		/* Death, with all that it has, and another in its place. */
		uint32_t next = world_process(&c->w, "heir");

		world_kill(&c->w, *self);
		world_reap(&c->w, *self, next);
		memset(held, 0, HELD * sizeof *held);
		*self = next;
		dcm_add(&c->deaths, 1ull);
	}
	/* The last one wakes all that sleep: the round is over. */
	if (dcm_add(&c->busy, UINT32_MAX) == 1)
		for (uint32_t bucket = 0; bucket < DCM_BUCKETS; bucket++)
			dcm_park_wake_all(dcm_bucket_ec(&c->w.seg, bucket));
}

static void publisher(struct crowd *c, unsigned number)
{
	struct world_random random = world_random(number);
	uint32_t self = world_process(&c->w, "publisher");
	struct dcm_ref held[HELD] = { { 0, 0 } };

	for (uint64_t round = 0; round < c->rounds; round++) {
		pthread_barrier_wait(&c->barrier);
		publish_round(c, &self, held, &random);
		pthread_barrier_wait(&c->barrier); /* quiet: subscribers compare */
		pthread_barrier_wait(&c->barrier);
		if (number == 0)
			dcm_store(&c->busy, PUBLISHERS, seq);
	}
	for (int i = 0; i < HELD; i++)
		if (held[i].generation != 0)
			unpublish(&c->w, self, held[i]);
}

/* What a subscriber has announced: the generation at each slot, 0 for none. */
struct known {
	uint64_t generation[66];
};

static void look_at(struct crowd *c, struct known *known, uint64_t hash, uint32_t index)
{
	struct dcm_endpoint_view view;
	bool live = dcm_registry_look(&c->w.seg, index, hash, &view);
	uint64_t generation = live ? view.endpoint.generation : 0;

	if (known->generation[index] != generation)
		dcm_add(&c->notices, 1ull);
	known->generation[index] = generation;
}

/* Return: false when there is nothing more to look at. */
static bool follow_hint(struct crowd *c, struct dcm_ref sub, struct known *known, uint64_t hash)
{
	uint32_t index, cursor = 0;

	switch (dcm_registry_hint(&c->w.seg, sub, &index)) {
	case DCM_HINT_ONE:
		look_at(c, known, hash, index);
		return true;
	case DCM_HINT_ALL:
		dcm_add(&c->resyncs, 1ull);
		for (index = 0; index < small.endpoints; index++)
			if (known->generation[index] != 0)
				look_at(c, known, hash, index);
		while (dcm_catalog_next(&c->w.seg, hash, 0, &cursor, &index))
			look_at(c, known, hash, index);
		return true;
	default:
		return false;
	}
}

static void compare(struct crowd *c, const struct known *known, uint64_t hash)
{
	for (uint32_t i = 0; i < small.endpoints; i++) {
		struct dcm_endpoint_view view;
		uint64_t live =
			dcm_registry_look(&c->w.seg, i, hash, &view) ? view.endpoint.generation : 0;

		if (live != known->generation[i])
			dcm_add(&c->wrong, 1ull);
	}
}

static void subscriber(struct crowd *c, unsigned number)
{
	uint64_t hash = dcm_hash(types[number % TYPES]);
	dcm_atomic32 *ec = dcm_bucket_ec(&c->w.seg, dcm_bucket_of(hash));
	uint32_t self = world_process(&c->w, "subscriber");
	struct known known = { { 0 } };
	struct dcm_ref sub;

	if (!dcm_registry_subscribe(&c->w.seg, self, hash, &sub))
		bail("no subscription");
	for (uint64_t round = 0; round < c->rounds; round++) {
		pthread_barrier_wait(&c->barrier);
		while (dcm_load(&c->busy, seq) != 0) {
			uint32_t key = dcm_park_prepare(ec);

			if (!follow_hint(c, sub, &known, hash) && dcm_load(&c->busy, seq) != 0)
				dcm_park_sleep(ec, key, NULL, DCM_FOREVER);
		}
		pthread_barrier_wait(&c->barrier);
		while (follow_hint(c, sub, &known, hash))
			;
		compare(c, &known, hash);
		pthread_barrier_wait(&c->barrier);
	}
	dcm_registry_unsubscribe(&c->w.seg, sub, self, self);
}

static void crowd_run(void *context, unsigned number)
{
	if (number < PUBLISHERS)
		publisher(context, number);
	else
		subscriber(context, number);
}

static void test_crowd(void)
{
	struct dcm_capacity capacity = small;
	static struct crowd c;

	capacity.processes = 16;
	c.rounds = tap_scaled(ROUNDS);
	c.turns = TURNS;
	world_make(&c.w, &capacity);
	pthread_barrier_init(&c.barrier, NULL, PUBLISHERS + SUBSCRIBERS);
	dcm_store(&c.busy, PUBLISHERS, seq);
	world_threads(PUBLISHERS + SUBSCRIBERS, crowd_run, &c);
	is_uint(0, dcm_load(&c.wrong, seq), "at each quiet point what is known is what is live");
	note("%llu notices, %llu resyncs, %llu deaths",
	     (unsigned long long)dcm_load(&c.notices, seq),
	     (unsigned long long)dcm_load(&c.resyncs, seq),
	     (unsigned long long)dcm_load(&c.deaths, seq));
	world_clean(&c.w, "after that");
	pthread_barrier_destroy(&c.barrier);
	world_free(&c.w);
}

int main(void)
{
	uint32_t server, client;
	struct world w;

	plan_lazy();
	world_make(&w, &small);
	server = world_process(&w, "server");
	client = world_process(&w, "client");
	test_look(&w, server);
	test_full(&w, server);
	test_hints(&w, server, client);
	test_interest(&w, server, client);
	test_death(&w, client);
	test_half_gone(&w, client);
	world_free(&w);
	test_baton();
	test_torn();
	test_crowd();
	return 0;
}
