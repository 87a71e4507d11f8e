/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenario gift: processes that show themselves by endpoints and revoke what they show themselves
 * by, are killed, and followed by others in the same slots; holders that remember what they were
 * shown and use it, at any time; reapers, one of which is killed as well. Two places for gifts, so
 * that each is soon another's.
 *
 * What a giver has said to be revoked is revoked for every holder that uses it from then on, its
 * giver's death included, until five others were revoked in the same place. What nobody began to revoke
 * never is. When all is quiet, nothing is left to the dead.
 */
#include <stdio.h>
#include <string.h>

#include "shm/gift.h"
#include "shm/publication.h"
#include "tests/sim/sim_main.h"
#include "tests/sim/sim_reaper.h"
#include "tests/sim/sim_world.h"

enum { GIVERS = 2, HOLDERS = 2, ROUNDS = 4, USES = 24, KEYS = 64, ENDPOINTS = 2, GIFT_SHIFT = 1 };
enum { HASH = 1 };

static const struct dcm_capacity capacity = {
	.processes = 10,
	.endpoints = ENDPOINTS,
	.subscriptions = 1,
	.connections = 1,
	.listeners = 1,
	.ring_shift = 1,
	.gift_shift = GIFT_SHIFT,
};

enum revocation { NOT_BEGUN, BEGUN, SAID };

/* What the givers did, as far as they lived to say so; by key, from 1. */
static struct {
	enum revocation revocation;
	uint32_t place;
	unsigned later; /* revocations in its place */
} truth[KEYS];

static unsigned keys, successors;
static unsigned numbers[SIM_PROCESSES];

static bool make(uint32_t self, struct dcm_ref *slot, struct dcm_gift *gift)
{
	uint64_t key = ++keys;

	SIM_CHECK(key < KEYS, "scenario: more keys than expected");
	if (!dcm_gift_make(&sim_world, self, key, slot))
		return false;
	*gift = dcm_gift_name(*slot, key);
	truth[key].place = slot->index;
	return true;
}

static void revoke(uint32_t self, struct dcm_ref slot, uint64_t key)
{
	for (unsigned i = 1; i < KEYS; i++)
		if (i != key && truth[i].place == slot.index && truth[i].revocation != NOT_BEGUN)
			truth[i].later++;
	truth[key].revocation = BEGUN;
	dcm_gift_revoke(&sim_world, self, slot, key);
	truth[key].revocation = SAID;
	sim_note("has revoked %llu in place %u", (unsigned long long)key, slot.index);
}

/* Twice shown by one gift, with its end, or the process's own, somewhere in between. */
static void show(uint32_t self)
{
	struct dcm_endpoint_key key = {
		.type = "t", .name = "n", .type_hash = HASH, .name_hash = 1, .sid = self
	};
	bool revoked = sim_random(2) == 0;
	struct dcm_ref slot, endpoint;

	if (!make(self, &slot, &key.gift))
		return;
	for (int i = 0; i < 2; i++) {
		if (!dcm_publication_begin(&sim_world, self, &key, &endpoint))
			continue;
		if (i == 0 && revoked)
			revoke(self, slot, key.gift.key);
		dcm_publication_end(&sim_world, self, endpoint);
	}
	if (truth[key.gift.key].revocation == NOT_BEGUN)
		dcm_gift_drop(&sim_world, self, slot);
}

static void giver(void *arg)
{
	uint32_t self = sim_world_ref(*(unsigned *)arg).index;

	for (unsigned round = 0; round < ROUNDS; round++) {
		show(self);
		if (sim_random(3) == 0)
			dcm_gift_leave(&sim_world, self);
	}
	dcm_gift_leave(&sim_world, self);
}

static void start_giver(void)
{
	unsigned p = sim_world_process("giver", SIM_KILLABLE | SIM_STOPPABLE);

	numbers[p] = p;
	sim_thread(p, "giver", giver, &numbers[p]);
}

static void replace(void)
{
	if (successors == 3 || sim_process_count() == SIM_PROCESSES || sim_random(2) == 0)
		return;
	successors++;
	start_giver();
	if (sim_random(2) == 0)
		sim_kill_within(sim_process_count() - 1, 200);
}

/* As api/gift.c does with what this process was shown. */
static void use(struct dcm_gift gift)
{
	enum revocation before = truth[gift.key].revocation;
	bool revoked = dcm_gift_revoked(&sim_world, gift);

	SIM_CHECK(!revoked || truth[gift.key].revocation != NOT_BEGUN,
		  "%llu is revoked, which nobody began", (unsigned long long)gift.key);
	SIM_CHECK(revoked || before != SAID || truth[gift.key].later >= DCM_GIFT_REVOKED_KEYS,
		  "%llu is of use, and was revoked before", (unsigned long long)gift.key);
}

static void holder(void *arg)
{
	struct dcm_gift shown[USES];
	unsigned count = 0;

	(void)arg;
	for (unsigned i = 0; i < USES; i++) {
		struct dcm_endpoint_view view;

		if (dcm_registry_look(&sim_world, sim_random(ENDPOINTS), HASH, &view)) {
			SIM_CHECK(view.gift.key >= 1 && view.gift.key <= keys &&
					  view.gift.at == truth[view.gift.key].place + 1,
				  "was shown key %llu in place %u",
				  (unsigned long long)view.gift.key, view.gift.at);
			shown[count++] = view.gift;
		}
		if (count != 0)
			use(shown[sim_random(count)]);
	}
}

static void setup(void)
{
	memset(truth, 0, sizeof truth);
	keys = 0;
	successors = 0;
	sim_world_make(&capacity);
	for (unsigned i = 0; i < GIVERS; i++)
		start_giver();
	for (unsigned i = 0; i < HOLDERS; i++) {
		unsigned p = sim_world_process("holder", SIM_STOPPABLE);

		sim_thread(p, "holder", holder, NULL);
	}
	sim_reapers_start(2, replace);
}

static bool quiet(void)
{
	sim_world_check_quiet();
	for (unsigned i = 1; i <= keys; i++)
		use((struct dcm_gift){ i, truth[i].place + 1 });
	return false;
}

const struct sim_scenario sim_gift = {
	.name = "gift",
	.horizon = 600,
	.kills_max = 3,
	.stops_max = 2,
	.setup = setup,
	.quiet = quiet,
	.proved = sim_world_proved,
	.describe = sim_world_describe,
};
