/* SPDX-License-Identifier: BSD-2-Clause */
/* What the victims of the enumeration in one segment do; the names say against what the bystander
   has prepared. */
#ifndef DCM_TESTS_CRASH_LIB_SCENARIOS_H
#define DCM_TESTS_CRASH_LIB_SCENARIOS_H

#include "shm/registry.h"
#include "shm/rendezvous.h"
#include "shm/segment.h"

enum { BYSTANDER = 0, VICTIM = 1, REAPER = 2, LAST = 3, PROCESSES = 4 };

extern struct dcm_segment world;
extern struct dcm_ref known_one; /* the victim's endpoint that the bystander knows of */

struct world_scenario {
	const char *name;
	void (*run)(void);
};
extern const struct world_scenario world_scenarios[];
extern const size_t world_scenario_count;

struct dcm_endpoint_key endpoint_key(const char *name, uint64_t sid);
struct dcm_request_key request_key(const char *name);

#endif
