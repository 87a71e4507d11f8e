/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenario park: three ways in which the fabric sleeps, one of them in each run.
 *
 *   work    producers add items and wake one; threads of one server take them and sleep when there
 *           is none. When all is quiet, nobody sleeps while an item lies there.
 *   state   writers change a word each and wake all; watchers in several processes sleep until
 *           something is new. When all is quiet, every watcher has seen the last of everything.
 *   call    callers, threads of two processes, wait for a reply that never comes, guarded by the
 *           server's alive words; when the server is killed, the kernel wakes one in each process,
 *           and nobody else helps.
 *
 * In each, a sleeper may be interrupted through its poke word, which must end its sleep. Producers
 * and writers are killed anywhere; then, once that can be proved, somebody wakes in their place, as
 * the reaper does. In runs without a kill, nothing but the wake-ups themselves helps.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shm/park.h"
#include "shm/process.h"
#include "tests/sim/sim_main.h"
#include "tests/sim/sim_world.h"

enum { ACTORS = 3, SLEEPERS = 3, ROUNDS = 4 };
enum mode { WORK, STATE, CALL, MODES };

struct sleeper {
	unsigned process, number;
	dcm_atomic32 poke, interrupt;
	uint32_t seen[ACTORS];
	bool left;
};

static const struct dcm_capacity capacity = {
	.processes = 12,
	.endpoints = 1,
	.subscriptions = 1,
	.connections = 1,
	.listeners = 1,
	.ring_shift = 1,
};

static enum mode mode;
static struct sleeper sleepers[SLEEPERS];
static dcm_atomic32 ec, items, states[ACTORS];
static unsigned actors[ACTORS], actor_count, server;
static bool finished_for[SIM_PROCESSES], by_store, draining;

static bool interrupted(struct sleeper *s)
{
	if (dcm_load(&s->interrupt, acquire) == 0)
		return false;
	s->left = true;
	return true;
}

static bool take_item(void)
{
	uint32_t seen = dcm_load(&items, seq);

	while (seen != 0)
		if (dcm_cas(&items, &seen, seen - 1))
			return true;
	return false;
}

/* One thread of a server: until it is interrupted. */
static void worker(void *arg)
{
	struct sleeper *s = arg;

	for (;;) {
		struct dcm_park_guard guard = { .poke.word = &s->poke };
		uint32_t key;

		guard.poke.expected = dcm_load(&s->poke, acquire);
		key = dcm_park_prepare(&ec);
		if (take_item())
			continue;
		if (interrupted(s))
			break;
		dcm_park_sleep(&ec, key, &guard, DCM_FOREVER);
	}
}

static void producer(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < ROUNDS; i++) {
		dcm_add(&items, 1u);
		dcm_park_wake_one(&ec);
	}
}

static void writer(void *arg)
{
	dcm_atomic32 *word = arg;

	for (uint32_t i = 1; i <= ROUNDS; i++) {
		if (by_store)
			dcm_store(word, i, seq);
		else
			dcm_add(word, 1u);
		dcm_park_wake_all(&ec);
	}
}

static bool something_new(struct sleeper *s)
{
	bool is_new = false;

	for (unsigned i = 0; i < actor_count; i++) {
		uint32_t now = dcm_load(&states[i], seq);

		is_new = is_new || now != s->seen[i];
		s->seen[i] = now;
	}
	return is_new;
}

static void watcher(void *arg)
{
	struct sleeper *s = arg;

	for (;;) {
		struct dcm_park_guard guard = { .poke.word = &s->poke };
		uint32_t key;

		guard.poke.expected = dcm_load(&s->poke, acquire);
		if (interrupted(s))
			return;
		key = dcm_park_prepare(&ec);
		if (!something_new(s))
			dcm_park_sleep(&ec, key, &guard, DCM_FOREVER);
	}
}

static void caller(void *arg)
{
	struct sleeper *s = arg;
	uint32_t self = sim_world_ref(s->process).index;

	for (;;) {
		struct dcm_park_guard guard = { .poke.word = &s->poke };
		uint32_t key;

		guard.poke.expected = dcm_load(&s->poke, acquire);
		key = dcm_park_prepare(&ec);
		if (interrupted(s) ||
		    !dcm_process_guard(&sim_world, sim_world_ref(server), self, &guard.alive[0]))
			break;
		dcm_park_sleep(&ec, key, &guard, DCM_FOREVER);
	}
	s->left = true;
}

static void idle(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 20; i++)
		sim_step();
}

static bool somebody_is_dead(void *arg)
{
	(void)arg;
	for (unsigned p = 0; p < sim_process_count(); p++)
		if (!finished_for[p] && sim_proved(p))
			return true;
	return false;
}

