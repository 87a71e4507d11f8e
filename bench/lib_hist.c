/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/lib_hist.h"

static size_t index_of(uint64_t value)
{
	unsigned shift;

	if (value < 2 * HIST_SUB)
		return (size_t)value;
	shift = 63 - (unsigned)__builtin_clzll(value) - 7;
	return (size_t)(shift * HIST_SUB + (value >> shift));
}

void hist_add(struct hist *h, uint64_t value)
{
	h->count++;
	h->sum += value;
	if (value > h->max)
		h->max = value;
	h->bucket[index_of(value)]++;
}

void hist_join(struct hist *h, const struct hist *other)
{
	h->count += other->count;
	h->sum += other->sum;
	if (other->max > h->max)
		h->max = other->max;
	for (size_t i = 0; i < HIST_BUCKETS; i++)
		h->bucket[i] += other->bucket[i];
}

void hist_bucket(size_t i, double *middle, double *width)
{
	unsigned shift = i < 2 * HIST_SUB ? 0 : (unsigned)(i / HIST_SUB) - 1;
	uint64_t low = shift == 0 ? i : (uint64_t)(i % HIST_SUB + HIST_SUB) << shift;

	*width = (double)(UINT64_C(1) << shift);
	*middle = (double)low + (*width - 1) / 2;
}

double hist_at(const struct hist *h, double share, double step)
{
	double wanted = share * (double)h->count, before = 0, middle, width, value;

	for (size_t i = 0; i < HIST_BUCKETS; i++) {
		double here = (double)h->bucket[i];

		if (here == 0 || before + here < wanted) {
			before += here;
			continue;
		}
		hist_bucket(i, &middle, &width);
		if (width < step)
			width = step;
		value = middle + ((wanted - before) / here - 0.5) * width;
		return value < 0 ? 0 : value > (double)h->max ? (double)h->max : value;
	}
	return (double)h->max;
}
