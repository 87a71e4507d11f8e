/* SPDX-License-Identifier: BSD-2-Clause */
/* bell - what the scenario bell is made of: owners of bells, and those of a whole fabric */
#ifndef DCM_TESTS_SIM_BELL_H
#define DCM_TESTS_SIM_BELL_H

#include <pthread.h>

#include "api/known.h"
#include "shm/channel.h"
#include "tests/sim/sim_main.h"
#include "tests/sim/sim_world.h"

enum { RINGERS = 3, ENDPOINTS = 2, CONNECTIONS = 4 };

/* As much of a source as there is of it here: a bell, the token, and a look. */
struct owner {
	unsigned process;
	pthread_mutex_t lock;
	uint32_t token, arms;		   /* under lock */
	bool (*look)(struct owner *owner); /* false: it has seen enough, and ends */
	dcm_atomic32 *bell; /* null: none, it looks when it is asked to look at all */
	/* bare */
	struct dcm_ref listener;
	struct dcm_channel channel;
	uint32_t seen[RINGERS], told[RINGERS];
	dcm_atomic32 states[RINGERS];
	bool holds; /* hands: the slot */
	/* fabric */
	struct dcm_ref ref; /* of a request, an endpoint, a subscription; generation 0: none now */
	struct dcm_known *known;
	unsigned left; /* requests to make, lives of an endpoint to come */
	uint64_t listed[CONNECTIONS];
};

/* sim_bell_index_of() - of an owner's process; sim_bell_arm() - its bell: the token */
uint32_t sim_bell_index_of(const void *owner);
uint32_t sim_bell_arm(struct owner *o);

/* sim_bell_keeper() - of a process with one source that is active: an owner's body */
void sim_bell_keeper(void *owner);

/* The scenarios fabric and notice. @reaped: the dead are; otherwise level 1 alone hears of them */
void sim_bell_fabric_setup(void);
void sim_bell_fabric_start(bool reaped);
void sim_bell_fabric_check(void);
void sim_bell_fabric_finish(void);

#endif
