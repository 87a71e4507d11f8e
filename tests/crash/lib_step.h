/* SPDX-License-Identifier: BSD-2-Clause */
/* Each access to shared memory is a step, and a place to die. */
#ifndef DCM_TESTS_CRASH_LIB_STEP_H
#define DCM_TESTS_CRASH_LIB_STEP_H

#include "shm/atomics.h"

extern const struct dcm_hooks step_hooks;

/*
 * step_arm() - from now on steps count, and this process kills itself at step @at (0: never)
 * @others: those of all other threads, in place of the caller's
 */
void step_arm(uint64_t at, bool others);

/* step_stop() - from now on it is stopped there, not killed */
void step_stop(void);

/* step_disarm() - none counts any more */
void step_disarm(void);

/*
 * step_next() - where the next one dies, behind step @at: at the step behind it; on a scale below 1
 * at every eighth, from one on that the seed says
 */
uint64_t step_next(uint64_t at);

#endif
