/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/lib_stats.h"

#include <stdlib.h>

#include "bench/lib_child.h"

void samples_add(struct samples *s, int64_t ns)
{
	if (s->count == s->room) {
		s->room = s->room == 0 ? 1024 : s->room * 2;
		s->ns = realloc(s->ns, s->room * sizeof(s->ns[0]));
		if (s->ns == NULL)
			bench_fail("no memory for samples");
	}
	s->ns[s->count++] = ns;
}

void samples_drop(struct samples *s)
{
	free(s->ns);
	*s = (struct samples){ 0 };
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

int64_t samples_at(struct samples *s, double share)
{
	size_t rank;

	if (s->count == 0)
		return 0;
	qsort(s->ns, s->count, sizeof(s->ns[0]), compare);
	rank = (size_t)(share * (double)s->count);
	if ((double)rank < share * (double)s->count)
		rank++;
	return s->ns[rank == 0 ? 0 : rank - 1];
}

struct summary samples_sum_up(struct samples *s)
{
	return (struct summary){ .count = s->count,
				 .least = samples_at(s, 0),
				 .p50 = samples_at(s, 0.5),
				 .p90 = samples_at(s, 0.9),
				 .p99 = samples_at(s, 0.99),
				 .max = samples_at(s, 1.0) };
}
