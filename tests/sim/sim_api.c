/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/sim_api.h"

#include <string.h>

#include "api/fork.h"
#include "api/gift.h"
#include "api/guard.h"
#include "api/identity.h"
#include "api/keeper.h"
#include "api/retcode.h"
#include "api/source.h"
#include "shm/park.h"
#include "tests/sim/sim_state.h"
#include "tests/tap.h"

enum { OBJECTS = 16, POOL_BYTES = 192 * 1024 };

/* A number is its place here + 1: none is given out twice in one run. */
static struct {
	struct dcm_object *object;
	unsigned process;
	bool listed, released;
} objects[OBJECTS];
static unsigned object_count;

/* How deep in read sections each thread is. */
static unsigned sections[SIM_THREADS];

static alignas(16) unsigned char pool[POOL_BYTES];
static size_t pooled;

static struct {
	struct dcm_fabric fabric;
	dcm_atomic32 poke;
} processes[SIM_PROCESSES];
static unsigned maker;

void sim_api_make(void)
{
	memset(pool, 0, pooled);
	memset(objects, 0, sizeof objects);
	memset(sections, 0, sizeof sections);
	object_count = 0;
	pooled = 0;
	for (unsigned i = 0; i < SIM_PROCESSES; i++) {
		processes[i].fabric.seg = sim_world;
		dcm_store(&processes[i].poke, 0u, relaxed);
	}
}

void sim_api_free(void)
{
	for (unsigned i = 0; i < object_count; i++) {
		const struct dcm_object_type *type = objects[i].object->type;

		if (!objects[i].released && type->forget != NULL)
			type->forget(objects[i].object);
		if (type->reclaim != NULL)
			type->reclaim(objects[i].object);
	}
}

void sim_api_as(unsigned process)
{
	maker = process;
}

struct dcm_fabric *sim_api_fabric(unsigned process)
{
	processes[process].fabric.self = sim_world_ref(process);
	return &processes[process].fabric;
}

dcm_atomic32 *sim_api_poke(unsigned process)
{
	return &processes[process].poke;
}

unsigned sim_api_left(unsigned process)
{
	unsigned left = 0;

	for (unsigned i = 0; i < object_count; i++)
		left += objects[i].process == process && !objects[i].released;
	return left;
}

/* Whose thread calls. */
static unsigned here(void)
{
	return sim_running() ? sim_self() : maker;
}

/* handle.h */

struct dcm_object *dcm_object_new(const struct dcm_object_type *type, size_t bytes)
{
	struct dcm_object *object = (void *)(pool + pooled);

	pooled += (bytes + 15) / 16 * 16;
	if (pooled > sizeof pool || object_count == OBJECTS)
		bail("the simulation makes more objects than expected");
	objects[object_count].object = object;
	objects[object_count++].process = here();
	object->type = type;
	object->count = 1;
	return object;
}

void dcm_object_hold(struct dcm_object *object)
{
	object->count++;
}

static unsigned place_of(const struct dcm_object *object)
{
	unsigned i = 0;

	while (objects[i].object != object)
		i++;
	return i;
}

void dcm_object_drop(struct dcm_object *object)
{
	unsigned i = place_of(object);

	SIM_CHECK(!objects[i].released && object->count > 0, "object %u is dropped too often", i);
	if (--object->count > 0)
		return;
	objects[i].released = true;
	if (object->type->release != NULL)
		object->type->release(object);
}

int dcm_handle_insert(struct dcm_object *object)
{
	unsigned i = place_of(object);

	object->number = i + 1;
	objects[i].listed = true;
	dcm_object_hold(object);
	return 0;
}

static struct dcm_object *listed(uint64_t number, uint32_t kinds)
{
	if (number == 0 || number > object_count || !objects[number - 1].listed ||
	    objects[number - 1].process != here() ||
	    (kinds >> objects[number - 1].object->type->kind & 1) == 0)
		return NULL;
	return objects[number - 1].object;
}

/* In a section nothing is freed: here nothing ever is. What is left of the rules is checked. */
static unsigned *section(void)
{
	static unsigned outside;

	return sim.current >= 0 ? &sections[sim.current] : &outside;
}

void dcm_handle_enter(void)
{
	++*section();
}

void dcm_handle_leave(void)
{
	SIM_CHECK(*section() > 0, "a read section is left that was not entered");
	--*section();
}

struct dcm_object *dcm_handle_peek(uint64_t number, uint32_t kinds)
{
	struct dcm_object *object;

	SIM_CHECK(*section() > 0, "a peek outside of a read section");
	sim_step();
	object = listed(number, kinds);
	/* Whoever found it may be kept for long before it looks what became of it meanwhile. */
	if (sim_random(32) == 0)
		for (uint32_t n = sim_random(600); n > 0; n--)
			sim_step();
	return object;
}

