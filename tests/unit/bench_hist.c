/* SPDX-License-Identifier: BSD-2-Clause */
/* The benchmark's histogram: percentiles are those of the sorted samples, as near as buckets are. */
#include "bench/lib_hist.c"

#include <stdlib.h>

#include "tests/tap.h"

enum { SAMPLES = 20000 };

static const double shares[] = { 0.01, 0.5, 0.9, 0.99, 0.999, 0.9999, 1 };
static uint64_t sample[SAMPLES];

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Of every size from 0 to about 2^@bits, in multiples of @step. */
static void fill(struct hist *h, unsigned bits, uint64_t step)
{
	*h = (struct hist){ 0 };
	for (int i = 0; i < SAMPLES; i++) {
		uint64_t value = (uint64_t)rand() << 31 | (uint64_t)rand();

		value >>= 62 - (unsigned)rand() % (bits + 1);
		sample[i] = value / step * step;
		hist_add(h, sample[i]);
	}
	qsort(sample, SAMPLES, sizeof(sample[0]), by_size);
}

static void check(const struct hist *h, double step, const char *what)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		size_t rank = (size_t)(shares[i] * SAMPLES + 1 - 1e-6);
		double exact = (double)sample[rank - 1], seen = hist_at(h, shares[i], step);
		double off = seen > exact ? seen - exact : exact - seen;

		ok(off <= exact / HIST_SUB + step, "%s: %g: %g is about %g", what, shares[i], seen,
		   exact);
	}
	for (int i = 0; i < SAMPLES; i++)
		sum += sample[i];
	ok(h->sum == sum && h->count == SAMPLES && h->max == sample[SAMPLES - 1],
	   "%s: number, sum and greatest", what);
}

static void test_buckets(void)
{
	double middle, width, end = 0;
	size_t i = 0;

	for (; i < HIST_BUCKETS; i++) {
		hist_bucket(i, &middle, &width);
		if (middle - (width - 1) / 2 != end ||
		    (end >= 2 * HIST_SUB && width > end / HIST_SUB))
			break;
		end += width;
	}
	ok(i == HIST_BUCKETS, "buckets lie side by side, and none is too wide");
}

static void test_join(void)
{
	static struct hist both, one;

	fill(&both, 40, 1);
	for (int i = 0; i < SAMPLES; i++)
		hist_add(&one, sample[i]);
	hist_join(&both, &one);
	ok(both.count == 2 * SAMPLES && both.sum == 2 * one.sum && both.max == one.max,
	   "two are joined");
	ok(hist_at(&both, 0.5, 1) == hist_at(&one, 0.5, 1), "and the percentiles of twice the same "
							    "are the same");
}

int main(void)
{
	static struct hist h;

	plan_lazy();
	srand((unsigned)tap_seed());
	test_buckets();
	fill(&h, 62, 1);
	check(&h, 1, "of all sizes");
	fill(&h, 12, 26);
	check(&h, 26, "by a clock that moves in steps");
	test_join();
	ok(hist_at(&(struct hist){ 0 }, 0.5, 1) == 0, "of nothing, nothing");
	return 0;
}
