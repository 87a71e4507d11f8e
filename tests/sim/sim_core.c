/* SPDX-License-Identifier: BSD-2-Clause */
/* The scheduler: who runs next, what happens when, and whether a run came to a good end. */
#include "tests/sim/sim_core.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim_state.h"
#include "tests/tap.h"

enum { STEPS_PER_HORIZON = 400 }; /* a run that takes so many is a livelock */

struct sim sim = { .current = -1 };

/* Kept over all runs: their stacks. */
static struct sim_fiber fibers[SIM_THREADS], scheduler;

static const struct dcm_hooks hooks = {
	.load = sim_hook_load,
	.store = sim_hook_store,
	.cas = sim_hook_cas,
	.rmw = sim_hook_rmw,
	.futex_wait = sim_hook_futex_wait,
	.futex_wake = sim_hook_futex_wake,
	.futex_add_wake = sim_hook_futex_add_wake,
	.barrier = sim_hook_barrier,
	.now_ns = sim_hook_now,
	.pause = sim_hook_pause,
	.process_dead = sim_hook_process_dead,
};

/* xorshift128+ */
static uint64_t random_bits(void)
{
	uint64_t a = sim.random[0], b = sim.random[1];

	sim.random[0] = b;
	a ^= a << 23;
	sim.random[1] = a ^ b ^ a >> 17 ^ b >> 26;
	return sim.random[1] + b;
}

uint32_t sim_random(uint32_t n)
{
	return n < 2 ? 0 : (uint32_t)((random_bits() >> 32) * n >> 32);
}

