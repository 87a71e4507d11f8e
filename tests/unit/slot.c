/* SPDX-License-Identifier: BSD-2-Clause */
/* Claiming, stepping and yielding of slots: alone, and by many threads at once. */
#include "shm/slot.h"

#include <stdlib.h>

#include "tests/tap.h"
#include "tests/unit/lib_world.h"

enum { SLOTS = 70, STRIDE = 64 };

static struct memory {
	alignas(STRIDE) unsigned char slots[SLOTS * STRIDE];
	dcm_atomic64 used[2];
} memory;

static struct dcm_table table_of(uint32_t count)
{
	for (uint32_t i = 0; i < SLOTS; i++)
		dcm_store((dcm_atomic64 *)(void *)(memory.slots + i * STRIDE), 0ull, relaxed);
	dcm_store(&memory.used[0], 0ull, relaxed);
	dcm_store(&memory.used[1], 0ull, relaxed);
	return (struct dcm_table){ memory.slots, STRIDE, count, memory.used };
}

static void test_words(void)
{
	uint64_t generations[] = { 0, 1, 0xfffffffffff };
	uint32_t owners[] = { 0, 1, 32767, 65535 };

	for (int g = 0; g < 3; g++) {
		for (int o = 0; o < 4; o++) {
			for (uint32_t state = 0; state < 16; state++) {
				uint64_t word = dcm_word(generations[g], owners[o], state);

				if (dcm_word_generation(word) != generations[g] ||
				    dcm_word_owner(word) != owners[o] ||
				    dcm_word_state(word) != state)
					ok(0, "a word of %d, %d, %u", g, o, state);
			}
		}
	}
	is_hex(0, dcm_word(0, 0, DCM_FREE), "a file of zeros is free slots");
}

static void test_table(void)
{
	struct dcm_table t = table_of(SLOTS);
	struct dcm_ref ref, again;
	uint32_t good = 0;

	for (uint32_t i = 0; i < SLOTS; i++)
		good += dcm_slot_claim(&t, 7, &ref) && ref.index == i && ref.generation == 1;
	is_uint(SLOTS, good, "each slot is claimed once, the first free one first");
	ok(!dcm_slot_claim(&t, 7, &again), "a full table gives none");
	is_hex(0x3f, dcm_load(&t.used[1], seq), "no bit behind the last slot");
	is_hex(dcm_word(1, 7, DCM_CLAIMED), dcm_load(dcm_slot_word(&t, 69), seq), "as claimed");
	ref = (struct dcm_ref){ 33, 1 };
	dcm_slot_yield(&t, ref);
	is_hex(dcm_word(1, 0, DCM_FREE), dcm_load(dcm_slot_word(&t, 33), seq), "as yielded");
	ok(dcm_slot_claim(&t, 8, &again), "the one that was yielded is found");
	is_uint(33, again.index, "where it was");
	is_uint(2, again.generation, "in its next use");
	ok(!dcm_slot_claim_at(&t, 8, 33, &again), "a slot that is not free is not claimed");
	ok(!dcm_slot_claim_at(&t, 8, SLOTS, &again), "nor one that is not there");
	ok(dcm_slot(&t, SLOTS) == NULL && dcm_slot(&t, UINT32_MAX) == NULL,
	   "out of bounds is null");
	/* A hint that is wrong: bits of free slots set, bits of others clear. */
	dcm_store(&t.used[0], 0ull, seq);
	ok(!dcm_slot_claim(&t, 8, &again), "clear bits do not make slots free");
	dcm_slot_yield(&t, (struct dcm_ref){ 5, 1 });
	ok(dcm_slot_claim_at(&t, 9, 5, &again) && again.generation == 2, "claimed by its index");
}

static void test_steps(void)
{
	struct dcm_table t = table_of(3);
	struct dcm_ref ref, other, outside = { 3, 1 };

	dcm_slot_claim(&t, 1, &ref);
	other = (struct dcm_ref){ ref.index, ref.generation + 1 };
	ok(!dcm_slot_step(&t, ref, 2, DCM_CLAIMED, 2, 2), "not from another owner's");
	ok(!dcm_slot_step(&t, ref, 1, 2, 1, 3), "not from another state");
	ok(!dcm_slot_step(&t, other, 1, DCM_CLAIMED, 1, 2), "not from another use");
	ok(!dcm_slot_step(&t, outside, 1, DCM_CLAIMED, 1, 2), "not outside");
	ok(dcm_slot_step(&t, ref, 1, DCM_CLAIMED, 1, 2), "from exactly what it is");
	ok(dcm_slot_step(&t, ref, 1, 2, 4, DCM_REAP), "to another owner");
	is_hex(dcm_word(1, 4, DCM_REAP), dcm_load(dcm_slot_word(&t, ref.index), seq), "as it says");
	dcm_slot_yield(&t, ref);
	dcm_slot_yield(&t, outside);
	is_hex(0, dcm_load(&t.used[0], seq), "no bit is left");
}

