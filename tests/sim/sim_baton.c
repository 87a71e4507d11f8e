/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenario baton: the threads of one client wait for their server, which is killed and reaped by
 * others; newcomers come to where it was, and die, too. The client may be stopped for the length of
 * all that, above all while a call makes itself ready to sleep.
 *
 * In half of the runs nobody helps: the kernel wakes one, and that one the others. When all is
 * quiet, no call waits for the dead.
 *
 * In the other half a handler of the host's keeps one of the threads that were woken, and the
 * client's keeper looks around as it does once a second, when all is quiet otherwise. Then no call
 * waits for the dead but the one that is kept.
 *
 * Or, instead of all that: threads of one process wait at a listener for what others put there, and
 * each time one of them is woken. In half of the runs, again, one is kept, and the keeper looks. When
 * all is quiet, everything was taken.
 */
#include <stdio.h>
#include <string.h>

#include "shm/listener.h"
#include "shm/park.h"
#include "shm/process.h"
#include "tests/sim/sim_keeper.h"
#include "tests/sim/sim_main.h"

/* The client's keeper watches the next two, and so not the server. */
enum { PROCESSES = 4, CALLERS = 3, WATCHERS = 2, NEWCOMERS = 3, GIVERS = 3 };

static const struct dcm_capacity capacity = {
	.processes = PROCESSES,
	.endpoints = 1,
	.subscriptions = 1,
	.connections = GIVERS,
	.listeners = 1,
	.ring_shift = 1,
};

struct caller {
	dcm_atomic32 ec;
	bool left;
};

static struct caller callers[CALLERS];
static struct sim_keeper keepers[1 + WATCHERS + NEWCOMERS];
static struct dcm_hands hands;
static unsigned server, client, newcomers;
static const struct caller *kept;
static bool takes_one; /* the threads wait at the listener */
static bool keeps, stopped, looked, closing;
static struct dcm_ref listener;
static unsigned givers[GIVERS];

static void caller(void *arg)
{
	struct caller *c = arg;
	uint32_t self = sim_world_ref(client).index;

	for (;;) {
		struct dcm_park_guard guard = { .poke.word = NULL };
		uint32_t key = dcm_park_prepare(&c->ec);

		if (!stopped && sim_random(3) == 0) {
			stopped = true;
			sim_stop_within(client, 8, 3000);
		}
		if (closing ||
		    !dcm_process_guard(&sim_world, sim_world_ref(server), self, &guard.alive[0]))
			break;
		dcm_park_sleep(&c->ec, key, &guard, DCM_FOREVER);
	}
	c->left = true;
}

static bool let_go(void *arg)
{
	(void)arg;
	return closing;
}

static void keep(struct caller *c)
{
	kept = c;
	sim_note("is kept by a handler");
	sim_wait(let_go, NULL);
}

/* The first caller that comes back when the server is dead, or when there is something to take. */
static void woken(const dcm_atomic32 *word)
{
	for (unsigned i = 0; i < CALLERS; i++)
		if (word == &callers[i].ec && keeps && kept == NULL && sim_killed(server))
			keep(&callers[i]);
	if (takes_one && keeps && kept == NULL &&
	    word == &dcm_listener_at(&sim_world, listener.index)->ec)
		keep(&callers[0]);
}

static void taker(void *arg)
{
	dcm_atomic32 *ec = &dcm_listener_at(&sim_world, listener.index)->ec;
	struct caller *c = arg;

	while (!closing) {
		uint32_t key = dcm_park_prepare(ec), cursor = 0, index;

		while (dcm_listener_next(&sim_world, listener, &cursor, &index))
			;
		if (!closing)
			dcm_park_sleep(ec, key, NULL, DCM_FOREVER);
	}
	c->left = true;
}

static void giver(void *arg)
{
	dcm_listener_signal(&sim_world, listener.index, (uint32_t)((unsigned *)arg - givers));
}

static bool any(struct dcm_ref at)
{
	return dcm_listener_any_but(&sim_world, at, DCM_LISTENER_REACHES_ALL,
				    DCM_LISTENER_SKIPS_NONE);
}

/* By the keeper of those who wait at the listener, as it does once a second. */
static uint32_t pass_on(unsigned process)
{
	(void)process;
	if (looked && any(listener))
		dcm_baton_pass(&dcm_listener_at(&sim_world, listener.index)->ec);
	return 0;
}

