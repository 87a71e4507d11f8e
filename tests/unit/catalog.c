/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The catalog of endpoints, in a table of several regions: an interface's are found, all of them and
 * nothing twice, wherever there was room for them; so is one name of it; and a walk meets few others.
 */
#include "shm/catalog.h"

#include <stdio.h>
#include <string.h>

#include "shm/hash.h"
#include "tests/tap.h"
#include "tests/unit/lib_world.h"

enum { REGIONS = 3, SLOTS = 2 * DCM_REGION + 700 };

static const struct dcm_capacity several = { .processes = 2,
					     .endpoints = SLOTS,
					     .subscriptions = 2,
					     .connections = 1,
					     .listeners = 1,
					     .ring_shift = 1 };

static struct world w;
static uint32_t server;
static struct dcm_ref refs[SLOTS + 1];

static bool publish(const char *type, const char *name, struct dcm_ref *out)
{
	struct dcm_endpoint_key key = world_endpoint(type, name, 5);

	return dcm_registry_publish(&w.seg, server, &key, out);
}

static void unpublish(struct dcm_ref ref)
{
	if (dcm_registry_retire(&w.seg, &ref, server, server))
		dcm_registry_remove(&w.seg, ref);
}

static void unpublish_all(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		unpublish(refs[i]);
}

/* What a walk meets: what it looks for, and all in all. */
struct walk {
	uint32_t found, met;
	bool in_order;
};

static struct walk walk_for(const char *type, const char *name)
{
	uint64_t type_hash = dcm_hash(type), name_hash = name != NULL ? dcm_hash(name) : 0;
	struct walk walk = { .in_order = true };
	uint32_t cursor = 0, slot, last = 0;

	while (dcm_catalog_next(&w.seg, type_hash, name_hash, &cursor, &slot)) {
		walk.in_order = walk.in_order && slot < SLOTS && (walk.met == 0 || slot > last);
		walk.found += dcm_registry_may_be(&w.seg, slot, type_hash, name_hash);
		walk.met++;
		last = slot;
	}
	return walk;
}

static uint32_t many(const char *type, uint32_t count)
{
	uint32_t good = 0;
	char name[16];

	for (uint32_t i = 0; i < count; i++) {
		snprintf(name, sizeof name, "n%u", i);
		good += publish(type, name, &refs[i]);
	}
	return good;
}

/* In its home region first; then in all. */
static void test_one_interface(void)
{
	uint32_t home = dcm_catalog_home(&w.seg, dcm_hash("t.One")), at_home = 0;
	uint32_t room = dcm_catalog_slots(&w.seg, home / DCM_REGION);
	struct walk walk;

	is_uint(SLOTS, many("t.One", SLOTS), "one interface fills the table");
	ok(!publish("t.Two", "n", &refs[SLOTS]), "there is no room for another");
	for (uint32_t i = 0; i < room; i++)
		at_home += refs[i].index / DCM_REGION == home / DCM_REGION;
	is_uint(room, at_home, "the first are in its home region");
	walk = walk_for("t.One", NULL);
	ok(walk.in_order && walk.found == SLOTS, "a walk finds each of them once");
	walk = walk_for("t.One", "n2000");
	ok(walk.in_order && walk.found == 1 && walk.met < SLOTS / 32,
	   "one for a name finds that, and meets %u others", walk.met - 1);
	world_clean(&w, "a full table");
	unpublish_all(SLOTS);
	is_uint(0, walk_for("t.One", NULL).met, "nothing is met when they are gone");
	world_clean(&w, "emptied");
}

/* What was somewhere is looked for there: that costs a row, and nothing is met. */
static void test_many_interfaces(void)
{
	uint32_t good = 0, found = 0, most = 0;
	char type[16];

	for (uint32_t i = 0; i < SLOTS; i++) {
		snprintf(type, sizeof type, "t.%u", i);
		good += publish(type, "n", &refs[i]);
	}
	is_uint(SLOTS, good, "as many interfaces fill it");
	for (uint32_t i = 0; i < SLOTS; i++) {
		struct walk walk;

		snprintf(type, sizeof type, "t.%u", i);
		walk = walk_for(type, NULL);
		found += walk.in_order && walk.found == 1;
		most = walk.met > most ? walk.met : most;
		walk = walk_for(type, "n");
		found += walk.in_order && walk.found == 1;
		most = walk.met > most ? walk.met : most;
	}
	is_uint(2 * SLOTS, found, "each is found, and under its name");
	ok(most < 64, "no walk meets more than %u", most);
	ok(walk_for("t.None", NULL).found == 0 && walk_for("t.1", "m").found == 0,
	   "what is not there is not found");
	world_clean(&w, "a full table");
	unpublish_all(SLOTS);
	world_clean(&w, "emptied");
}

static void test_cursor(void)
{
	uint32_t cursor, slot;

	many("t.One", SLOTS);
	cursor = DCM_REGION + 100;
	ok(dcm_catalog_next(&w.seg, dcm_hash("t.One"), 0, &cursor, &slot) &&
		   slot == DCM_REGION + 100 && cursor == slot + 1,
	   "from the middle of a region on");
	cursor = SLOTS - 1;
	ok(dcm_catalog_next(&w.seg, dcm_hash("t.One"), 0, &cursor, &slot) && slot == SLOTS - 1,
	   "the last slot");
	ok(!dcm_catalog_next(&w.seg, dcm_hash("t.One"), 0, &cursor, &slot), "none behind it");
	/* Bits that nobody sets. */
	for (uint32_t bucket = 0; bucket < DCM_BUCKETS; bucket++)
		dcm_index_set(dcm_catalog_row(&w.seg, &w.seg.by_type, REGIONS - 1, bucket), 703);
	cursor = SLOTS - 1;
	ok(dcm_catalog_next(&w.seg, dcm_hash("t.One"), 0, &cursor, &slot) && slot == SLOTS - 1 &&
		   !dcm_catalog_next(&w.seg, dcm_hash("t.One"), 0, &cursor, &slot),
	   "nor with a bit there");
}

int main(void)
{
	plan_lazy();
	world_make(&w, &several);
	server = world_process(&w, "server");
	is_uint(REGIONS, w.seg.regions, "a table of several regions");
	test_one_interface();
	test_many_interfaces();
	test_one_interface();
	test_cursor();
	world_free(&w);
	return 0;
}
