/* SPDX-License-Identifier: BSD-2-Clause */
/* bits - a small set of what is free, in private memory, a bit for each; the lowest is taken first */
#ifndef DCM_API_BITS_H
#define DCM_API_BITS_H

#include <stdbool.h>
#include <stdint.h>

static inline bool dcm_bits_has(const uint64_t *bits, uint32_t bit)
{
	return (bits[bit / 64] >> bit % 64 & 1) != 0;
}

static inline void dcm_bits_give(uint64_t *bits, uint32_t bit)
{
	bits[bit / 64] |= 1ull << bit % 64;
}

/* dcm_bits_take() - the lowest, now taken; -1: there is none */
static inline int dcm_bits_take(uint64_t *bits, unsigned words)
{
	for (unsigned i = 0; i < words; i++)
		if (bits[i] != 0) {
			int bit = __builtin_ctzll(bits[i]);

			bits[i] &= bits[i] - 1;
			return (int)(i * 64) + bit;
		}
	return -1;
}

/* dcm_bits_take_at() - that one; false: it is not free */
static inline bool dcm_bits_take_at(uint64_t *bits, uint32_t bit)
{
	bool free = dcm_bits_has(bits, bit);

	bits[bit / 64] &= ~(1ull << bit % 64);
	return free;
}

#endif