/* Into REAP: by the owner in the same use, by a reaper in a later one, so that no word comes back. */
static void test_seize(void)
{
	struct dcm_table t = table_of(3);
	struct dcm_ref ref, mine, outside = { 3, 1 };

	dcm_slot_claim(&t, 1, &ref);
	dcm_slot_step(&t, ref, 1, DCM_CLAIMED, 1, 2);
	mine = ref;
	ok(!dcm_slot_seize(&t, &mine, 1, DCM_CLAIMED, 1), "not from another state");
	ok(!dcm_slot_seize(&t, &mine, 2, 2, 2), "not from another owner's");
	ok(!dcm_slot_seize(&t, &outside, 1, 2, 1), "not outside");
	ok(mine.generation == ref.generation && outside.generation == 1, "and nothing is changed");
	ok(dcm_slot_seize(&t, &mine, 1, 2, 1), "by its owner");
	is_uint(ref.generation, mine.generation, "in the same use");
	ok(dcm_slot_seize(&t, &mine, 1, DCM_REAP, 4), "by a reaper");
	is_uint(ref.generation + 1, mine.generation, "in another");
	is_hex(dcm_word(ref.generation + 1, 4, DCM_REAP), dcm_load(dcm_slot_word(&t, 0), seq),
	       "so");
	ok(!dcm_slot_seize(&t, &ref, 1, DCM_REAP, 5), "not by a second one that comes late");
	ok(!dcm_slot_step(&t, ref, 1, DCM_REAP, 1, DCM_FREE), "nor by the first owner's steps");
	dcm_slot_yield(&t, mine);
	ok(dcm_slot_claim(&t, 6, &ref) && ref.generation == mine.generation + 1,
	   "then claimed anew");
}

enum { THREADS = 4, FEW = 3, ROUNDS = 100000 };

struct crowd {
	struct dcm_table table;
	uint64_t rounds;
	unsigned inside[SLOTS]; /* plain: who has a slot has this too */
	dcm_atomic64 claims, full, twice;
};

static void claim_and_yield(void *context, unsigned number)
{
	struct crowd *c = context;
	struct world_random random = world_random(number);
	uint64_t claims = 0, full = 0;

	for (uint64_t i = 0; i < c->rounds; i++) {
		struct dcm_ref ref;

		if (!dcm_slot_claim(&c->table, number, &ref)) {
			full++;
			continue;
		}
		claims++;
		if (c->inside[ref.index] != 0)
			dcm_add(&c->twice, 1ull);
		c->inside[ref.index] = number + 1;
		if (world_below(&random, 2))
			dcm_slot_step(&c->table, ref, number, DCM_CLAIMED, number, 2);
		if (c->inside[ref.index] != number + 1)
			dcm_add(&c->twice, 1ull);
		c->inside[ref.index] = 0;
		dcm_slot_yield(&c->table, ref);
	}
	dcm_add(&c->claims, claims);
	dcm_add(&c->full, full);
}

static void test_crowd(uint32_t slots)
{
	static struct crowd c;
	uint64_t generations = 0;

	c = (struct crowd){ .table = table_of(slots), .rounds = tap_scaled(ROUNDS) };
	world_threads(THREADS, claim_and_yield, &c);
	for (uint32_t i = 0; i < slots; i++)
		generations += dcm_word_generation(dcm_load(dcm_slot_word(&c.table, i), seq));
	is_uint(0, dcm_load(&c.twice, seq), "%u slots: nobody has what another has", slots);
	is_uint(generations, dcm_load(&c.claims, seq), "each claim is a generation");
	is_uint(c.rounds * THREADS, dcm_load(&c.claims, seq) + dcm_load(&c.full, seq),
		"all counted");
	if (slots >= THREADS)
		is_uint(0, dcm_load(&c.full, seq), "never full with a slot for everybody");
	is_hex(0, dcm_load(&memory.used[0], seq) | dcm_load(&memory.used[1], seq),
	       "no bit is left");
}

int main(void)
{
	plan_lazy();
	test_words();
	test_table();
	test_steps();
	test_seize();
	test_crowd(1);
	test_crowd(FEW);
	test_crowd(THREADS);
	test_crowd(SLOTS);
	return 0;
}
