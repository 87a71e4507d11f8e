/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hist - times counted in buckets, none of which is wider than 1/128 of what it holds
 *
 * Adding costs two or three nanoseconds and no memory, and what is put away can be added up. The
 * buckets are those of HdrHistogram, which Debian 12 does not have.
 */
#ifndef DCM_BENCH_HIST_H
#define DCM_BENCH_HIST_H

#include <stddef.h>
#include <stdint.h>

enum { HIST_SUB = 128, HIST_BUCKETS = 2 * HIST_SUB + 56 * HIST_SUB };

struct hist {
	uint64_t count, sum, max;
	uint64_t bucket[HIST_BUCKETS];
};

void hist_add(struct hist *h, uint64_t value);
void hist_join(struct hist *h, const struct hist *other);

/*
 * hist_at() - the value that @share of all do not exceed
 * @step: of the clock; values are taken to lie evenly around what it showed, so that a percentile
 *        does not jump by the clock's step; at least 1
 */
double hist_at(const struct hist *h, double share, double step);

/* hist_bucket() - the middle of bucket @i, and its width */
void hist_bucket(size_t i, double *middle, double *width);

#endif
