/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A damaged segment hurts nobody: words of a populated one are overwritten at random, then
 * everything that a participant can do is done in it. That it ends, and that the sanitizers see no
 * step beyond the segment, is the result.
 */
#include "shm/check.h"

#include <stdlib.h>
#include <string.h>

#include "shm/process.h"
#include "shm/reap.h"
#include "shm/ring.h"
#include "tests/tap.h"
#include "tests/unit/lib_actor.h"

enum { ACTORS = 3, SETTLE_STEPS = 400, ROUNDS = 20000, STEPS = 60, WORDS_MOST = 40 };

static const struct dcm_capacity capacity = { .processes = 6,
					      .endpoints = 70,
					      .subscriptions = 9,
					      .connections = 30,
					      .listeners = 4,
					      .ring_shift = 3 };

struct scene {
	struct world w;
	void *good; /* the segment before it is damaged */
	struct actor actors[ACTORS];
	struct world_random random;
	uint64_t damaged;
};

static uint64_t *random_word(struct scene *s)
{
	uint64_t *words = s->w.memory, first = DCM_PAGE / 8, count = s->w.bytes / 8 - first;

	return &words[first + world_next(&s->random) % count];
}

/* A word that much hangs on. */
static uint64_t *chosen_word(struct scene *s)
{
	const struct dcm_segment *seg = &s->w.seg;
	const struct dcm_table *tables[] = { &seg->process, &seg->endpoint, &seg->subscription,
					     &seg->connection, &seg->listener };
	const struct dcm_table *t = tables[world_below(&s->random, 5)];
	uint32_t slot = world_below(&s->random, t->count);
	uint64_t *words = (uint64_t *)(void *)(t->slots + t->stride * slot);

	switch (world_below(&s->random, 4)) {
	case 0:
		return words; /* the state word */
	case 1:
		return (uint64_t *)(void *)&t
			->used[world_below(&s->random, dcm_bitmap_words(t->count))];
	default:
		return &words[world_next(&s->random) % (t->stride / 8)];
	}
}

static uint64_t random_value(struct scene *s, uint64_t was)
{
	switch (world_below(&s->random, 8)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return was ^ 1ull << world_below(&s->random, 64);
	case 3:
		return was + 1;
	case 4:
		return world_below(&s->random, 100);
	case 5:
		return (uint64_t)world_below(&s->random, 100) << 32 | world_below(&s->random, 100);
	case 6: /* a state word that could be */
		return dcm_word(1 + world_below(&s->random, 9), world_below(&s->random, 7),
				world_below(&s->random, 16));
	default:
		return world_next(&s->random);
	}
}

static void scribble(struct scene *s)
{
	uint32_t words = 1 + world_below(&s->random, WORDS_MOST);

	for (uint32_t i = 0; i < words; i++) {
		uint64_t *at = world_below(&s->random, 2) ? random_word(s) : chosen_word(s);

		*at = random_value(s, *at);
	}
}

static void work(struct scene *s)
{
	const struct dcm_segment *seg = &s->w.seg;
	uint32_t by = s->actors[world_below(&s->random, ACTORS)].self;

	for (int i = 0; i < STEPS; i++)
		actor_step(&s->actors[i % ACTORS]);
	switch (world_below(&s->random, 4)) {
	case 0:
		dcm_reap_notice(seg, world_below(&s->random, capacity.processes));
		break;
	case 1:
		world_reap(&s->w, world_below(&s->random, capacity.processes), by);
		break;
	case 2:
		dcm_reap_scan(seg, by, world_below(&s->random, 8) == 0);
		break;
	default:
		dcm_process_kick_watchers(seg, by);
	}
	for (int i = 0; i < ACTORS; i++)
		actor_end(&s->actors[i]);
}

/* What a hint ring gives from any cells and cursors whatever. */
static void scribble_rings(struct scene *s)
{
	dcm_atomic64 cells[8], tail, head;
	struct dcm_ring_view r = { .tail = &tail, .head = &head, .cells = cells, .shift = 3 };
	uint32_t value, bad = 0;

	for (uint64_t round = 0; round < tap_scaled(3 * ROUNDS); round++) {
		dcm_store(&tail, random_value(s, round), relaxed);
		dcm_store(&head, random_value(s, dcm_load(&tail, relaxed)), relaxed);
		for (int i = 0; i < 8; i++)
			dcm_store(&cells[i], random_value(s, 0), relaxed);
		for (int i = 0; i < 20; i++) {
			value = 1;
			bad += dcm_ring_pop(r, &value) == DCM_RING_OK && value == 0;
			dcm_ring_push(r, 1 + world_below(&s->random, 70));
			bad += dcm_ring_depth(r) > 8;
		}
		dcm_check_ring(r, 70);
	}
	is_uint(0, bad, "a ring gives no 0 and no depth beyond its cells");
}

static void test_segments(struct scene *s)
{
	struct dcm_check_result result;
	struct actor was[ACTORS];

	memcpy(was, s->actors, sizeof was);
	for (uint64_t round = 0; round < tap_scaled(ROUNDS); round++) {
		memcpy(s->w.memory, s->good, s->w.bytes);
		memcpy(s->actors, was, sizeof was);
		scribble(s);
		dcm_check(&s->w.seg, NULL, &result);
		s->damaged += result.damaged + result.dead != 0;
		work(s);
		dcm_check(&s->w.seg, NULL, &result);
	}
	ok(1, "it ends");
	ok(s->damaged != 0, "and most damage is seen");
	note("seen in %llu rounds of %llu", (unsigned long long)s->damaged,
	     (unsigned long long)tap_scaled(ROUNDS));
}

/* Nothing of it makes any sense. */
static void test_noise(struct scene *s)
{
	struct dcm_check_result result;
	uint64_t rounds = tap_scaled(100);

	for (uint64_t round = 0; round < rounds; round++) {
		uint64_t *words = s->w.memory;

		for (uint64_t i = DCM_PAGE / 8; i < s->w.bytes / 8; i++)
			words[i] = round % 2 ? world_next(&s->random) : random_value(s, i);
		dcm_check(&s->w.seg, NULL, &result);
		if (result.damaged == 0)
			break;
		work(s);
	}
	ok(result.damaged != 0, "noise is damage");
}

int main(void)
{
	static struct scene s;

	plan_lazy();
	s.random = world_random(0);
	world_make(&s.w, &capacity);
	for (unsigned i = 0; i < ACTORS; i++)
		actor_begin(&s.actors[i], &s.w, i + 1);
	for (int i = 0; i < SETTLE_STEPS * ACTORS; i++)
		actor_step(&s.actors[i % ACTORS]);
	world_clean(&s.w, "before it is damaged");
	s.good = malloc(s.w.bytes);
	if (s.good == NULL)
		bail("no memory for a copy");
	memcpy(s.good, s.w.memory, s.w.bytes);
	test_segments(&s);
	test_noise(&s);
	scribble_rings(&s);
	free(s.good);
	world_free(&s.w);
	return 0;
}
