/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory as the fibers see it. A store that is not seq goes into the fiber's buffer and reaches
 * memory later, in order; loads look into the own buffer first. That is x86-TSO.
 *
 * In a weak run, two things more, which other processors do: relaxed stores pass older ones in the
 * buffer, and a load that is not seq may have happened as early as the last access before it that
 * it must not pass (struct sim_thread, floor): the last load that was not relaxed, or the load part
 * of the last read-modify-write. So it may pass a seq store, or the store part of a
 * read-modify-write, that stand before it.
 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim_state.h"

uint64_t sim_peek(const volatile void *word, unsigned bytes)
{
	return bytes == 4 ? *(const volatile uint32_t *)word : *(const volatile uint64_t *)word;
}

/* Memory changes: remembered, so that a relaxed load can have been early. */
static void commit(volatile void *word, unsigned bytes, uint64_t value, unsigned thread)
{
	if (sim.weak) {
		struct sim_change *c = &sim.log[sim.changes++ % SIM_LOG];

		*c = (struct sim_change){ word, sim_peek(word, bytes), sim.steps, thread };
	}
	if (bytes == 4)
		*(volatile uint32_t *)word = (uint32_t)value;
	else
		*(volatile uint64_t *)word = value;
}

void sim_poke(volatile void *word, unsigned bytes, uint64_t value)
{
	commit(word, bytes, value, SIM_THREADS);
}

static void trace(const char *what, const volatile void *word, uint64_t value, const char *order)
{
	sim_note("%-6s %-28s %#llx %s", what, sim_name_of(word), (unsigned long long)value, order);
}

static const char *order_name(enum dcm_order order)
{
	static const char *const names[] = { "relaxed", "acquire", "release", "" };

	return names[order];
}

static void take_out(struct sim_thread *t, unsigned i)
{
	struct sim_store s = t->buffer[i];

	t->stores--;
	memmove(&t->buffer[i], &t->buffer[i + 1], (t->stores - i) * sizeof s);
	if (t->stores == 0)
		sim.storing &= ~(1u << (t - sim.threads));
	commit(s.word, s.bytes, s.value, (unsigned)(t - sim.threads));
	if (sim.tracing)
		sim_note("       (%s's store to %s reaches memory)", t->name, sim_name_of(s.word));
}

/* May the store at @i of a weak machine pass those before it? */
static bool may_pass(const struct sim_thread *t, unsigned i)
{
	if (!t->buffer[i].relaxed)
		return false;
	for (unsigned k = 0; k < i; k++)
		if (t->buffer[k].word == t->buffer[i].word)
			return false;
	return true;
}

void sim_drain_one(unsigned thread)
{
	struct sim_thread *t = &sim.threads[thread];
	unsigned i = sim.weak && t->stores > 1 ? sim_random(t->stores) : 0;

	if (t->stores > 0)
		take_out(t, i > 0 && may_pass(t, i) ? i : 0);
}

void sim_drain(unsigned thread)
{
	struct sim_thread *t = &sim.threads[thread];

	while (t->stores > 0)
		take_out(t, 0);
}

/* A word that many accesses go to and nothing hangs on: only some of them are steps. */
static void step_at(const volatile void *word)
{
	if ((size_t)((const volatile char *)word - sim.unmapped.start) < sim.unmapped.bytes)
		sim_fail("an access to what is not mapped any more");
	for (unsigned i = 0; i < sim.plain_count; i++) {
		size_t at = (size_t)((const volatile char *)word - sim.plain[i].start);

		if (at >= sim.plain[i].stride * sim.plain[i].rows)
			continue;
		if (at % sim.plain[i].stride < sim.plain[i].bytes && sim.plain_skip++ % 16 != 0)
			return;
		break;
	}
	sim_step();
}

/* What a load that is not seq sees: the value as of some moment from the floor on. */
static uint64_t early_value(struct sim_thread *t, const volatile void *word, unsigned bytes)
{
	uint64_t value = sim_peek(word, bytes), as_of = sim.steps;
	uint64_t floor =
		t->relaxed_word == word && t->relaxed_at > t->floor ? t->relaxed_at : t->floor;

	for (uint64_t i = sim.changes; i > 0 && sim.changes - i < SIM_LOG - 1; i--) {
		const struct sim_change *c = &sim.log[(i - 1) % SIM_LOG];

		if (c->at <= floor)
			break;
		if (c->word != word)
			continue;
		if (c->thread == (unsigned)sim.current || sim_random(2) == 0)
			break;
		value = c->old;
		as_of = c->at - 1;
	}
	t->relaxed_word = word;
	t->relaxed_at = as_of;
	return value;
}

