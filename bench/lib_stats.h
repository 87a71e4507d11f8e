/* SPDX-License-Identifier: BSD-2-Clause */
/* stats - samples of times, and their exact percentiles */
#ifndef DCM_BENCH_STATS_H
#define DCM_BENCH_STATS_H

#include <stddef.h>
#include <stdint.h>

struct samples {
	int64_t *ns;
	size_t count, room;
};

/* What is said of them, in nanoseconds. */
struct summary {
	size_t count;
	int64_t least, p50, p90, p99, max;
};

void samples_add(struct samples *s, int64_t ns);
void samples_drop(struct samples *s);

/* samples_at() - the smallest sample that @share of all do not exceed; sorts them. 0: none */
int64_t samples_at(struct samples *s, double share);
struct summary samples_sum_up(struct samples *s);

#endif
