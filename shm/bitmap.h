/* SPDX-License-Identifier: BSD-2-Clause */
/* bitmap - bits in private memory, singly and in runs [first, end), which are not empty */
#ifndef DCM_SHM_BITMAP_H
#define DCM_SHM_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

static inline uint64_t dcm_bitmap_words(uint64_t bits)
{
	return (bits + 63) / 64;
}

static inline bool dcm_bitmap_has(const uint64_t *map, uint64_t bit)
{
	return (map[bit / 64] >> (bit % 64) & 1) != 0;
}

static inline void dcm_bitmap_set(uint64_t *map, uint64_t bit)
{
	map[bit / 64] |= UINT64_C(1) << (bit % 64);
}

static inline void dcm_bitmap_clear(uint64_t *map, uint64_t bit)
{
	map[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
}

/* Of the bits [first, end), which is not empty, those that lie in @word. */
static inline uint64_t dcm_bitmap_part(uint64_t word, uint64_t first, uint64_t end)
{
	uint64_t part = UINT64_MAX;

	if (word == first / 64)
		part &= UINT64_MAX << (first % 64);
	if (word == (end - 1) / 64)
		part &= UINT64_MAX >> (63 - (end - 1) % 64);
	return part;
}

static inline bool dcm_bitmap_has_all(const uint64_t *map, uint64_t first, uint64_t end)
{
	for (uint64_t word = first / 64; word * 64 < end; word++)
		if ((~map[word] & dcm_bitmap_part(word, first, end)) != 0)
			return false;
	return true;
}

static inline void dcm_bitmap_set_all(uint64_t *map, uint64_t first, uint64_t end)
{
	for (uint64_t word = first / 64; word * 64 < end; word++)
		map[word] |= dcm_bitmap_part(word, first, end);
}

static inline void dcm_bitmap_clear_all(uint64_t *map, uint64_t first, uint64_t end)
{
	for (uint64_t word = first / 64; word * 64 < end; word++)
		map[word] &= ~dcm_bitmap_part(word, first, end);
}

#endif