bool dcm_object_keep(struct dcm_object *object)
{
	SIM_CHECK(*section() > 0, "an object is kept outside of a read section");
	sim_step();
	if (objects[place_of(object)].released)
		return false;
	object->count++;
	return true;
}

struct dcm_object *dcm_handle_find(uint64_t number, uint32_t kinds)
{
	struct dcm_object *object;

	sim_step();
	object = listed(number, kinds);
	if (object != NULL)
		dcm_object_hold(object);
	return object;
}

bool dcm_handle_close(uint64_t number, uint32_t kinds)
{
	struct dcm_object *object;

	sim_step();
	object = listed(number, kinds);
	if (object == NULL)
		return false;
	objects[number - 1].listed = false;
	if (object->type->close != NULL)
		object->type->close(object);
	dcm_object_drop(object);
	return true;
}

void dcm_handle_each(uint32_t kinds, void (*visit)(struct dcm_object *object, void *arg), void *arg)
{
	for (uint64_t number = 1; number <= object_count; number++) {
		struct dcm_object *object = dcm_handle_find(number, kinds);

		if (object == NULL)
			continue;
		visit(object, arg);
		dcm_object_drop(object);
	}
}

/* identity.h */

Sid dcm_sid_next(void)
{
	return 1;
}

/* tree.h: one lock for all processes would be no process's own, and nobody here copies a handle */

int dcm_tree_enter(struct dcm_node *node, struct dcm_node *parent, struct dcm_tally *tally)
{
	(void)parent;
	(void)tally;
	node->in = true;
	return 0;
}

void dcm_tree_confirm(struct dcm_node *node, struct dcm_tally *tally)
{
	(void)node;
	(void)tally;
}

bool dcm_tree_leave(struct dcm_node *node)
{
	bool was_in = node->in;

	node->in = false;
	return was_in;
}

bool dcm_tree_revoke(struct dcm_node *node, const struct dcm_tally *tally, bool itself)
{
	(void)tally;
	(void)itself;
	return node->in;
}

void dcm_tree_forked(uint32_t kinds, struct dcm_node *(*node_of)(struct dcm_object *object))
{
	(void)kinds;
	(void)node_of;
}

/* source.h: nobody here subscribes, or asks for a descriptor */

void dcm_source_init(struct dcm_source *source, const struct dcm_source_type *type,
		     struct dcm_object *object)
{
	source->type = type;
	source->object = object;
}

void dcm_source_close(struct dcm_source *source)
{
	(void)source;
}

void dcm_source_end(struct dcm_source *source, uint32_t events)
{
	(void)source;
	(void)events;
}

void dcm_source_revoke(struct dcm_source *source, uint64_t through)
{
	(void)source;
	(void)through;
}

void dcm_source_forked(struct dcm_source *source)
{
	(void)source;
}

void dcm_source_fire(struct dcm_source *source, uint32_t events)
{
	(void)source;
	(void)events;
}

void dcm_source_check(struct dcm_source *source)
{
	(void)source;
}

void dcm_source_drain(struct dcm_source *source, uint32_t pulses)
{
	(void)source;
	(void)pulses;
}

/* gift.h: nobody shows himself to others */

void dcm_giving_close(struct dcm_kernel_object *kernel)
{
	(void)kernel;
}

void dcm_giving_forked(void)
{
}

bool dcm_shown_revoked(struct dcm_resource *resource)
{
	(void)resource;
	return false;
}

/* fork.h: nobody forks */

static uint32_t settled = DCM_FORK_SETTLED;
uint32_t *dcm_fork_word = &settled;

void dcm_fork_settle(void)
{
}

/* keeper.h: the scenario's keepers do the chores */

void dcm_keeper_chore(uint32_t (*chore)(bool second))
{
	(void)chore;
}

void dcm_keeper_on_marks(void (*look)(const struct dcm_segment *seg, uint32_t self))
{
	(void)look;
}

void dcm_keeper_kick(void)
{
	dcm_park_poke(&processes[here()].poke);
}

void dcm_keeper_blocked(int change)
{
	(void)change;
	SIM_CHECK(*section() == 0, "a call blocks in a read section");
}

void dcm_keeper_look_later(void)
{
}

/* attach.h: a simulated process stays attached until it dies */

void dcm_fabric_hold(struct dcm_fabric *fabric)
{
	(void)fabric;
}

bool dcm_fabric_drop(struct dcm_fabric *fabric)
{
	(void)fabric;
	return false;
}

/* guard.h: nobody truncates the segment */

bool dcm_guard_lost(void)
{
	return false;
}

Retcode dcm_guard_fail(void)
{
	return rcFail;
}
