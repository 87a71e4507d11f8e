/* SPDX-License-Identifier: BSD-2-Clause */
#include "shm/quota.h"

uint32_t dcm_quota_slots(const struct dcm_segment *seg, const struct dcm_table *table)
{
	uint64_t slots = (uint64_t)table->count * seg->user_share / 100;

	return slots == 0 ? 1 : (uint32_t)slots;
}

static uint32_t in_use(const struct dcm_table *table)
{
	uint32_t bits = 0;

	for (uint32_t i = 0; i < dcm_bitmap_words(table->count); i++)
		bits += (uint32_t)__builtin_popcountll(dcm_load(&table->used[i], relaxed));
	return bits;
}

/* A connection is its client's, whoever must take the next step of it. */
static uint32_t holder_of(const struct dcm_segment *seg, const struct dcm_table *table,
			  uint32_t index, uint64_t word)
{
	if (table == &seg->connection && dcm_word_state(word) != DCM_CLAIMED)
		return dcm_load(&dcm_connection_at(seg, index)->client, relaxed);
	return dcm_word_owner(word);
}

bool dcm_quota_exceeded(const struct dcm_segment *seg, const struct dcm_table *table, uint32_t self)
{
	uint32_t slots = dcm_quota_slots(seg, table), held = 0;
	const struct dcm_process *me = dcm_process_at(seg, self);
	uint32_t uid;

	if (slots >= table->count || me == NULL || in_use(table) <= slots)
		return false;
	uid = dcm_load(&me->uid, relaxed);
	for (uint32_t i = 0; i < table->count && held <= slots; i++) {
		/* seq: of two that claim at once, one at least sees both */
		uint64_t word = dcm_load(dcm_slot_word(table, i), seq);
		const struct dcm_process *holder =
			dcm_process_at(seg, holder_of(seg, table, i, word));

		held += dcm_word_state(word) != DCM_FREE && holder != NULL &&
			dcm_load(&holder->uid, relaxed) == uid;
	}
	return held > slots;
}

bool dcm_quota_claim(const struct dcm_segment *seg, const struct dcm_table *table, uint32_t self,
		     struct dcm_ref *out)
{
	if (!dcm_slot_claim(table, self, out))
		return false;
	if (!dcm_quota_exceeded(seg, table, self))
		return true;
	dcm_slot_yield(table, *out);
	return false;
}
