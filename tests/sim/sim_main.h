/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * main - what a test program does with scenarios
 *
 *	DCM_SIM_SCENARIO=registry DCM_SIM_SEED=4711 DCM_SIM_TRACE=1 build/tests/sim/registry.t
 *
 * runs one seed and prints its steps; DCM_SIM_MUTANT=name breaks a line first.
 */
#ifndef DCM_TESTS_SIM_MAIN_H
#define DCM_TESTS_SIM_MAIN_H

#include "tests/sim/sim_core.h"

/* All scenarios that there are. */
extern const struct sim_scenario *const sim_scenarios[];
extern const unsigned sim_scenario_count;

/* sim_program() - the whole of a program that explores one scenario: @seeds, by DCM_TEST_SCALE */
int sim_program(const struct sim_scenario *scenario, uint64_t seeds);

/* sim_replay() - if the environment asks for one seed: run it, report it, true */
bool sim_replay(void);

/* sim_explain() - after a failed run: what happened, and how to see it again */
void sim_explain(const struct sim_scenario *scenario, uint64_t seed);

double sim_seconds(void); /* processor time of this process */

extern const struct sim_scenario sim_ring, sim_park, sim_registry, sim_rendezvous, sim_channel,
	sim_reaping, sim_baton, sim_bell, sim_group, sim_gift;

#endif
