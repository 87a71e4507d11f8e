/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * api - what the library's calling and receiving sources stand on, for many processes in one
 *
 * api/call.c, receive.c, session.c, end.c, listener.c, wait.c and what they use of accept.c are the
 * library's own. In place of its table of numbers, its keeper, its check for a fork and its fabric
 * there are those of simulated processes: an object belongs to the process whose thread made it,
 * and nobody else finds its number.
 */
#ifndef DCM_TESTS_SIM_API_H
#define DCM_TESTS_SIM_API_H

#include "api/attach.h"
#include "api/handle.h"
#include "tests/sim/sim_world.h"

/* sim_api_make() - no object, no process; behind sim_world_make(). sim_api_free(): when the run ends */
void sim_api_make(void);
void sim_api_free(void);

/* sim_api_as() - until the next call, outside of fibers: what is made belongs to this process */
void sim_api_as(unsigned process);

/* sim_api_fabric() - the fabric as a process of the world has it */
struct dcm_fabric *sim_api_fabric(unsigned process);

/* sim_api_poke() - the keeper's poke word of a process: dcm_keeper_kick() changes it */
dcm_atomic32 *sim_api_poke(unsigned process);

/* sim_api_left() - objects of a process that are not released yet */
unsigned sim_api_left(unsigned process);

#endif
