/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenario reaping: the ring of keepers. Processes that own one of everything, each with its
 * keeper; they are killed, call execve or are stopped anywhere, above all in the middle of
 * reaping others, the stopped ones for the length of others' lives; new ones come to where the dead
 * were. One lives to the end. Nobody but the keepers looks after the dead, and they have no tick.
 * In some runs there are only two, who come at the same time, and one of them dies at once.
 *
 * As long as fewer are stopped than watch each process, everything of the dead is reaped when all
 * others are quiet, and in any case when all go on; nobody's slot is taken from it while it lives;
 * in the end every slot and every bit is accounted for.
 */
#include <string.h>

#include "shm/index.h"
#include "shm/listener.h"
#include "shm/park.h"
#include "shm/process.h"
#include "shm/publication.h"
#include "tests/sim/sim_keeper.h"
#include "tests/sim/sim_main.h"

enum { FIRST = 4, MEMBERS = 14, ROUNDS = 2, PROCESSES = 5, SLOTS = 2, HASH = 1 };

static const struct dcm_capacity capacity = {
	.processes = PROCESSES,
	.endpoints = SLOTS,
	.subscriptions = SLOTS,
	.connections = SLOTS,
	.listeners = SLOTS,
	.ring_shift = 1,
};

/* All for one slot: who takes it from the dead is killed or stopped right there. */
static const struct dcm_capacity capacity_of_one = {
	.processes = PROCESSES,
	.endpoints = 1,
	.subscriptions = 1,
	.connections = 1,
	.listeners = 1,
	.ring_shift = 1,
};

/* One life of a process. */
struct member {
	unsigned process;
	bool started; /* DcmInit came back */
	struct sim_keeper keeper;
	struct dcm_ref listener, subscription, endpoint, request; /* generation 0: none */
	const struct member *waits_for; /* whose death its worker sleeps on; null: none */
	dcm_atomic32 ec;
};

static const struct dcm_ref none;
static struct member members[MEMBERS];
static unsigned member_count, survivor;
static bool closing, all_for_one, all_new;
static unsigned takers;

static struct member *member_of(unsigned process)
{
	for (unsigned i = 0; i < member_count; i++)
		if (members[i].process == process)
			return &members[i];
	return NULL;
}

/* Is that use of a slot its owner's, its used bit with it? */
static void check_own(const struct dcm_table *t, struct dcm_ref ref, uint32_t owner,
		      const char *what)
{
	uint64_t word;
	bool used;

	sim_direct(true);
	word = dcm_load(dcm_slot_word(t, ref.index), seq);
	used = dcm_load(&t->used[ref.index / 64], seq) >> ref.index % 64 & 1;
	sim_direct(false);
	SIM_CHECK(dcm_word_generation(word) == ref.generation && dcm_word_owner(word) == owner,
		  "%s %u was taken from process[%u]", what, ref.index, owner);
	SIM_CHECK(used, "used bit of %s %u was cleared for process[%u]", what, ref.index, owner);
}

static void get_all(struct member *m, uint32_t self)
{
	static const struct dcm_endpoint_key endpoint = {
		.type = "t", .name = "x", .type_hash = HASH, .name_hash = 7, .sid = 1
	};
	static const struct dcm_request_key request = {
		.type = "t", .name = "x", .type_hash = HASH, .name_hash = 7, .client_sid = 1
	};
	uint32_t some = all_for_one ? 1 : sim_random(15) + 1;

	/* Where a table is full there is nothing. */
	if ((some & 1) && !dcm_listener_open(&sim_world, self, &m->listener))
		m->listener = none;
	if ((some & 2) && !dcm_registry_subscribe(&sim_world, self, HASH, &m->subscription))
		m->subscription = none;
	if ((some & 4) && !dcm_publication_begin(&sim_world, self, &endpoint, &m->endpoint))
		m->endpoint = none;
	if ((some & 8) && !dcm_rendezvous_ask(&sim_world, self, &request, &m->request))
		m->request = none;
}