/* The moment of the last change of @word, or the floor if it was before that. */
static uint64_t last_change(const struct sim_thread *t, const volatile void *word)
{
	for (uint64_t i = sim.changes; i > 0 && sim.changes - i < SIM_LOG - 1; i--) {
		const struct sim_change *c = &sim.log[(i - 1) % SIM_LOG];

		if (c->at <= t->floor)
			break;
		if (c->word == word)
			return c->at;
	}
	return t->floor;
}

uint64_t sim_hook_load(const volatile void *word, unsigned bytes, enum dcm_order order)
{
	struct sim_thread *t;
	uint64_t value;

	if (sim.current < 0)
		return sim_peek(word, bytes);
	t = &sim.threads[sim.current];
	step_at(word);
	for (unsigned i = t->stores; i-- > 0;)
		if (t->buffer[i].word == word) {
			value = t->buffer[i].value;
			if (sim.tracing)
				trace("load", word, value, "(own store)");
			return value;
		}
	if (sim.weak && order != seq) {
		value = early_value(t, word, bytes);
		if (order == acquire && t->relaxed_at > t->floor)
			t->floor = t->relaxed_at;
	} else {
		value = sim_peek(word, bytes);
		t->floor = t->last_seq = sim.steps;
	}
	if (sim.tracing)
		trace("load", word, value, order_name(order));
	return value;
}

void sim_hook_store(volatile void *word, unsigned bytes, uint64_t value, enum dcm_order order)
{
	struct sim_thread *t;

	if (sim.current < 0) {
		sim_poke(word, bytes, value);
		return;
	}
	t = &sim.threads[sim.current];
	step_at(word);
	if (sim.tracing)
		trace("store", word, value, order_name(order));
	if (order == seq) {
		sim_drain((unsigned)sim.current);
		commit(word, bytes, value, (unsigned)sim.current);
		t->last_seq = sim.steps;
		return;
	}
	if (t->stores == SIM_BUFFER)
		sim_drain_one((unsigned)sim.current);
	t->buffer[t->stores++] = (struct sim_store){ word, value, bytes, order == relaxed };
	sim.storing |= 1u << sim.current;
}

/* What every read-modify-write begins with. */
static uint64_t rmw_begin(const volatile void *word, unsigned bytes)
{
	struct sim_thread *t;

	if (sim.current < 0)
		return sim_peek(word, bytes);
	t = &sim.threads[sim.current];
	step_at(word);
	sim_drain((unsigned)sim.current);
	if (sim.weak) {
		/* Its load part comes behind all seq accesses before it. */
		if (t->last_seq > t->floor)
			t->floor = t->last_seq;
		t->floor = last_change(t, word);
		t->last_seq = sim.steps;
	}
	return sim_peek(word, bytes);
}

static void rmw_end(volatile void *word, unsigned bytes, uint64_t value)
{
	commit(word, bytes, value, sim.current < 0 ? SIM_THREADS : (unsigned)sim.current);
}

bool sim_hook_cas(volatile void *word, unsigned bytes, uint64_t *expected, uint64_t desired)
{
	uint64_t seen;
	bool done;

	if (sim.current >= 0 && sim.scenario->before_cas != NULL)
		sim.scenario->before_cas(word, desired);
	seen = rmw_begin(word, bytes);
	done = seen == *expected;

	if (done)
		rmw_end(word, bytes, desired);
	if (sim.tracing)
		sim_note("%-6s %-28s %#llx, want %#llx -> %#llx", done ? "cas" : "cas no",
			 sim_name_of(word), (unsigned long long)seen, (unsigned long long)*expected,
			 (unsigned long long)desired);
	*expected = seen;
	return done;
}

uint64_t sim_hook_rmw(volatile void *word, unsigned bytes, enum dcm_rmw op, uint64_t operand)
{
	static const char *const names[] = { "swap", "add", "or", "and" };
	uint64_t seen = rmw_begin(word, bytes), value = operand;

	if (op == DCM_RMW_ADD)
		value = seen + operand;
	else if (op == DCM_RMW_OR)
		value = seen | operand;
	else if (op == DCM_RMW_AND)
		value = seen & operand;
	rmw_end(word, bytes, value);
	if (sim.tracing)
		sim_note("%-6s %-28s %#llx, with %#llx", names[op], sim_name_of(word),
			 (unsigned long long)seen, (unsigned long long)operand);
	return seen;
}
