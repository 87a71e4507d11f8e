/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * index - which slots may hold something of a bucket: a bitmap, a hint, a bounded walk
 *
 * A bit is set by the slot's owner before the slot becomes visible and cleared by its owner before
 * the slot is free, so a clear bit is the truth for everything visible, and a set bit means: look.
 */
#ifndef DCM_SHM_INDEX_H
#define DCM_SHM_INDEX_H

#include "shm/segment.h"

static inline dcm_atomic64 *dcm_index_row(dcm_atomic64 *index, uint64_t row_words, uint32_t bucket)
{
	return index + row_words * (bucket % DCM_BUCKETS);
}

static inline void dcm_index_set(dcm_atomic64 *row, uint32_t slot)
{
	dcm_or(&row[slot / 64], 1ull << slot % 64);
}

static inline void dcm_index_clear(dcm_atomic64 *row, uint32_t slot)
{
	dcm_and(&row[slot / 64], ~(1ull << slot % 64));
}

/*
 * dcm_index_next() - the first set bit at or behind *@cursor
 * Return: true with *@slot set and *@cursor behind it, or false: no more below @slots.
 */
static inline bool dcm_index_next(const dcm_atomic64 *row, uint32_t slots, uint32_t *cursor,
				  uint32_t *slot)
{
	while (*cursor < slots) {
		/* seq: this look comes after the caller's store (R2, C2, D2). */
		uint64_t bits = dcm_load(&row[*cursor / 64], seq) & ~0ull << *cursor % 64;

		if (bits != 0) {
			*slot = *cursor / 64 * 64 + (uint32_t)__builtin_ctzll(bits);
			*cursor = *slot + 1;
			return DCM_ORDER(bit_in_table, *slot < slots, true);
		}
		*cursor = (*cursor / 64 + 1) * 64;
	}
	return false;
}

#endif