/* Each thing must be as it was made, however many were reaped meanwhile. */
static void give_back(struct member *m, uint32_t self)
{
	if (m->listener.generation != 0) {
		check_own(&sim_world.listener, m->listener, self, "listener");
		SIM_CHECK(dcm_listener_shut(&sim_world, m->listener, self, self),
			  "listener %u was taken", m->listener.index);
	}
	if (m->subscription.generation != 0) {
		check_own(&sim_world.subscription, m->subscription, self, "subscription");
		SIM_CHECK(dcm_registry_unsubscribe(&sim_world, m->subscription, self, self),
			  "subscription %u was taken", m->subscription.index);
	}
	if (m->endpoint.generation != 0) {
		check_own(&sim_world.endpoint, m->endpoint, self, "endpoint");
		dcm_publication_end(&sim_world, self, m->endpoint);
	}
	if (m->request.generation != 0) {
		check_own(&sim_world.connection, m->request, self, "connection");
		dcm_rendezvous_client_leaves(&sim_world, self, m->request);
	}
	m->listener = m->subscription = m->endpoint = m->request = none;
}

/* As a caller waits for its server: until that one is dead. */
static void wait_for_death(struct member *m, uint32_t self)
{
	const struct member *other = &members[sim_random(member_count)];
	struct dcm_ref ref = sim_world_ref(other->process);
	struct dcm_park_guard guard = { .poke.word = NULL };

	if (other == m || !other->started)
		return;
	m->waits_for = other;
	while (!closing) {
		uint32_t key = dcm_park_prepare(&m->ec);

		if (!dcm_process_guard(&sim_world, ref, self, &guard.alive[0]))
			break;
		dcm_park_sleep(&m->ec, key, &guard, DCM_FOREVER);
	}
	m->waits_for = NULL;
}

static bool is_started(void *arg)
{
	return ((struct member *)arg)->started;
}

static void worker(void *arg)
{
	struct member *m = arg;
	uint32_t self = sim_world_ref(m->process).index;
	unsigned rounds = all_for_one ? 4 * ROUNDS : ROUNDS;

	sim_wait(is_started, m);
	for (unsigned i = 0; i < rounds; i++) {
		get_all(m, self);
		if (i + 1 == rounds && sim_random(2) == 0)
			return;
		for (uint32_t n = sim_random(200); n > 0; n--)
			sim_step();
		give_back(m, self);
		if (!all_for_one && sim_random(3) == 0)
			wait_for_death(m, self);
	}
}

static void arrived(unsigned process)
{
	member_of(process)->started = true;
	if (all_new && process != survivor)
		sim_kill_within(process, 100);
	sim_changed();
}

static uint32_t replace(unsigned process);

static void start_member(bool is_new)
{
	struct member *m = &members[member_count++];
	unsigned flags = SIM_KILLABLE | SIM_STOPPABLE;

	*m = (struct member){ .process = is_new ? sim_world_newcomer("member", flags)
						: sim_world_process("member", flags),
			      .started = !is_new };
	m->keeper = (struct sim_keeper){ .process = m->process,
					 .chores = replace,
					 .arrived = is_new ? arrived : NULL };
	sim_thread(m->process, "worker", worker, m);
	sim_thread_serves();
	sim_thread(m->process, "keeper", sim_keeper, &m->keeper);
	sim_thread_serves();
	sim_thread_keeps();
}

static bool slot_is_free(void)
{
	bool free = false;

	sim_direct(true);
	for (uint32_t i = 0; i < PROCESSES; i++)
		free = free || dcm_process_generation(&sim_world, i) == 0;
	sim_direct(false);
	return free;
}

/* By keepers, when they have reaped: somebody new comes to where the dead was. */
static uint32_t replace(unsigned process)
{
	(void)process;
	while (member_count < MEMBERS && !closing && slot_is_free() && sim_random(4) != 0) {
		start_member(true);
		if (sim_random(2) == 0)
			sim_kill_within(sim_process_count() - 1, 600);
	}
	return 0;
}

/* Somebody has the proof of a death, and will reap: what becomes of it meanwhile? */
static bool proved(uint32_t index, uint64_t generation)
{
	unsigned self = sim_self();

	if (!sim_world_proved(index, generation) || all_for_one)
		return sim_world_proved(index, generation);
	switch (sim_random(8)) {
	case 0:
	case 1:
		if (self != survivor)
			sim_kill_within(self, 60);
		break;
	case 2:
		sim_stop_within(self, 60, 3000);
		break;
	}
	return true;
}

