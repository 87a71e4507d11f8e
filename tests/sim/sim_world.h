/* SPDX-License-Identifier: BSD-2-Clause */
/* world - a tiny segment with processes in it, for scenarios of the whole fabric */
#ifndef DCM_TESTS_SIM_WORLD_H
#define DCM_TESTS_SIM_WORLD_H

#include "shm/segment.h"
#include "tests/sim/sim_core.h"

extern struct dcm_segment sim_world;

/* sim_world_make() - an empty segment; first of all in a setup */
void sim_world_make(const struct dcm_capacity *capacity);

/*
 * sim_world_process() - a process that is attached: in the lowest free slot of the table
 * Return: its number in the simulator; its slot is sim_world_ref().
 */
unsigned sim_world_process(const char *name, unsigned flags);
struct dcm_ref sim_world_ref(unsigned process);
uint32_t sim_world_tid(unsigned process);

/* sim_world_newcomer() - one that has claimed its slot; its keeper, later, calls dcm_process_appear() */
unsigned sim_world_newcomer(const char *name, unsigned flags);

/* The hook: can the kernel tell that the process of this use of the slot is gone? */
bool sim_world_proved(uint32_t index, uint64_t generation);

bool sim_world_describe(const volatile void *word, char *text, size_t size);

/* sim_world_check_owners() - no slot is a dead process's; with @processes, none of theirs either */
void sim_world_check_owners(bool processes);

/*
 * sim_world_check_quiet() - nobody is between two steps: the used bits are exact, no slot of a dead
 * process, every index bit stands for a visible slot and every visible slot has its bit
 */
void sim_world_check_quiet(void);

#endif
