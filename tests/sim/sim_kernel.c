/* SPDX-License-Identifier: BSD-2-Clause */
/* What the protocols see of the kernel: futexes, the clock, the death of processes. */
#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>

#include "tests/sim/sim_state.h"

static const int64_t NEVER = INT64_MAX;

/* Long enough that nobody spins for many steps. */
enum { PAUSE_NS = 4000 };

static void wake_thread(unsigned i, int result)
{
	struct sim_thread *t = &sim.threads[i];

	t->woken = result;
	t->deadline_ns = NEVER;
	sim_set_ready(i);
	if (sim.tracing)
		sim_note("       (%u %s wakes%s)", t->process, t->name,
			 result != 0 ? ": time is up" : "");
}

static bool sleeps_on(const struct sim_thread *t, const volatile void *word)
{
	for (unsigned i = 0; i < SIM_WORDS && t->state == SIM_ASLEEP; i++)
		if (t->on[i] == word)
			return true;
	return false;
}

/* Whoever waits longest; -1: nobody. */
static int first_on(const volatile void *word)
{
	int first = -1;

	for (unsigned i = 0; i < sim.thread_count; i++)
		if (sleeps_on(&sim.threads[i], word) &&
		    (first < 0 || sim.threads[i].queued < sim.threads[first].queued))
			first = (int)i;
	return first;
}

static int wake_on(const volatile void *word, int count)
{
	int woken = 0, i;

	while (woken < count && (i = first_on(word)) >= 0) {
		wake_thread((unsigned)i, 0);
		woken++;
	}
	return woken;
}

static bool all_as_expected(const struct dcm_park_word *words, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (sim_peek(words[i].word, 4) != words[i].expected)
			return false;
	return true;
}

int sim_hook_futex_wait(const struct dcm_park_word *words, unsigned count, int64_t deadline_ns)
{
	struct sim_thread *t = &sim.threads[sim.current];

	sim_step();
	sim_drain((unsigned)sim.current);
	t->floor = sim.steps;
	if (!all_as_expected(words, count)) {
		if (sim.tracing)
			sim_note("wait   %-28s not as expected", sim_name_of(words[0].word));
		return 0;
	}
	if (deadline_ns <= sim.now_ns)
		return -ETIMEDOUT;
	if (sim.tracing)
		sim_note("sleep  %-28s", sim_name_of(words[0].word));
	for (unsigned i = 0; i < SIM_WORDS; i++)
		t->on[i] = i < count ? words[i].word : NULL;
	t->deadline_ns = deadline_ns;
	t->queued = sim.queue_counter++;
	t->state = SIM_ASLEEP;
	sim_block();
	if (sim.scenario->woken != NULL)
		sim.scenario->woken(words[0].word);
	return t->woken;
}

int sim_hook_futex_wake(dcm_atomic32 *word, int count)
{
	if (sim.current >= 0) {
		sim_step();
		sim_drain((unsigned)sim.current);
	}
	if (sim.tracing)
		sim_note("wake   %-28s %d", sim_name_of(word), count);
	return wake_on(word, count);
}

int sim_hook_futex_add_wake(dcm_atomic32 *word, uint32_t add)
{
	uint32_t seen;

	if (sim.current >= 0) {
		sim_step();
		sim_drain((unsigned)sim.current);
	}
	seen = (uint32_t)sim_peek(word, 4);
	if (sim.tracing)
		sim_note("add&wake %-26s %#x, with %#x", sim_name_of(word), seen, add);
	sim_poke(word, 4, seen + add);
	if (DCM__BROKEN(kernel_adds_and_wakes_at_once) && sim.current >= 0)
		sim_step();
	return wake_on(word, INT32_MAX);
}

/* On every processor at this moment: no store waits, and no load to come was early. */
void sim_hook_barrier(void)
{
	sim_step();
	sim_note("barrier");
	for (unsigned i = 0; i < SIM_THREADS; i++) {
		sim_drain(i);
		sim.threads[i].floor = sim.steps;
	}
}

int64_t sim_hook_now(void)
{
	return sim.now_ns;
}

/* Once around a spin: whoever it waits for gets its turn. */
void sim_hook_pause(void)
{
	if (sim.current < 0)
		return;
	sim.now_ns += PAUSE_NS;
	sim.threads[sim.current].priority = --sim.lowest;
	sim.next_switch = sim.steps;
	sim.next_stop = sim.steps;
	sim_step();
}

bool sim_hook_process_dead(uint32_t index, uint64_t generation)
{
	bool dead;

	sim_step();
	dead = sim.scenario->proved != NULL && sim.scenario->proved(index, generation);
	if (sim.tracing)
		sim_note("dead?  process[%u] generation %llu: %s", index,
			 (unsigned long long)generation, dead ? "yes" : "not proved");
	return dead;
}

bool sim_expire_first(void)
{
	int first = -1;

	for (unsigned i = 0; i < sim.thread_count; i++) {
		const struct sim_thread *t = &sim.threads[i];

		if (t->state == SIM_ASLEEP && t->deadline_ns != NEVER &&
		    (first < 0 || t->deadline_ns < sim.threads[first].deadline_ns))
			first = (int)i;
	}
	if (first < 0)
		return false;
	if (sim.now_ns < sim.threads[first].deadline_ns)
		sim.now_ns = sim.threads[first].deadline_ns;
	wake_thread((unsigned)first, -ETIMEDOUT);
	return true;
}

