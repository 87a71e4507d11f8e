/* SPDX-License-Identifier: BSD-2-Clause */
/* reaper - the keepers of a scenario, reduced to what they do about the dead */
#ifndef DCM_TESTS_SIM_REAPER_H
#define DCM_TESTS_SIM_REAPER_H

#include "tests/sim/sim_world.h"

/*
 * sim_reapers_start() - @count processes that tell of the dead and reap them; all but the last may
 * be killed themselves
 * @replace: called by a reaper after it has reaped: a new process may take the free slot; or null
 */
void sim_reapers_start(unsigned count, void (*replace)(void));

#endif
