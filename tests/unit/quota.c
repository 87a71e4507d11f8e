/* SPDX-License-Identifier: BSD-2-Clause */
/* A user's share: what counts as whose, and that claims at once never get more. */
#include "shm/quota.h"

#include "shm/process.h"
#include "shm/rendezvous.h"
#include "tests/tap.h"
#include "tests/unit/lib_world.h"

enum { THREADS = 6, ONE = 1001, OTHER = 1002 };

static const struct dcm_capacity small = { .processes = 8,
					   .endpoints = 130,
					   .subscriptions = 2,
					   .connections = 8,
					   .listeners = 2,
					   .ring_shift = 1 };

static uint32_t process_of(struct world *w, uint32_t uid)
{
	uint32_t index = world_process(w, "user's");

	dcm_store(&dcm_process_at(&w->seg, index)->uid, uid, seq);
	return index;
}

static unsigned ask_all(struct world *w, uint32_t self, struct dcm_ref *refs)
{
	struct dcm_request_key key = world_request("type", "name");
	unsigned got = 0;

	while (got < small.connections && dcm_rendezvous_ask(&w->seg, self, &key, &refs[got]))
		got++;
	return got;
}

static void connections(void)
{
	struct dcm_endpoint_key key = world_endpoint("type", "name", 1);
	struct dcm_ref refs[8], others[8], endpoint, taken;
	struct dcm_request_view view;
	uint32_t client, server, other;
	struct world w;

	world_make(&w, &small);
	w.seg.user_share = 50;
	server = process_of(&w, ONE);
	client = process_of(&w, ONE);
	is_uint(4, ask_all(&w, client, refs), "a user has half of 8 connections");
	is_uint(0, ask_all(&w, server, others), "and no more in another process");
	dcm_publication_begin(&w.seg, server, &key, &endpoint);
	for (int i = 0; i < 4; i++)
		ok(dcm_rendezvous_take(&w.seg, server, endpoint, &taken, &view), "each is taken");
	world_kill(&w, client);
	world_reap(&w, client, server);
	other = process_of(&w, OTHER);
	is_uint(client, other, "the client dies, another user has its process slot");
	is_uint(4, ask_all(&w, other, others),
		"and all of a share, with the dead one's still there");
	is_uint(0, ask_all(&w, server, refs), "which are the first user's as before");
	world_free(&w);
}

static void processes(void)
{
	uint32_t index[4];
	struct world w;

	world_make(&w, &small);
	w.seg.user_share = 50;
	for (int i = 0; i < 4; i++)
		index[i] = process_of(&w, ONE);
	process_of(&w, OTHER);
	ok(!dcm_quota_exceeded(&w.seg, &w.seg.process, index[0]), "four of eight are half");
	index[1] = process_of(&w, ONE);
	ok(dcm_quota_exceeded(&w.seg, &w.seg.process, index[1]), "five are more");
	world_kill(&w, index[2]);
	ok(!dcm_quota_exceeded(&w.seg, &w.seg.process, index[1]), "the dead do not count");
	world_free(&w);
}

struct race {
	struct world w;
	uint32_t process[THREADS];
	dcm_atomic32 got, most;
	struct dcm_ref refs[THREADS][130];
};

static void claim_and_yield(void *context, unsigned number)
{
	struct race *r = context;
	struct world_random random = world_random(number);
	const struct dcm_table *table = &r->w.seg.endpoint;
	unsigned held = 0;

	for (unsigned i = 0; i < tap_scaled(2000); i++) {
		if (held != 0 && world_below(&random, 3) == 0) {
			dcm_add(&r->got, UINT32_MAX);
			dcm_slot_yield(table, r->refs[number][--held]);
		} else if (dcm_quota_claim(&r->w.seg, table, r->process[number],
					   &r->refs[number][held])) {
			uint32_t now = dcm_add(&r->got, 1u) + 1, most = dcm_load(&r->most, seq);

			held++;
			while (now > most && !dcm_cas(&r->most, &most, now))
				;
		}
	}
	while (held != 0) {
		dcm_add(&r->got, UINT32_MAX);
		dcm_slot_yield(table, r->refs[number][--held]);
	}
}

static void races(void)
{
	static struct race r;
	struct dcm_ref ref;
	uint32_t other;

	world_make(&r.w, &small);
	r.w.seg.user_share = 10;
	other = process_of(&r.w, OTHER);
	/* Enough in use by another that every claim must look. */
	for (int i = 0; i < 13; i++)
		dcm_quota_claim(&r.w.seg, &r.w.seg.endpoint, other, &ref);
	for (int i = 0; i < THREADS; i++)
		r.process[i] = process_of(&r.w, ONE);
	world_threads(THREADS, claim_and_yield, &r);
	is_uint(13, dcm_quota_slots(&r.w.seg, &r.w.seg.endpoint), "a tenth of 130 is 13");
	ok(dcm_load(&r.most, seq) <= 13, "of %u processes that claim at once none had more: %u",
	   THREADS, dcm_load(&r.most, seq));
	ok(dcm_load(&r.most, seq) > 6, "and they had most of it");
	ok(dcm_quota_claim(&r.w.seg, &r.w.seg.endpoint, r.process[0], &ref),
	   "when all is given back there is room again");
	world_free(&r.w);
}

int main(void)
{
	plan_lazy();
	tap_seed();
	connections();
	processes();
	races();
	return 0;
}
