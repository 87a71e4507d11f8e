/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/sim_reaper.h"

#include "shm/process.h"
#include "shm/reap.h"

static void (*replace_dead)(void);
static unsigned ids[SIM_PROCESSES];

/* What a reaper has done about each process. */
static bool told[SIM_PROCESSES][SIM_PROCESSES];

/* A slot in REAP is somebody's business already: of its owner, or of that one's reaper. */
static bool to_be_reaped(unsigned p)
{
	struct dcm_ref ref = sim_world_ref(p);
	uint64_t word = dcm_load(dcm_slot_word(&sim_world.process, ref.index), seq);

	return sim_proved(p) && dcm_word_generation(word) == ref.generation &&
	       dcm_word_state(word) != DCM_FREE && dcm_word_state(word) != DCM_REAP;
}

static bool has_work(void *arg)
{
	unsigned me = *(unsigned *)arg;

	for (unsigned p = 0; p < sim_process_count(); p++) {
		if ((sim_marked(p) && !told[me][p]) || to_be_reaped(p))
			return true;
	}
	return false;
}

static void reaper(void *arg)
{
	unsigned me = *(unsigned *)arg;

	for (;;) {
		sim_wait(has_work, arg);
		for (unsigned p = 0; p < sim_process_count(); p++)
			told[me][p] = sim_marked(p);
		dcm_reap_scan(&sim_world, sim_world_ref(me).index, false);
		if (replace_dead != NULL)
			replace_dead();
	}
}

void sim_reapers_start(unsigned count, void (*replace)(void))
{
	replace_dead = replace;
	for (unsigned i = 0; i < count; i++) {
		unsigned flags = SIM_SERVANT | SIM_STOPPABLE;
		unsigned p =
			sim_world_process("reaper", i + 1 < count ? flags | SIM_KILLABLE : flags);

		ids[p] = p;
		for (unsigned k = 0; k < SIM_PROCESSES; k++)
			told[p][k] = false;
		sim_thread(p, "reaper", reaper, &ids[p]);
	}
}
