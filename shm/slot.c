/* SPDX-License-Identifier: BSD-2-Clause */
#include "shm/slot.h"

bool dcm_slot_claim_at(const struct dcm_table *t, uint32_t owner, uint32_t index,
		       struct dcm_ref *out)
{
	dcm_atomic64 *slot = dcm_slot_word(t, index);
	uint64_t word, generation;

	if (slot == NULL)
		return false;
	word = dcm_load(slot, acquire);
	if (dcm_word_state(word) != DCM_FREE)
		return false;
	generation = dcm_word_generation(word) + DCM_ORDER(claim_raises_generation, 1, 0);
	if (!dcm_cas(slot, &word, dcm_word(generation, owner, DCM_CLAIMED)))
		return false;
	/* Dying here leaves a claimed slot without its bit: the reaper clears what is clear. */
	dcm_or(&t->used[index / 64], 1ull << index % 64);
	*out = (struct dcm_ref){ .index = index, .generation = generation };
	return true;
}

/* One of those that word @at of the bitmap is about. */
static bool claim_in_word(const struct dcm_table *t, uint32_t owner, uint32_t at,
			  struct dcm_ref *out)
{
	uint64_t free_bits = ~dcm_load(&t->used[at], acquire);

	for (; free_bits != 0; free_bits &= free_bits - 1) {
		uint32_t index = at * 64 + (uint32_t)__builtin_ctzll(free_bits);

		if (index < t->count && dcm_slot_claim_at(t, owner, index, out))
			return true;
	}
	return false;
}

bool dcm_slot_claim_within(const struct dcm_table *t, uint32_t owner, uint32_t first,
			   uint32_t slots, struct dcm_ref *out)
{
	for (uint32_t at = first / 64; at < (first + slots) / 64 && at * 64 < t->count; at++)
		if (claim_in_word(t, owner, at, out))
			return true;
	return false;
}

bool dcm_slot_claim_from(const struct dcm_table *t, uint32_t owner, uint32_t from,
			 struct dcm_ref *out)
{
	uint32_t words = (t->count + 63) / 64, first = from / 64;

	/* Twice: a slot that was given back behind the first pass is found by the second. */
	for (uint32_t w = 0; w < 2 * words; w++)
		if (claim_in_word(t, owner, (first % words + w) % words, out))
			return true;
	return false;
}

bool dcm_slot_step(const struct dcm_table *t, struct dcm_ref ref, uint32_t owner, uint32_t state,
		   uint32_t next_owner, uint32_t next)
{
	dcm_atomic64 *slot = dcm_slot_word(t, ref.index);
	uint64_t word = dcm_word(ref.generation, owner, state);

	return slot != NULL && dcm_cas(slot, &word, dcm_word(ref.generation, next_owner, next));
}

bool dcm_slot_seize(const struct dcm_table *t, struct dcm_ref *ref, uint32_t owner, uint32_t state,
		    uint32_t by)
{
	dcm_atomic64 *slot = dcm_slot_word(t, ref->index);
	uint64_t word = dcm_word(ref->generation, owner, state);
	uint64_t generation =
		ref->generation + (owner != by ? DCM_ORDER(seizing_raises_generation, 1, 0) : 0);

	if (slot == NULL || !dcm_cas(slot, &word, dcm_word(generation, by, DCM_REAP)))
		return false;
	ref->generation = generation;
	return true;
}

void dcm_slot_yield(const struct dcm_table *t, struct dcm_ref ref)
{
	dcm_atomic64 *slot = dcm_slot_word(t, ref.index);

	if (slot == NULL)
		return;
	/* Clear before free: the bit of a free slot belongs to whoever claims it next. */
	DCM_LINE(yield_clears_used) dcm_and(&t->used[ref.index / 64], ~(1ull << ref.index % 64));
	/* release, pairs with the claimer's acquire: what we did to the slot is over. */
	dcm_store(slot, dcm_word(ref.generation, 0, DCM_FREE), release);
}