static void idle(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 20; i++)
		sim_step();
}

static void arrived(unsigned process)
{
	(void)process;
	sim_changed();
}

static uint32_t replace(unsigned process);

static void start_keeper(unsigned process, bool is_new)
{
	struct sim_keeper *k = &keepers[is_new ? 1 + WATCHERS + newcomers++ : process - client];

	*k = (struct sim_keeper){ .process = process,
				  .chores = takes_one		? pass_on
					    : process == client ? NULL
								: replace,
				  .arrived = is_new ? arrived : NULL,
				  .hands = process == client && keeps ? &hands : NULL };
	sim_thread(process, "keeper", sim_keeper, k);
	sim_thread_serves();
	sim_thread_keeps();
}

static bool server_slot_is_free(void)
{
	bool free;

	sim_direct(true);
	free = dcm_process_generation(&sim_world, sim_world_ref(server).index) == 0;
	sim_direct(false);
	return free;
}

/* By keepers, when they have reaped: somebody new comes to where the server was. */
static uint32_t replace(unsigned process)
{
	(void)process;
	if (newcomers < NEWCOMERS && !closing && server_slot_is_free() && sim_random(4) != 0) {
		start_keeper(sim_world_newcomer("newcomer", SIM_STOPPABLE), true);
		if (sim_random(3) == 0)
			sim_kill_within(sim_process_count() - 1, 600);
	}
	return 0;
}

static void start_takers(void)
{
	client = sim_world_process("client", 0);
	sim_direct(true);
	dcm_listener_open(&sim_world, sim_world_ref(client).index, &listener);
	sim_direct(false);
	for (unsigned i = 0; i < CALLERS; i++)
		sim_thread(client, "taker", taker, &callers[i]);
	start_keeper(client, false);
	for (unsigned i = 0; i == 0 || (i < GIVERS && sim_random(2) == 0); i++) {
		givers[i] = sim_world_process("giver", SIM_STOPPABLE);
		sim_thread(givers[i], "giver", giver, &givers[i]);
	}
}

static void start_callers(void)
{
	static const char *const names[CALLERS] = { "caller 0", "caller 1", "caller 2" };

	server = sim_world_process("server", 0);
	client = sim_world_process("client", 0);
	sim_thread(server, "server", idle, NULL);
	sim_kill_within(server, 100);
	for (unsigned i = 0; i < CALLERS; i++)
		sim_thread(client, names[i], caller, &callers[i]);
	start_keeper(client, false);
	for (unsigned i = 0; i < WATCHERS; i++)
		start_keeper(sim_world_process("watcher", SIM_STOPPABLE), false);
}

static void setup(void)
{
	memset(callers, 0, sizeof callers);
	memset(&hands, 0, sizeof hands);
	newcomers = 0;
	kept = NULL;
	keeps = sim_random(2);
	stopped = looked = closing = false;
	takes_one = sim_random(3) == 0;
	sim_world_make(&capacity);
	if (takes_one)
		start_takers();
	else
		start_callers();
}

static bool check_taken(void)
{
	SIM_CHECK(!any(listener), "something is there, and nobody takes it");
	if (closing)
		return false;
	closing = true;
	sim_changed();
	dcm_listener_wake(&sim_world, listener);
	return true;
}

static bool quiet(void)
{
	if (keeps && !looked) {
		/* Once a second. */
		looked = true;
		dcm_process_kick(&sim_world, sim_world_ref(client).index);
		return true;
	}
	if (takes_one)
		return check_taken();
	for (unsigned i = 0; i < CALLERS; i++)
		SIM_CHECK(callers[i].left || &callers[i] == kept, "caller %u waits for the dead",
			  i);
	if (closing)
		return false;
	closing = true;
	sim_changed();
	return true;
}

static bool describe(const volatile void *word, char *text, size_t size)
{
	for (unsigned i = 0; i < CALLERS; i++)
		if (word == &callers[i].ec) {
			snprintf(text, size, "ec of caller %u", i);
			return true;
		}
	return sim_world_describe(word, text, size);
}

const struct sim_scenario sim_baton = {
	.name = "baton",
	.horizon = 600,
	.stops_max = 2,
	.spurious_max = 2,
	.setup = setup,
	.quiet = quiet,
	.proved = sim_world_proved,
	.woken = woken,
	.describe = describe,
};