static uint64_t mix(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull; /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

const char *sim_message(void)
{
	return sim.message;
}

uint64_t sim_steps(void)
{
	return sim.steps;
}

uint64_t sim_steps_total(void)
{
	return sim.steps_all;
}

void sim_trace(bool on)
{
	sim.tracing = on;
}

const char *sim_name_of(const volatile void *word)
{
	static char text[2][64];
	static unsigned which;
	char *to = text[which++ % 2];

	if (sim.scenario->describe == NULL || !sim.scenario->describe(word, to, sizeof text[0]))
		snprintf(to, sizeof text[0], "%p", (const void *)(uintptr_t)word);
	return to;
}

void sim_note(const char *format, ...)
{
	char who[32] = "";
	va_list args;

	if (!sim.tracing)
		return;
	if (sim.current >= 0)
		snprintf(who, sizeof who, "%u %s", sim_self(), sim.threads[sim.current].name);
	fprintf(stderr, "%6llu %-13s ", (unsigned long long)sim.steps, who);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

void sim_event_add(uint64_t at, enum sim_event_kind kind, unsigned which)
{
	if (sim.event_count == SIM_EVENTS)
		return;
	sim.events[sim.event_count++] = (struct sim_event){ at, kind, which };
	if (at < sim.next_stop)
		sim.next_stop = at;
}

static uint64_t next_event(void)
{
	uint64_t first = UINT64_MAX;

	for (unsigned i = 0; i < sim.event_count; i++)
		if (sim.events[i].at < first)
			first = sim.events[i].at;
	return first;
}

/* All that are due; what they add for now as well. */
static void run_events(void)
{
	for (unsigned i = 0; i < sim.event_count;) {
		struct sim_event event = sim.events[i];

		if (event.at > sim.steps) {
			i++;
			continue;
		}
		sim.events[i] = sim.events[--sim.event_count];
		sim_event_run(event);
		i = 0;
	}
}

void sim_set_ready(unsigned i)
{
	struct sim_thread *t = &sim.threads[i];

	t->state = SIM_READY;
	if (sim.processes[t->process].stopped > 0)
		sim.ready &= ~(1u << i);
	else
		sim.ready |= 1u << i;
	/* By priority, it may be its turn at once. */
	if (sim.by_priority)
		sim.next_switch = sim.next_stop = sim.steps;
}

void sim_unset_ready(unsigned i)
{
	sim.ready &= ~(1u << i);
}

void sim_changed(void)
{
	sim.changed = true;
}

static bool has_reason(const struct sim_thread *t)
{
	int current = sim.current;
	bool result;

	sim.current = -1; /* no steps */
	result = t->ready(t->ready_arg);
	sim.current = current;
	return result;
}

static void ask_waiting(void)
{
	sim.changed = false;
	for (unsigned i = 0; i < sim.thread_count; i++)
		if (sim.threads[i].state == SIM_WAITING && has_reason(&sim.threads[i]))
			sim_set_ready(i);
}

/* How many steps from now, one in @mean on average. */
static uint64_t some_steps(uint32_t mean)
{
	return mean <= 1 ? 1 : 1 + sim_random(2 * mean - 1);
}

static unsigned nth_bit(uint32_t bits, uint32_t n)
{
	for (; n > 0; n--)
		bits &= bits - 1;
	return (unsigned)__builtin_ctz(bits);
}

static int pick(void)
{
	uint32_t left = sim.ready;
	int best = -1;

	if (left == 0)
		return -1;
	if (!sim.by_priority) {
		if ((left & ~sim.shunned) != 0)
			left &= ~sim.shunned;
		return (int)nth_bit(left, sim_random((uint32_t)__builtin_popcount(left)));
	}
	for (; left != 0; left &= left - 1) {
		int i = __builtin_ctz(left);

		if (best < 0 || sim.threads[i].priority > sim.threads[best].priority)
			best = i;
	}
	return best;
}

static void drain_somebody(void)
{
	if (sim.storing != 0)
		sim_drain_one(nth_bit(sim.storing,
				      sim_random((uint32_t)__builtin_popcount(sim.storing))));
	sim.next_drain = sim.steps + some_steps(sim.linger);
}

/* What is due at this step, and when the next thing is. */
static void look_around(void)
{
	if (sim.steps >= sim.next_drain)
		drain_somebody();
	run_events();
	if (sim.changed)
		ask_waiting();
	if (sim.steps >= sim.next_switch)
		sim.next_switch = sim.by_priority ? UINT64_MAX : sim.steps + some_steps(sim.stay);
	sim.next_stop = next_event();
	if (sim.next_switch < sim.next_stop)
		sim.next_stop = sim.next_switch;
	if (sim.next_drain < sim.next_stop)
		sim.next_stop = sim.next_drain;
}

static void switch_to(int next)
{
	int from = sim.current;

	if (next == from)
		return;
	sim.current = next;
	sim_fiber_switch(from < 0 ? &scheduler : &fibers[from],
			 next < 0 ? &scheduler : &fibers[next]);
}

void sim_block(void)
{
	sim_unset_ready((unsigned)sim.current);
	switch_to(pick());
}

void sim_step(void)
{
	if (sim.current < 0)
		return;
	sim.now_ns++;
	if (++sim.steps < sim.next_stop)
		return;
	if (sim.steps > sim.scenario->horizon * STEPS_PER_HORIZON) {
		sim_fail("livelock: %llu steps and no end", (unsigned long long)sim.steps);
		return;
	}
	{
		bool turn = sim.steps >= sim.next_switch;

		look_around();
		if (turn || (sim.ready >> sim.current & 1) == 0)
			switch_to(pick());
	}
}

void sim_fail(const char *format, ...)
{
	va_list args;

	if (!sim.failed) {
		va_start(args, format);
		vsnprintf(sim.message, sizeof sim.message, format, args);
		va_end(args);
		sim_note("VIOLATION: %s", sim.message);
	}
	sim.failed = true;
	if (sim.current >= 0)
		switch_to(-1);
}

void sim_wait(bool (*ready)(void *), void *arg)
{
	struct sim_thread *t = &sim.threads[sim.current];

	sim_step();
	t->ready = ready;
	t->ready_arg = arg;
	if (has_reason(t))
		return;
	t->state = SIM_WAITING;
	sim_block();
}

unsigned sim_process_count(void)
{
	return sim.process_count;
}

bool sim_running(void)
{
	return sim.current >= 0;
}

unsigned sim_self(void)
{
	return sim.threads[sim.current].process;
}

void sim_kill_within(unsigned process, uint32_t steps)
{
	sim_event_add(sim.steps + 1 + sim_random(steps), SIM_KILL, process);
}

void sim_stop_within(unsigned process, uint32_t steps, uint32_t length)
{
	uint64_t at = sim.steps + 1 + sim_random(steps);

	sim_event_add(at, SIM_STOP_ONLY, process);
	sim_event_add(at + 1 + sim_random(length), SIM_GO_ON, process);
}

void sim_go_on_within(unsigned process, uint32_t steps)
{
	sim_event_add(sim.steps + 1 + sim_random(steps), SIM_GO_ON, process);
}

bool sim_stopped(unsigned process)
{
	return sim.processes[process].stopped > 0;
}

unsigned sim_stopped_most(void)
{
	return sim.stopped_most;
}

bool sim_marked(unsigned process)
{
	return sim.processes[process].marked;
}

bool sim_killed(unsigned process)
{
	return sim.processes[process].killed;
}

bool sim_proved(unsigned process)
{
	return sim.processes[process].proved;
}

bool sim_finished(unsigned process)
{
	for (unsigned i = 0; i < sim.thread_count; i++)
		if (sim.threads[i].process == process && !sim.threads[i].finished)
			return false;
	return true;
}

void sim_direct(bool on)
{
	if (on) {
		sim.direct = sim.current;
		sim.current = -1;
	} else {
		sim.current = sim.direct;
	}
}

void sim_plain(const volatile void *start, size_t bytes, size_t stride, size_t rows)
{
	sim.plain[sim.plain_count].start = start;
	sim.plain[sim.plain_count].bytes = bytes;
	sim.plain[sim.plain_count].stride = stride;
	sim.plain[sim.plain_count++].rows = rows;
}

void sim_unmapped(const volatile void *start, size_t bytes)
{
	sim.unmapped.start = start;
	sim.unmapped.bytes = bytes;
}

unsigned sim_process(const char *name, unsigned flags)
{
	if (sim.process_count == SIM_PROCESSES)
		bail("too many processes in scenario %s", sim.scenario->name);
	sim.processes[sim.process_count] = (struct sim_process){ .name = name, .flags = flags };
	return sim.process_count++;
}

void sim_process_alive(unsigned process, struct sim_alive alive)
{
	sim.processes[process].alive = alive;
}

static void fiber_body(void)
{
	struct sim_thread *t;

	sim_fiber_first();
	t = &sim.threads[sim.current];
	t->body(t->arg);
	sim_note("ends");
	t->finished = true;
	t->state = SIM_ENDED;
	sim.changed = true;
	sim_unset_ready((unsigned)sim.current);
	look_around();
	switch_to(pick());
}

void sim_thread(unsigned process, const char *name, void (*body)(void *), void *arg)
{
	unsigned i = sim.thread_count++;

	if (i >= SIM_THREADS)
		bail("too many threads in scenario %s", sim.scenario->name);
	sim.threads[i] = (struct sim_thread){ .name = name,
					      .process = process,
					      .body = body,
					      .arg = arg,
					      .priority = 1 + sim_random(1u << 20),
					      .deadline_ns = INT64_MAX };
	sim_fiber_begin(&fibers[i], fiber_body);
	sim_set_ready(i);
}

void sim_thread_keeps(void)
{
	sim.threads[sim.thread_count - 1].keeps = true;
}

void sim_thread_serves(void)
{
	sim.threads[sim.thread_count - 1].serves = true;
}

/* One process of those with @flag; -1: there is none. */
static int some_process(unsigned flag)
{
	unsigned from = sim_random(sim.process_count);

	for (unsigned k = 0; k < sim.process_count; k++) {
		unsigned p = (from + k) % sim.process_count;

		if (sim.processes[p].flags & flag)
			return (int)p;
	}
	return -1;
}

static void plan_on(unsigned flag, enum sim_event_kind kind, enum sim_event_kind rarely,
		    uint32_t most)
{
	for (uint32_t n = sim_random(most + 1); n > 0; n--) {
		int p = some_process(flag);

		if (p >= 0)
			sim_event_add(1 + sim_random((uint32_t)sim.scenario->horizon),
				      sim_random(4) == 0 ? rarely : kind, (unsigned)p);
	}
}

/* What will happen in this run, and the manner of its scheduling. */
static void plan_run(void)
{
	static const uint32_t stays[] = { 1, 2, 3, 6, 20, 60 }, lingers[] = { 2, 8, 32, 128, 512 };
	uint32_t horizon = (uint32_t)sim.scenario->horizon;

	sim.by_priority = sim_random(2);
	sim.weak = sim_random(2);
	sim.stay = stays[sim_random(6)];
	sim.linger = lingers[sim_random(5)];
	plan_on(SIM_KILLABLE, SIM_KILL, SIM_EXEC, sim.scenario->kills_max);
	plan_on(SIM_STOPPABLE, SIM_STOP, SIM_STOP, sim.scenario->stops_max);
	for (uint32_t n = sim_random(sim.scenario->spurious_max + 1); n > 0; n--)
		sim_event_add(1 + sim_random(horizon), sim_random(2) ? SIM_STRAY : SIM_EXPIRE, 0);
	for (uint32_t n = sim_random(6) + sim.by_priority; n > 0; n--)
		sim_event_add(1 + sim_random(horizon), SIM_CHANGE, 0);
}

static void start_run(const struct sim_scenario *scenario, uint64_t seed)
{
	struct sim *s = &sim;
	uint64_t state = seed, steps_all = s->steps_all;
	bool tracing = s->tracing;

	/* All but the log, which is large and valid up to its count. */
	memset(s, 0, offsetof(struct sim, log));
	s->changes = 0;
	s->plain_count = 0;
	s->plain_skip = 0;
	s->unmapped.bytes = 0;
	s->steps_all = steps_all;
	s->tracing = tracing;
	s->current = -1;
	s->scenario = scenario;
	s->seed = seed;
	s->random[0] = mix(&state);
	s->random[1] = mix(&state);
	s->now_ns = 1000000000;
	dcm_hooks = &hooks;
}

/* Is the kernel at the death of somebody? */
static bool somebody_dies(void)
{
	for (unsigned i = 0; i < sim.event_count; i++)
		if (sim.events[i].kind == SIM_END || sim.events[i].kind == SIM_MARK ||
		    sim.events[i].kind == SIM_PROVE)
			return true;
	return false;
}

/* What happens by itself, without any event. False: nothing. */
static bool settle(void)
{
	if (sim.storing != 0) {
		for (unsigned i = 0; i < sim.thread_count; i++)
			sim_drain(i);
		sim.changed = true;
		return true;
	}
	return sim_expire_first();
}

/* Nobody can run: what ends the silence? */
static bool rouse(void)
{
	uint64_t event = next_event();

	if (event != UINT64_MAX) {
		if (sim.scenario->stalled != NULL && !somebody_dies()) {
			if (settle())
				return true;
			sim.scenario->stalled();
		}
		sim.steps = event > sim.steps ? event : sim.steps;
		return true;
	}
	if (settle())
		return true;
	return sim.scenario->quiet != NULL && sim.scenario->quiet() && !sim.failed;
}

static void check_sleepers(void)
{
	for (unsigned i = 0; i < sim.thread_count; i++) {
		const struct sim_thread *t = &sim.threads[i];
		const struct sim_process *p = &sim.processes[t->process];

		if (t->state != SIM_ENDED && !p->killed && !t->serves &&
		    (p->flags & SIM_SERVANT) == 0)
			sim_fail("%s %s for ever, on %s", t->name,
				 t->state == SIM_ASLEEP ? "sleeps" : "waits",
				 t->state == SIM_ASLEEP ? sim_name_of(t->on[0]) : "its condition");
	}
}

bool sim_run(const struct sim_scenario *scenario, uint64_t seed)
{
	start_run(scenario, seed);
	scenario->setup();
	plan_run();
	while (!sim.failed) {
		int next;

		look_around();
		next = pick();
		if (next >= 0)
			switch_to(next);
		else if (!rouse())
			break;
	}
	if (!sim.failed)
		check_sleepers();
	sim.current = -1;
	if (scenario->finish != NULL)
		scenario->finish();
	sim.steps_all += sim.steps;
	dcm_hooks = NULL;
	return !sim.failed;
}
