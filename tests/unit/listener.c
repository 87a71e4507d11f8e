/* SPDX-License-Identifier: BSD-2-Clause */
/* Ready bits: each channel has its turn, and no call lies where nobody looks. */
#include "shm/listener.h"

#include "shm/park.h"
#include "shm/process.h"
#include "tests/tap.h"
#include "tests/unit/lib_world.h"

static const struct dcm_capacity small = { .processes = 2,
					   .endpoints = 1,
					   .subscriptions = 1,
					   .connections = 130,
					   .listeners = 2,
					   .ring_shift = 1 };

static void test_slots(struct world *w, uint32_t self)
{
	struct dcm_ref a, b, c;

	ok(dcm_listener_open(&w->seg, self, &a), "one");
	ok(dcm_listener_open(&w->seg, self, &b), "two");
	ok(!dcm_listener_open(&w->seg, self, &c), "and no more");
	world_clean(w, "two listeners");
	ok(!dcm_listener_shut(&w->seg, a, self + 1, self + 1), "not by another");
	ok(dcm_listener_shut(&w->seg, a, self, self), "shut");
	ok(!dcm_listener_shut(&w->seg, a, self, self), "once");
	ok(dcm_listener_open(&w->seg, self, &c) && c.index == a.index && c.generation == 2, "anew");
	ok(dcm_listener_shut(&w->seg, b, self, self) && dcm_listener_shut(&w->seg, c, self, self),
	   "both");
	world_clean(w, "no listener");
}

static void test_bits(struct world *w, uint32_t self)
{
	static const uint32_t set[] = { 0, 63, 64, 65, 127, 128, 129 };
	uint32_t cursor = 64, index, bad = 0;
	struct dcm_ref l, nobody = { 2, 1 };

	dcm_listener_open(&w->seg, self, &l);
	ok(!dcm_listener_next(&w->seg, l, &cursor, &index), "nothing is ready");
	for (int i = 0; i < 7; i++) {
		dcm_listener_signal(&w->seg, l.index, set[i]);
		dcm_listener_signal(&w->seg, l.index, set[i]);
	}
	dcm_listener_signal(&w->seg, l.index, 130);
	dcm_listener_signal(&w->seg, 2, 0);
	dcm_listener_wake(&w->seg, nobody);
	ok(!dcm_listener_next(&w->seg, nobody, &cursor, &index), "no such listener");
	cursor = 64;
	for (int i = 0; i < 7; i++)
		bad += !dcm_listener_next(&w->seg, l, &cursor, &index) || index != set[(i + 2) % 7];
	is_uint(0, bad, "from the cursor on, around once, each once");
	ok(!dcm_listener_next(&w->seg, l, &cursor, &index), "and no more");
	/* One that is always ready does not keep others from their turn. */
	cursor = 0;
	for (int i = 0; i < 10; i++) {
		dcm_listener_signal(&w->seg, l.index, 5);
		dcm_listener_signal(&w->seg, l.index, 6);
		bad += !dcm_listener_next(&w->seg, l, &cursor, &index) ||
		       index != (i % 2 ? 6u : 5u);
	}
	is_uint(0, bad, "turn by turn");
	cursor = 1000;
	ok(dcm_listener_next(&w->seg, l, &cursor, &index) && index == 5, "any cursor will do");
	cursor = UINT32_MAX;
	while (dcm_listener_next(&w->seg, l, &cursor, &index))
		;
	dcm_listener_shut(&w->seg, l, self, self);
	world_clean(w, "shut");
}

