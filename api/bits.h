/* SPDX-License-Identifier: BSD-2-Clause */
/* bits - a small set of what is free, in private memory, a bit for each; the lowest is taken first */
#ifndef DCM_API_BITS_H
#define DCM_API_BITS_H

#include <stdbool.h>
#include <stdint.h>

enum { DCM_BITS_WORDS = 5, DCM_BITS_MOST = DCM_BITS_WORDS * 64 };

struct dcm_bits {
	uint32_t some; /* a bit for each word that is not 0 */
	uint64_t word[DCM_BITS_WORDS];
};

static inline void dcm_bits_give(struct dcm_bits *bits, uint32_t bit)
{
	bits->word[bit / 64] |= 1ull << bit % 64;
	bits->some |= 1u << bit / 64;
}

/* dcm_bits_fill() - all below @count are in it */
static inline void dcm_bits_fill(struct dcm_bits *bits, uint32_t count)
{
	for (uint32_t bit = 0; bit < count; bit++)
		dcm_bits_give(bits, bit);
}

static inline bool dcm_bits_has(const struct dcm_bits *bits, uint32_t bit)
{
	return (bits->word[bit / 64] >> bit % 64 & 1) != 0;
}

/* dcm_bits_take_at() - that one; false: it is not free */
static inline bool dcm_bits_take_at(struct dcm_bits *bits, uint32_t bit)
{
	bool free = dcm_bits_has(bits, bit);

	bits->word[bit / 64] &= ~(1ull << bit % 64);
	if (bits->word[bit / 64] == 0)
		bits->some &= ~(1u << bit / 64);
	return free;
}

/* dcm_bits_take() - the lowest, now taken; -1: there is none */
static inline int dcm_bits_take(struct dcm_bits *bits)
{
	uint32_t w;
	int bit;

	if (bits->some == 0)
		return -1;
	w = (uint32_t)__builtin_ctz(bits->some);
	bit = __builtin_ctzll(bits->word[w]);
	bits->word[w] &= bits->word[w] - 1;
	if (bits->word[w] == 0)
		bits->some &= bits->some - 1;
	return (int)(w * 64) + bit;
}

#endif
