/* SPDX-License-Identifier: BSD-2-Clause */
/* clock - the cheapest clock that all processors share, in ticks of its own */
#ifndef DCM_BENCH_CLOCK_H
#define DCM_BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

static inline uint64_t clock_ticks(void)
{
#if defined(__x86_64__)
	/* What stands before it is done when it is read. */
	_mm_lfence();
	return __rdtsc();
#else
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
#endif
}

struct clock_is {
	double per_ns; /* ticks */
	double step;   /* of ticks, by which it moves */
	double reads;  /* ticks between two readings in a row */
};

/* clock_measure() - takes about 20 ms */
struct clock_is clock_measure(void);

#endif
