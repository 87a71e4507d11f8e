/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "bench/lib_clock.h"

#include "bench/lib_child.h"

enum { READS = 20000, DIFFERENCES = 512, LONG_NS = 20 * 1000 * 1000 };

/* The pair of readings that lies closest together of some: an interruption is not in it. */
static void both(uint64_t *ticks, int64_t *ns)
{
	uint64_t best = UINT64_MAX;

	*ticks = 0;
	*ns = 0;
	for (int i = 0; i < 50; i++) {
		uint64_t before = clock_ticks();
		int64_t now = bench_now();
		uint64_t after = clock_ticks();

		if (after - before < best) {
			best = after - before;
			*ticks = before + best / 2;
			*ns = now;
		}
	}
}

/*
 * What it moves by: some clocks show multiples of a step. Differences of two readings then lie in
 * clumps, and the step is what most clumps are apart.
 */
static double step_of(const uint32_t *seen)
{
	unsigned apart[DIFFERENCES] = { 0 }, best = 1, last = 0;

	for (unsigned d = 1; d < DIFFERENCES; d++) {
		if (seen[d] < READS / 1000)
			continue;
		/* A step that is no whole number of ticks makes clumps of neighbours. */
		if (last != 0 && d - last > 2 && ++apart[d - last] >= apart[best])
			best = d - last;
		last = d;
	}
	return best;
}

struct clock_is clock_measure(void)
{
	uint32_t seen[DIFFERENCES] = { 0 };
	uint64_t began, ended, first, last;
	struct clock_is clock;
	int64_t began_ns, ended_ns;

	both(&began, &began_ns);
	first = last = clock_ticks();
	for (int i = 0; i < READS; i++) {
		uint64_t now = clock_ticks();

		if (now - last < DIFFERENCES)
			seen[now - last]++;
		last = now;
	}
	clock.reads = (double)(last - first) / READS;
	clock.step = step_of(seen);
	while (bench_now() - began_ns < LONG_NS)
		;
	both(&ended, &ended_ns);
	clock.per_ns = (double)(ended - began) / (double)(ended_ns - began_ns);
	return clock;
}
