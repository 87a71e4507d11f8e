/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenario bell: owners that arm their bells, look, and sleep in their keepers; ringers that change
 * what the owners look at, and ring. There is no look once a second: whom nobody tells sleeps on.
 *
 * One of four in each run:
 *   bare    ringers change a word each and ring in one of the fabric's ways; another thread of the
 *           owner's arms and looks now and then, as a call does that found nothing. Of whatever
 *           a ringer has come to the end of telling, the owner knows: also while others are stopped
 *           or dead in the middle of theirs.
 *   hands   one listener's slot, which two owners have in turns, and ringers who do not know whose it
 *           is. Of whatever a ringer has come to the end of telling, whoever has the slot knows.
 *   fabric  a server with an endpoint, clients with requests and sessions, a subscriber, killed
 *           anywhere and reaped by others that are killed too. Nobody sleeps when all is quiet
 *           though there is what he looks for.
 *   notice  the same, and no death is ever proved: what level 1 does must do.
 */
#include "tests/sim/sim_bell.h"

#include <string.h>

#include "shm/bell.h"
#include "shm/listener.h"
#include "shm/park.h"
#include "shm/process.h"

enum { OWNERS = 2, ROUNDS = 3, TENANCIES = 3 };
enum mode { BARE, HANDS, FABRIC, NOTICE, MODES };
enum way { BY_BELL, BY_LISTENER, BY_ANSWER, WAYS };

static const struct dcm_capacity capacity = {
	.processes = 12,
	.endpoints = ENDPOINTS,
	.subscriptions = 1,
	.connections = CONNECTIONS,
	.listeners = OWNERS,
	.ring_shift = 1,
};

static enum mode mode;
static enum way way;
static struct owner owners[OWNERS];
static struct dcm_channel_header headers[OWNERS];
static dcm_atomic32 posted[RINGERS]; /* hands */
static uint32_t posted_told[RINGERS];
static unsigned ringers[RINGERS];

uint32_t sim_bell_index_of(const void *owner)
{
	return sim_world_ref(((const struct owner *)owner)->process).index;
}

/* Each process counts its own tokens, from a number on that no other begins with. */
uint32_t sim_bell_arm(struct owner *o)
{
	uint32_t first = DCM__BROKEN(tokens_of_its_own) ? 0 : (o->process + 1) << 16;

	dcm_bell_start(first + 2 * o->arms++);
	return dcm_bell_arm(o->bell);
}

/* As dcm_source_check(). */
static bool check(struct owner *o)
{
	bool more;

	pthread_mutex_lock(&o->lock);
	if (o->bell != NULL)
		o->token = sim_bell_arm(o);
	more = o->look(o);
	pthread_mutex_unlock(&o->lock);
	return more;
}

static bool is_due(struct owner *o, uint32_t asked)
{
	bool due;

	pthread_mutex_lock(&o->lock);
	due = (asked & DCM_KICK_SOURCES) != 0 ||
	      (o->bell != NULL && dcm_bell_rung(o->bell, o->token));
	pthread_mutex_unlock(&o->lock);
	return due;
}

void sim_bell_keeper(void *arg)
{
	struct owner *o = arg;
	struct dcm_process *self = dcm_process_at(&sim_world, sim_world_ref(o->process).index);
	uint32_t asked = DCM_KICK_SOURCES;

	for (;;) {
		uint32_t key = dcm_park_prepare(&self->control);

		asked |= dcm_swap(&self->asked, 0u);
		if (is_due(o, asked) && !check(o))
			return;
		asked = 0;
		dcm_park_sleep(&self->control, key, NULL, DCM_FOREVER);
	}
}

/* Bare. */

static bool see_states(struct owner *o)
{
	uint32_t cursor = 0, index;

	/* As a server looks: where a ready bit was, and nowhere else. */
	while (way == BY_LISTENER && dcm_listener_next(&sim_world, o->listener, &cursor, &index))
		o->seen[index] = dcm_load(&o->states[index], seq);
	for (unsigned i = 0; way != BY_LISTENER && i < RINGERS; i++)
		o->seen[i] = dcm_load(&o->states[i], seq);
	return true;
}

static void other_thread(void *arg)
{
	for (uint32_t i = sim_random(3); i > 0; i--)
		check(arg);
}

static void tell(struct owner *o, unsigned ringer)
{
	if (way == BY_BELL)
		dcm_bell_ring(&sim_world, o->bell, sim_bell_index_of, o);
	else if (way == BY_LISTENER)
		dcm_listener_signal(&sim_world, o->listener.index, ringer);
	else
		dcm_channel_answer(&o->channel,
				   (struct dcm_call){ .index = ringer, .generation = 1 },
				   DCM_CALL_ASYNC, NULL);
}

static void ringer(void *arg)
{
	unsigned self = (unsigned)((unsigned *)arg - ringers);

	for (uint32_t round = 1; round <= ROUNDS; round++)
		for (unsigned i = 0; i < OWNERS; i++) {
			dcm_store(&owners[i].states[self], round, seq);
			tell(&owners[i], self);
			owners[i].told[self] = round;
		}
}

static void start_owner(struct owner *o, unsigned number)
{
	uint32_t index;

	o->process = sim_world_process("owner", SIM_KILLABLE | SIM_STOPPABLE | SIM_SERVANT);
	o->look = see_states;
	index = sim_world_ref(o->process).index;
	sim_direct(true);
	dcm_listener_open(&sim_world, index, &o->listener);
	sim_direct(false);
	memset(&headers[number], 0, offsetof(struct dcm_channel_header, done));
	o->channel = (struct dcm_channel){ .shared = &headers[number],
					   .seg = &sim_world,
					   .client = index };
	if (way == BY_ANSWER)
		o->bell = &headers[number].bell;
	else
		o->bell = &dcm_listener_at(&sim_world, o->listener.index)->bell;
	sim_thread(o->process, "owner", sim_bell_keeper, o);
	sim_thread(o->process, "other", other_thread, o);
}

