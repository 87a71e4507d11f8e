/* SPDX-License-Identifier: BSD-2-Clause */
#include "shm/quota.h"

#include "shm/index.h"
#include "shm/process.h"

/*
 * Of this process, for each table: where it claimed a slot last, if any was as good. A hint: all
 * that hangs on it is how many words of the bitmap are looked at before a free slot is found.
 */
static _Atomic uint32_t claimed_at[4];

static _Atomic uint32_t *hint_of(const struct dcm_segment *seg, const struct dcm_table *table)
{
	const struct dcm_table *const tables[] = { &seg->endpoint, &seg->subscription,
						   &seg->connection };
	size_t i = 0;

	while (i < sizeof tables / sizeof tables[0] && tables[i] != table)
		i++;
	return &claimed_at[i];
}

uint32_t dcm_quota_slots(const struct dcm_segment *seg, const struct dcm_table *table)
{
	uint64_t slots = (uint64_t)table->count * seg->user_share / 100;

	return slots == 0 ? 1 : (uint32_t)slots;
}

static uint32_t in_use(const struct dcm_table *table)
{
	uint32_t bits = 0;

	for (uint32_t i = 0; i < dcm_bitmap_words(table->count); i++)
		/* seq: behind the caller's own bit; of two that claim at once, the later sees both */
		bits += (uint32_t)__builtin_popcountll(dcm_load(&table->used[i], seq));
	return bits;
}

/*
 * Does a slot that is not free count as @uid's. A connection is its client's, whoever must take the
 * next step of it, and whoever has the client's process slot by now. A process that is dead is
 * nobody's: who attaches next has it reaped, and must not be kept from that by it.
 */
static bool is_held_by(const struct dcm_segment *seg, const struct dcm_table *table, uint32_t index,
		       uint64_t word, uint32_t uid)
{
	uint32_t state = dcm_word_state(word);
	const struct dcm_process *owner = dcm_process_at(seg, dcm_word_owner(word));

	if (table == &seg->connection && state != DCM_CLAIMED)
		return dcm_load(&dcm_connection_at(seg, index)->client_uid, relaxed) == uid;
	if (table == &seg->process && state != DCM_CLAIMED && !dcm_process_alive(seg, index))
		return false;
	return owner != NULL && dcm_load(&owner->uid, relaxed) == uid;
}

bool dcm_quota_exceeded(const struct dcm_segment *seg, const struct dcm_table *table, uint32_t self)
{
	uint32_t slots = dcm_quota_slots(seg, table), held = 0;
	const struct dcm_process *me = dcm_process_at(seg, self);
	uint32_t uid, cursor = 0, i;

	if (slots >= table->count || me == NULL || in_use(table) <= slots)
		return false;
	uid = dcm_load(&me->uid, relaxed);
	/* seq: of two that claim at once, one at least sees both bits. */
	while (held <= slots && dcm_index_next(table->used, table->count, &cursor, &i)) {
		uint64_t word = dcm_load(dcm_slot_word(table, i), seq);

		held += dcm_word_state(word) != DCM_FREE && is_held_by(seg, table, i, word, uid);
	}
	return held > slots;
}

bool dcm_quota_claim_near(const struct dcm_segment *seg, const struct dcm_table *table,
			  uint32_t self, uint32_t first, uint32_t slots, struct dcm_ref *out)
{
	_Atomic uint32_t *hint = hint_of(seg, table);

	if (!dcm_slot_claim_within(table, self, first, slots, out)) {
		uint32_t from = atomic_load_explicit(hint, memory_order_relaxed);

		if (!dcm_slot_claim_from(table, self, from, out))
			return false;
		atomic_store_explicit(hint, out->index, memory_order_relaxed);
	}
	if (!dcm_quota_exceeded(seg, table, self))
		return true;
	dcm_slot_yield(table, *out);
	return false;
}

bool dcm_quota_claim(const struct dcm_segment *seg, const struct dcm_table *table, uint32_t self,
		     struct dcm_ref *out)
{
	return dcm_quota_claim_near(seg, table, self, 0, 0, out);
}
