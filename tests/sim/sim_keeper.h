/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keeper - the library's keeper threads as api/keeper.c has them, without their clock
 *
 * A keeper scans for the dead, does its chores, and sleeps on its control word, its poke word and
 * the alive words of the next living processes. It looks again by itself only while somebody is
 * marked dead and cannot be proved so yet: there is no tick.
 */
#ifndef DCM_TESTS_SIM_KEEPER_H
#define DCM_TESTS_SIM_KEEPER_H

#include "shm/baton.h"
#include "tests/sim/sim_world.h"

struct sim_keeper {
	unsigned process;
	dcm_atomic32 *poke;		      /* null: it has none */
	void (*arrived)(unsigned process);    /* it is attached; null: it was before the run */
	uint32_t (*chores)(unsigned process); /* how many want another look soon; may be null */
	bool (*over)(unsigned process);	      /* it may end; null: never */
	struct dcm_hands *hands;	      /* it looks for lost batons; null: it must not */
};

/* sim_keeper() - the body of the thread; @arg: struct sim_keeper */
void sim_keeper(void *arg);

#endif
