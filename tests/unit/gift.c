/* SPDX-License-Identifier: BSD-2-Clause */
/* Gifts: what is revoked stays so, whoever has the place; what is not, is not; and places come back. */
#include "shm/gift.h"

#include "shm/publication.h"
#include "tests/tap.h"
#include "tests/unit/lib_world.h"

static const struct dcm_capacity small = { .processes = 3,
					   .endpoints = 2,
					   .subscriptions = 1,
					   .connections = 2,
					   .listeners = 1,
					   .ring_shift = 1,
					   .gift_shift = 1 };

static void test_life(struct world *w, uint32_t self)
{
	struct dcm_ref a = { 0, 0 }, b = a, c;
	struct dcm_gift first, second, third;

	ok(dcm_gift_make(&w->seg, self, 11, &a) && dcm_gift_make(&w->seg, self, 12, &b),
	   "two gifts");
	ok(!dcm_gift_make(&w->seg, self, 13, &c), "and no more");
	first = dcm_gift_name(a, 11);
	second = dcm_gift_name(b, 12);
	ok(!dcm_gift_revoked(&w->seg, first) && !dcm_gift_revoked(&w->seg, second),
	   "neither is revoked");
	world_clean(w, "two gifts");
	dcm_gift_revoke(&w->seg, self, a, 11);
	ok(dcm_gift_revoked(&w->seg, first) && !dcm_gift_revoked(&w->seg, second), "one is");
	dcm_gift_drop(&w->seg, self, a);
	ok(!dcm_gift_make(&w->seg, self, 13, &c), "which keeps its place");
	world_clean(w, "one revoked");
	dcm_gift_drop(&w->seg, self, b);
	dcm_gift_drop(&w->seg, self, b);
	ok(dcm_gift_make(&w->seg, self, 13, &c) && c.index == b.index, "the other has none");
	third = dcm_gift_name(c, 13);
	ok(!dcm_gift_revoked(&w->seg, second) && !dcm_gift_revoked(&w->seg, third),
	   "nothing of the one is the other's");
	dcm_gift_drop(&w->seg, self, b);
	world_clean(w, "a name of an earlier use frees nothing");
	dcm_gift_leave(&w->seg, self);
	ok(dcm_gift_make(&w->seg, self, 14, &a) && dcm_gift_make(&w->seg, self, 15, &b),
	   "who leaves gives all of them back");
	ok(dcm_gift_revoked(&w->seg, first), "what was revoked stays so");
	dcm_gift_leave(&w->seg, self);
	world_clean(w, "no gift");
}

/* Both places have one more life each time, in which what they had is revoked. */
static void test_lives(struct world *w, uint32_t self)
{
	struct dcm_gift first[2];
	struct dcm_ref made[2];

	for (uint64_t life = 0; life <= DCM_GIFT_REVOKED_KEYS; life++) {
		for (uint64_t i = 0; i < 2; i++) {
			uint64_t key = 100 + 2 * life + i;

			dcm_gift_make(&w->seg, self, key, &made[i]);
			dcm_gift_revoke(&w->seg, self, made[i], key);
			if (life == 0)
				first[i] = dcm_gift_name(made[i], key);
		}
		world_clean(w, "both revoked");
		dcm_gift_leave(&w->seg, self);
		is_bool(life < DCM_GIFT_REVOKED_KEYS,
			dcm_gift_revoked(&w->seg, first[0]) && dcm_gift_revoked(&w->seg, first[1]),
			"%u later lives of their places, and the first are known as revoked",
			(unsigned int)life);
	}
}

static void test_names(struct world *w)
{
	ok(!dcm_gift_revoked(&w->seg, (struct dcm_gift){ 0, 0 }), "no gift at all");
	ok(!dcm_gift_revoked(&w->seg, (struct dcm_gift){ 0, 2 }), "a place without a key");
	ok(!dcm_gift_revoked(&w->seg, (struct dcm_gift){ 14, 0 }), "a key without a place");
	ok(!dcm_gift_revoked(&w->seg, (struct dcm_gift){ 14, 3 }), "a place that there is not");
	ok(!dcm_gift_revoked(&w->seg, (struct dcm_gift){ 14, UINT32_MAX }), "nor this one");
	dcm_gift_revoke(&w->seg, 0, (struct dcm_ref){ 2, 1 }, 5);
	dcm_gift_drop(&w->seg, 0, (struct dcm_ref){ 2, 1 });
	world_clean(w, "no harm done");
}

/* Endpoints and requests carry the name to those who see them. */
static void test_carried(struct world *w, uint32_t self)
{
	struct dcm_endpoint_key key = world_endpoint("t", "n", 7);
	struct dcm_request_key wish = world_request("t", "n");
	struct dcm_endpoint_view endpoint_view;
	struct dcm_request_view view;
	struct dcm_ref server, client, endpoint, asked, taken;

	dcm_gift_make(&w->seg, self, 21, &server);
	dcm_gift_make(&w->seg, self, 22, &client);
	key.gift = dcm_gift_name(server, 21);
	wish.gift = dcm_gift_name(client, 22);
	ok(dcm_publication_begin(&w->seg, self, &key, &endpoint) &&
		   dcm_registry_look(&w->seg, endpoint.index, 0, &endpoint_view),
	   "an endpoint");
	ok(endpoint_view.gift.key == 21 && endpoint_view.gift.at == key.gift.at,
	   "says by what it is shown");
	ok(dcm_rendezvous_ask(&w->seg, self, &wish, &asked), "a request");
	world_clean(w, "an endpoint and a request");
	ok(dcm_rendezvous_take(&w->seg, self, endpoint, &taken, &view) && view.gift.key == 22 &&
		   view.gift.at == wish.gift.at,
	   "says so, too");
	dcm_rendezvous_server_leaves(&w->seg, self, taken);
	dcm_rendezvous_client_leaves(&w->seg, self, asked);
	dcm_publication_end(&w->seg, self, endpoint);
	dcm_gift_leave(&w->seg, self);
}

static void test_dead(struct world *w, uint32_t self, uint32_t dead)
{
	struct dcm_ref a, b;

	dcm_gift_make(&w->seg, dead, 31, &a);
	dcm_gift_make(&w->seg, dead, 32, &b);
	dcm_gift_revoke(&w->seg, dead, a, 31);
	world_kill(w, dead);
	world_reap(w, dead, self);
	world_clean(w, "reaped");
	ok(dcm_gift_revoked(&w->seg, dcm_gift_name(a, 31)), "what the dead one revoked");
	ok(!dcm_gift_revoked(&w->seg, dcm_gift_name(b, 32)), "and what it did not");
	ok(dcm_gift_make(&w->seg, self, 33, &a) && dcm_gift_make(&w->seg, self, 34, &b),
	   "its places are free");
	dcm_gift_leave(&w->seg, self);
}

int main(void)
{
	uint32_t self, dead;
	struct world w;

	plan_lazy();
	world_make(&w, &small);
	self = world_process(&w, "self");
	dead = world_process(&w, "dead");
	test_life(&w, self);
	test_lives(&w, self);
	test_names(&w);
	test_carried(&w, self);
	test_dead(&w, self, dead);
	world_free(&w);
	return 0;
}