/*
 * All for one: of those who take the one slot from the dead, the first dies with it. The second is
 * stopped right before it takes it; the third takes it and is stopped, until somebody new is where
 * the first was, and dies; when that one takes it, the second goes on.
 */
static void before_cas(const volatile void *word, uint64_t desired)
{
	static unsigned first, second;
	unsigned self = sim_self();
	bool again = dcm_word_state(*(const volatile uint64_t *)word) == DCM_REAP;

	if (!all_for_one || word != dcm_slot_word(&sim_world.listener, 0) ||
	    dcm_word_state(desired) != DCM_REAP || self == survivor || takers == 4 ||
	    again != (takers > 0))
		return;
	switch (takers++) {
	case 0:
		first = self;
		sim_kill_within(self, 3);
		break;
	case 1:
		second = self;
		sim_stop_within(self, 1, 20000);
		sim_step();
		break;
	case 2:
		sim_stop_within(self, 3, 20000);
		sim_kill_within(self, 2000);
		break;
	case 3:
		if (sim_world_ref(self).index != sim_world_ref(first).index) {
			takers--;
			break;
		}
		sim_stop_within(self, 3, 400);
		sim_go_on_within(second, 40);
		break;
	}
}

static void setup(void)
{
	member_count = 0;
	closing = false;
	takers = 0;
	all_for_one = sim_random(4) == 0;
	all_new = !all_for_one && sim_random(4) == 0;
	sim_world_make(all_for_one ? &capacity_of_one : &capacity);
	for (unsigned i = 0; i < (all_new ? 1 : FIRST); i++)
		start_member(all_new);
	/* The last of the first: it only keeps. */
	survivor = all_new ? sim_world_newcomer("survivor", SIM_STOPPABLE)
			   : sim_world_process("survivor", SIM_STOPPABLE);
	members[member_count] = (struct member){ .process = survivor, .started = !all_new };
	members[member_count].keeper = (struct sim_keeper){ .process = survivor,
							    .chores = replace,
							    .arrived = all_new ? arrived : NULL };
	sim_thread(survivor, "survivor", sim_keeper, &members[member_count++].keeper);
	sim_thread_serves();
	sim_thread_keeps();
}

/* Whoever died before its keeper was watched owns nothing but its slot, and waits to be found. */
static bool all_arrived(void)
{
	for (unsigned i = 0; i < member_count; i++)
		if (!members[i].started && sim_killed(members[i].process))
			return false;
	return true;
}

static bool somebody_watches(void)
{
	for (unsigned i = 0; i < member_count; i++)
		if (!sim_killed(members[i].process) && !sim_stopped(members[i].process))
			return true;
	return false;
}

/* Whoever sleeps until somebody dies, when that one is dead. */
static void check_waiters(void)
{
	for (unsigned i = 0; i < member_count; i++) {
		const struct member *m = &members[i];

		SIM_CHECK(m->waits_for == NULL || sim_killed(m->process) ||
				  sim_stopped(m->process) || !sim_marked(m->waits_for->process),
			  "process %u sleeps until process %u dies, which is dead", m->process,
			  m->waits_for == NULL ? 0 : m->waits_for->process);
	}
}

static void stalled(void)
{
	check_waiters();
	if (sim_stopped_most() < DCM_WATCH && somebody_watches())
		sim_world_check_owners(all_arrived());
}

static bool quiet(void)
{
	check_waiters();
	sim_world_check_owners(all_arrived());
	if (closing) {
		sim_world_check_quiet();
		return false;
	}
	/* As a full table would: somebody looks around. */
	closing = true;
	dcm_process_kick(&sim_world, sim_world_ref(survivor).index);
	return true;
}

const struct sim_scenario sim_reaping = {
	.name = "reaping",
	.horizon = 2000,
	.kills_max = 4,
	.stops_max = 2,
	.spurious_max = 2,
	.setup = setup,
	.quiet = quiet,
	.stalled = stalled,
	.proved = proved,
	.before_cas = before_cas,
	.describe = sim_world_describe,
};
