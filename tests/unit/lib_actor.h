/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * actor - one participant that does at random whatever a participant can do, in a world
 *
 * Each works with private references of its own, as the library does, so any number of actors may
 * work in one world at once, each in one thread at a time.
 */
#ifndef DCM_TESTS_UNIT_ACTOR_H
#define DCM_TESTS_UNIT_ACTOR_H

#include "tests/unit/lib_world.h"

enum { ACTOR_HOLDS = 4, ACTOR_NAMES = 3 };

/* What it has of a kind; generation 0: nothing. */
struct actor {
	struct world *world;
	uint32_t self;
	struct world_random random;
	struct dcm_ref publication[ACTOR_HOLDS], subscription[ACTOR_HOLDS];
	struct dcm_ref asked[ACTOR_HOLDS], taken[ACTOR_HOLDS], listener;
	uint64_t steps, published, hints, opened;
};

/* A new process slot is the actor's. */
void actor_begin(struct actor *a, struct world *w, uint64_t stream);
void actor_step(struct actor *a);
/* All that it has is given back, its process slot too. */
void actor_end(struct actor *a);
/* It dies with all it has; somebody must call world_reap() (its slot is a->self). */
void actor_die(struct actor *a);

/* The names that actors use: type and name @i, below ACTOR_NAMES. */
const char *actor_type(unsigned i);
const char *actor_name(unsigned i);

#endif