/* Who looked at the reach before a channel was accepted beyond it leaves that one's bit alone. */
static void test_reach(struct world *w, uint32_t self)
{
	static const uint32_t reaches[] = { 1, 5, 63, 64, 65, 129 };
	uint32_t cursor, index = 0, bad = 0;
	struct dcm_ref l;

	dcm_listener_open(&w->seg, self, &l);
	for (size_t i = 0; i < sizeof reaches / sizeof reaches[0]; i++) {
		uint32_t reach = reaches[i];

		cursor = 0;
		dcm_listener_signal(&w->seg, l.index, reach);
		bad += dcm_listener_any_but(&w->seg, l, reach, DCM_LISTENER_SKIPS_NONE);
		bad += dcm_listener_next_but(&w->seg, l, reach, &cursor, DCM_LISTENER_SKIPS_NONE,
					     &index);
		bad += !dcm_listener_any_but(&w->seg, l, reach + 1, DCM_LISTENER_SKIPS_NONE);
		bad += dcm_listener_any_but(&w->seg, l, reach + 1, reach);
		bad += !dcm_listener_next_but(&w->seg, l, reach + 1, &cursor,
					      DCM_LISTENER_SKIPS_NONE, &index) ||
		       index != reach;
	}
	is_uint(0, bad, "what is ready beyond the reach stays so, and is found within it");
	dcm_listener_shut(&w->seg, l, self, self);
	world_clean(w, "shut");
}

/* Calls are counters here: a client adds one and signals, a server thread takes all it finds. */
enum { CLIENTS = 3, SERVERS = 3, CHANNELS = 7, CALLS = 40000 };

struct crowd {
	struct world w;
	struct dcm_ref listener;
	uint64_t calls; /* of each client */
	dcm_atomic64 pending[CHANNELS];
	dcm_atomic64 received;
};

static const uint32_t connection_of[CHANNELS] = { 0, 1, 63, 64, 100, 128, 129 };

static void call(struct crowd *c, unsigned number)
{
	struct world_random random = world_random(number);

	for (uint64_t i = 0; i < c->calls; i++) {
		uint32_t channel = world_below(&random, CHANNELS);

		dcm_add(&c->pending[channel], 1ull);
		dcm_listener_signal(&c->w.seg, c->listener.index, connection_of[channel]);
		for (uint32_t spin = world_below(&random, 100); spin != 0; spin--)
			dcm_park_pause();
	}
}

static bool receive(struct crowd *c, uint32_t *cursor)
{
	uint32_t index;

	while (dcm_listener_next(&c->w.seg, c->listener, cursor, &index)) {
		for (uint32_t i = 0; i < CHANNELS; i++) {
			uint64_t calls;

			if (connection_of[i] != index)
				continue;
			calls = dcm_swap(&c->pending[i], 0ull);
			if (dcm_add(&c->received, calls) + calls == c->calls * CLIENTS)
				dcm_listener_wake(&c->w.seg, c->listener);
			if (calls != 0)
				return true;
		}
	}
	return false;
}

static void serve(struct crowd *c)
{
	dcm_atomic32 *ec = &dcm_listener_at(&c->w.seg, c->listener.index)->ec;
	uint32_t cursor = 0;

	while (dcm_load(&c->received, seq) < c->calls * CLIENTS) {
		uint32_t key = dcm_park_prepare(ec);

		if (!receive(c, &cursor) && dcm_load(&c->received, seq) < c->calls * CLIENTS)
			dcm_park_sleep(ec, key, NULL, DCM_FOREVER);
	}
}

static void crowd_run(void *context, unsigned number)
{
	if (number < CLIENTS)
		call(context, number);
	else
		serve(context);
}

static void test_crowd(void)
{
	static struct crowd c;

	c.calls = tap_scaled(CALLS);
	world_make(&c.w, &small);
	if (!dcm_listener_open(&c.w.seg, world_process(&c.w, "server"), &c.listener))
		bail("no listener");
	world_threads(CLIENTS + SERVERS, crowd_run, &c);
	is_uint(c.calls * CLIENTS, dcm_load(&c.received, seq), "each call is received");
	world_free(&c.w);
}

int main(void)
{
	struct world w;
	uint32_t self;

	plan_lazy();
	world_make(&w, &small);
	self = world_process(&w, "server");
	test_slots(&w, self);
	test_bits(&w, self);
	test_reach(&w, self);
	world_free(&w);
	test_crowd();
	return 0;
}
