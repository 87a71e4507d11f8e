/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/sim_keeper.h"

#include "shm/park.h"
#include "shm/process.h"
#include "shm/reap.h"

enum { SOON_NS = 100000 };

static bool watch(uint32_t self, struct dcm_park_guard *guard, uint32_t *soon)
{
	return DCM__BROKEN(keeper_watches) || dcm_process_watch(&sim_world, self, guard, soon);
}

/* As round_once() of api/keeper.c. */
static void round_once(struct sim_keeper *k, uint32_t self)
{
	dcm_atomic32 *control = &dcm_process_at(&sim_world, self)->control;
	bool late = DCM__BROKEN(keeper_prepares_first);
	struct dcm_park_guard guard = { .poke.word = k->poke };
	uint32_t key = 0, soon = 0;

	if (k->poke != NULL)
		guard.poke.expected = dcm_load(k->poke, seq);
	if (!late)
		key = dcm_park_prepare(control);
	if (!DCM__BROKEN(keeper_watches_first) && !watch(self, &guard, &soon))
		return;
	soon += dcm_reap_scan(&sim_world, self, false);
	if (k->hands != NULL)
		dcm_baton_look(&sim_world, self, k->hands);
	if (k->chores != NULL)
		soon += k->chores(k->process);
	if (DCM__BROKEN(keeper_watches_first) && !watch(self, &guard, &soon))
		return;
	if (late)
		key = dcm_park_prepare(control);
	dcm_park_sleep(control, key, &guard, soon != 0 ? dcm_park_now() + SOON_NS : DCM_FOREVER);
}

void sim_keeper(void *arg)
{
	struct sim_keeper *k = arg;
	uint32_t self = sim_world_ref(k->process).index;

	if (k->arrived != NULL) {
		dcm_process_appear(&sim_world, sim_world_ref(k->process),
				   sim_world_tid(k->process));
		k->arrived(k->process);
	}
	while (k->over == NULL || !k->over(k->process))
		round_once(k, self);
}