/* What keepers do about the dead, as far as sleepers are concerned. */
static void keeper(void *arg)
{
	for (;;) {
		sim_wait(somebody_is_dead, arg);
		for (unsigned p = 0; p < sim_process_count(); p++) {
			if (finished_for[p] || !sim_proved(p))
				continue;
			finished_for[p] = true;
			dcm_park_wake_all(&ec);
		}
	}
}

/* Ends somebody's sleep, at some time. */
static void interrupter(void *arg)
{
	struct sleeper *s = arg;

	for (uint32_t i = sim_random(60); i > 0; i--)
		sim_step();
	dcm_store(&s->interrupt, 1u, seq);
	dcm_park_poke(&s->poke);
}

static void start_actors(void)
{
	actor_count = 2 + sim_random(ACTORS - 1);
	for (unsigned i = 0; i < actor_count; i++) {
		actors[i] = sim_world_process("actor", SIM_KILLABLE | SIM_STOPPABLE);
		sim_thread(actors[i], mode == WORK ? "producer" : "writer",
			   mode == WORK ? producer : writer, &states[i]);
	}
}

static void start_sleepers(void)
{
	static void (*const bodies[MODES])(void *) = { worker, watcher, caller };
	static const char *const names[SLEEPERS] = { "sleeper 0", "sleeper 1", "sleeper 2" };
	/* How many sleepers are threads of one process. */
	static const unsigned threads[MODES] = { SLEEPERS, 1, 2 };
	unsigned flags = SIM_STOPPABLE | (mode == WORK ? 0 : SIM_KILLABLE);
	unsigned p = 0;

	for (unsigned i = 0; i < SLEEPERS; i++) {
		if (i % threads[mode] == 0)
			p = sim_world_process("sleeper", flags);
		sleepers[i].process = p;
		sim_thread(p, names[i], bodies[mode], &sleepers[i]);
	}
	if (sim_random(2) == 0)
		sim_thread(p, "interrupter", interrupter, &sleepers[SLEEPERS - 1]);
}

static void setup(void)
{
	memset(sleepers, 0, sizeof sleepers);
	memset(&ec, 0, sizeof ec);
	memset(&items, 0, sizeof items);
	memset(states, 0, sizeof states);
	memset(finished_for, 0, sizeof finished_for);
	sim_world_make(&capacity);
	mode = sim_random(MODES);
	by_store = sim_random(2);
	draining = false;
	actor_count = 0;
	if (mode == CALL) {
		server = sim_world_process("server", SIM_STOPPABLE);
		sim_thread(server, "server", idle, NULL);
		sim_kill_within(server, 60);
	} else {
		start_actors();
	}
	start_sleepers();
	if (mode != CALL)
		sim_thread(sim_world_process("keeper", SIM_SERVANT | SIM_STOPPABLE), "keeper",
			   keeper, NULL);
}

static void check_sleeper(struct sleeper *s, unsigned number)
{
	if (s->left || sim_killed(s->process))
		return;
	SIM_CHECK(dcm_load(&s->interrupt, seq) == 0, "sleeper %u was interrupted and sleeps on",
		  number);
	SIM_CHECK(mode != WORK || dcm_load(&items, seq) == 0,
		  "sleeper %u sleeps, %u items are there", number, dcm_load(&items, seq));
	SIM_CHECK(mode != CALL || !sim_marked(server), "sleeper %u waits for the dead", number);
	for (unsigned i = 0; mode == STATE && i < actor_count; i++)
		SIM_CHECK(s->seen[i] == dcm_load(&states[i], seq),
			  "sleeper %u has seen %u of actor %u, not %u", number, s->seen[i], i,
			  dcm_load(&states[i], seq));
}

static bool quiet(void)
{
	for (unsigned i = 0; i < SLEEPERS; i++)
		check_sleeper(&sleepers[i], i);
	if (draining)
		return false;
	draining = true;
	for (unsigned i = 0; i < SLEEPERS; i++) {
		dcm_store(&sleepers[i].interrupt, 1u, seq);
		dcm_park_poke(&sleepers[i].poke);
	}
	return true;
}

static bool describe(const volatile void *word, char *text, size_t size)
{
	for (unsigned i = 0; i < ACTORS; i++)
		if (word == &states[i]) {
			snprintf(text, size, "state[%u]", i);
			return true;
		}
	for (unsigned i = 0; i < SLEEPERS; i++)
		if (word == &sleepers[i].poke || word == &sleepers[i].interrupt) {
			snprintf(text, size, "%s of %u",
				 word == &sleepers[i].poke ? "poke" : "interrupt", i);
			return true;
		}
	if (word == &ec || word == &items) {
		snprintf(text, size, word == &ec ? "ec" : "items");
		return true;
	}
	return sim_world_describe(word, text, size);
}

const struct sim_scenario sim_park = {
	.name = "park",
	.horizon = 200,
	.kills_max = 2,
	.stops_max = 2,
	.spurious_max = 2,
	.setup = setup,
	.quiet = quiet,
	.proved = sim_world_proved,
	.describe = describe,
};