static void wake_stray(void)
{
	unsigned from = sim_random(sim.thread_count);

	for (unsigned k = 0; k < sim.thread_count; k++) {
		unsigned i = (from + k) % sim.thread_count;

		if (sim.threads[i].state == SIM_ASLEEP) {
			wake_thread(i, 0);
			return;
		}
	}
}

static uint64_t some_while(uint32_t most)
{
	return sim_random(2) == 0 ? 0 : sim_random(most);
}

/* By SIGKILL, or by its execve, which only ends it as far as it is known to the others. */
static void kill_process(unsigned p, bool exec)
{
	uint64_t last = sim.steps;

	if (sim.processes[p].killed || (exec && sim.processes[p].stopped > 0))
		return;
	sim.processes[p].killed = true;
	sim.stopped -= sim.processes[p].stopped > 0;
	sim.processes[p].stopped = 0; /* SIGKILL ends a stop */
	if (sim.tracing)
		sim_note("       (%u, %s, %s)", p, sim.processes[p].name,
			 exec ? "calls execve" : "gets SIGKILL");
	for (unsigned i = 0; i < sim.thread_count; i++) {
		uint64_t at = sim.steps + some_while(20);

		if (sim.threads[i].process != p)
			continue;
		if (sim.threads[i].state == SIM_READY)
			sim_set_ready(i); /* it may have been stopped */
		sim_event_add(at, SIM_END, i);
		last = at > last ? at : last;
	}
	sim_event_add((exec ? last : sim.steps) + some_while(100), SIM_MARK, p);
	sim_event_add(last, SIM_PROVE, p);
	sim.changed = true;
}

/* As handle_futex_death(): mark, and wake one. */
static void mark_word(unsigned char *alive)
{
	uint64_t word = sim_peek(alive, 4);

	if ((word & FUTEX_TID_MASK) == 0)
		return;
	sim_poke(alive, 4, (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED);
	if (sim.tracing)
		sim_note("       (%s is marked)", sim_name_of(alive));
	if (word & FUTEX_WAITERS)
		wake_on(alive, 1);
}

static void end_thread(unsigned i)
{
	struct sim_thread *t = &sim.threads[i];

	if (t->state == SIM_ENDED)
		return;
	t->state = SIM_ENDED;
	sim_unset_ready(i);
}

/* As exit_robust_list(), by the keeper: one word after the other, and others run meanwhile. */
static void mark(unsigned p)
{
	struct sim_process *process = &sim.processes[p];
	struct sim_alive alive = process->alive;

	for (unsigned i = 0; i < sim.thread_count; i++)
		if (sim.threads[i].process == p && sim.threads[i].keeps) {
			sim_drain(i);
			end_thread(i);
		}
	while (process->marks < alive.count) {
		mark_word(alive.first + alive.stride * process->marks++);
		if (process->marks < alive.count && sim_random(4) == 0) {
			sim_event_add(sim.steps + 1 + some_while(20), SIM_MARK, p);
			return;
		}
	}
	process->marked = true;
	sim.changed = true;
	if (sim.tracing)
		sim_note("       (%u, %s, is marked dead)", p, process->name);
}

static void prove(unsigned p)
{
	/* The mark comes first, and every store has left the processor. */
	if (!sim.processes[p].marked) {
		sim_event_add(sim.steps + 1 + some_while(50), SIM_PROVE, p);
		return;
	}
	if (sim_random(4) == 0) {
		sim_event_add(sim.steps + 1 + sim_random(200), SIM_PROVE, p);
		return;
	}
	for (unsigned i = 0; i < sim.thread_count; i++)
		if (sim.threads[i].process == p)
			sim_drain(i);
	sim.processes[p].proved = true;
	sim.changed = true;
	if (sim.tracing)
		sim_note("       (the death of %u, %s, can be proved)", p, sim.processes[p].name);
}

static void stop(unsigned p, bool on)
{
	struct sim_process *process = &sim.processes[p];

	if (process->killed)
		return;
	if (process->stopped == 0 && on && ++sim.stopped > sim.stopped_most)
		sim.stopped_most = sim.stopped;
	process->stopped += on ? 1 : -1u;
	if (process->stopped == 0)
		sim.stopped--;
	if (sim.tracing)
		sim_note("       (%u, %s, is %s)", p, process->name, on ? "stopped" : "let go on");
	for (unsigned i = 0; i < sim.thread_count; i++)
		if (sim.threads[i].process == p && sim.threads[i].state == SIM_READY)
			sim_set_ready(i);
}

void sim_event_run(struct sim_event event)
{
	switch (event.kind) {
	case SIM_KILL:
	case SIM_EXEC:
		kill_process(event.which, event.kind == SIM_EXEC);
		break;
	case SIM_END:
		end_thread(event.which);
		break;
	case SIM_MARK:
		mark(event.which);
		break;
	case SIM_PROVE:
		prove(event.which);
		break;
	case SIM_STOP:
		stop(event.which, true);
		sim_event_add(sim.steps + 1 + sim_random((uint32_t)sim.scenario->horizon),
			      SIM_GO_ON, event.which);
		break;
	case SIM_STOP_ONLY:
		stop(event.which, true);
		break;
	case SIM_GO_ON:
		if (sim.processes[event.which].stopped > 0)
			stop(event.which, false);
		break;
	case SIM_STRAY:
		wake_stray();
		break;
	case SIM_EXPIRE:
		sim_expire_first();
		break;
	case SIM_CHANGE:
		if (sim.current < 0)
			break;
		sim.threads[sim.current].priority = --sim.lowest;
		sim.shunned = 1u << sim.current;
		sim.next_switch = sim.steps;
		break;
	}
}