static void start_ringers(void (*body)(void *))
{
	static const char *const names[RINGERS] = { "ringer 0", "ringer 1", "ringer 2" };

	for (unsigned i = 0; i < RINGERS; i++) {
		ringers[i] = sim_world_process("ringer", SIM_KILLABLE | SIM_STOPPABLE);
		sim_thread(ringers[i], names[i], body, &ringers[i]);
	}
}

static void start_bare(void)
{
	way = sim_random(WAYS);
	for (unsigned i = 0; i < OWNERS; i++)
		start_owner(&owners[i], i);
	start_ringers(ringer);
}

static void check_bare(void)
{
	for (unsigned i = 0; i < OWNERS; i++)
		for (unsigned r = 0; r < RINGERS; r++)
			SIM_CHECK(sim_killed(owners[i].process) || sim_stopped(owners[i].process) ||
					  owners[i].seen[r] >= owners[i].told[r],
				  "owner %u sleeps, was told of %u by ringer %u, and has seen %u",
				  i, owners[i].told[r], r, owners[i].seen[r]);
}

/* Hands. */

static bool see_posted(struct owner *o)
{
	uint32_t cursor = 0, index;

	while (dcm_listener_next(&sim_world, o->listener, &cursor, &index))
		;
	for (unsigned i = 0; i < RINGERS; i++)
		o->seen[i] = dcm_load(&posted[i], seq);
	return sim_random(3) != 0;
}

static bool is_vacant(void *arg)
{
	(void)arg;
	return dcm_word_state(dcm_load(&dcm_listener_at(&sim_world, 0)->word, seq)) == DCM_FREE;
}

static void tenant(void *arg)
{
	struct owner *o = arg;
	uint32_t self = sim_bell_index_of(o);

	for (unsigned lives = TENANCIES; lives > 0; lives--) {
		sim_wait(is_vacant, NULL);
		if (!dcm_listener_open(&sim_world, self, &o->listener))
			continue;
		o->bell = &dcm_listener_at(&sim_world, 0)->bell;
		o->holds = true;
		sim_bell_keeper(o);
		o->holds = false;
		dcm_bell_disarm(o->bell, o->token);
		dcm_listener_shut(&sim_world, o->listener, self, self);
		sim_changed();
	}
}

static uint32_t seen_before(const void *owner)
{
	return *(const uint32_t *)owner;
}

static void signal_slot(unsigned self)
{
	struct dcm_listener *listener = dcm_listener_at(&sim_world, 0);
	uint32_t before;

	if (!DCM__BROKEN(owner_behind_token)) {
		dcm_listener_signal(&sim_world, 0, self);
		return;
	}
	before = dcm_load(&listener->owner, relaxed);
	dcm_bell_ring(&sim_world, &listener->bell, seen_before, &before);
}

/* A ringer that has marked a bell is stopped there, more often than by chance. */
static void before_cas(const volatile void *word, uint64_t desired)
{
	if (mode == HANDS && word == &dcm_listener_at(&sim_world, 0)->bell && (desired & 1) != 0 &&
	    sim_running() && sim_random(3) == 0)
		sim_stop_within(sim_self(), 4, 400);
}

static void poster(void *arg)
{
	unsigned self = (unsigned)((unsigned *)arg - ringers);

	for (uint32_t round = 1; round <= ROUNDS; round++) {
		dcm_store(&posted[self], round, seq);
		signal_slot(self);
		posted_told[self] = round;
	}
}

static void start_hands(void)
{
	for (unsigned i = 0; i < OWNERS; i++) {
		owners[i].process = sim_world_process("tenant", SIM_STOPPABLE | SIM_SERVANT);
		owners[i].look = see_posted;
		sim_thread(owners[i].process, i == 0 ? "tenant 0" : "tenant 1", tenant, &owners[i]);
	}
	start_ringers(poster);
}

static void check_hands(void)
{
	for (unsigned i = 0; i < OWNERS; i++)
		for (unsigned r = 0; r < RINGERS; r++)
			SIM_CHECK(!owners[i].holds || sim_stopped(owners[i].process) ||
					  owners[i].seen[r] >= posted_told[r],
				  "tenant %u sleeps, ringer %u has told of %u, and it has seen %u",
				  i, r, posted_told[r], owners[i].seen[r]);
}

static void setup(void)
{
	struct dcm_capacity one_slot = capacity;

	memset(owners, 0, sizeof owners);
	sim_bell_fabric_setup();
	memset(posted, 0, sizeof posted);
	memset(posted_told, 0, sizeof posted_told);
	mode = sim_random(MODES);
	one_slot.listeners = mode == HANDS ? 1 : capacity.listeners;
	sim_world_make(&one_slot);
	if (mode == BARE)
		start_bare();
	else if (mode == HANDS)
		start_hands();
	else
		sim_bell_fabric_start(mode == FABRIC);
}

static void stalled(void)
{
	if (mode == BARE)
		check_bare();
	if (mode == HANDS)
		check_hands();
}

static bool quiet(void)
{
	stalled();
	if (mode == FABRIC || mode == NOTICE)
		sim_bell_fabric_check();
	return false;
}

const struct sim_scenario sim_bell = {
	.name = "bell",
	.horizon = 600,
	.kills_max = 3,
	.stops_max = 2,
	.spurious_max = 2,
	.setup = setup,
	.quiet = quiet,
	.stalled = stalled,
	.finish = sim_bell_fabric_finish,
	.before_cas = before_cas,
	.proved = sim_world_proved,
	.describe = sim_world_describe,
};
