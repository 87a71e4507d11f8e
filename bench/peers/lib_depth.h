/* SPDX-License-Identifier: BSD-2-Clause */
/* depth - how many messages a queue of a peer's holds, where it can be told: as the bare ring */
#ifndef DCM_BENCH_DEPTH_H
#define DCM_BENCH_DEPTH_H

#include "bench/peers/peer.h"

enum { DEPTH_LEAST = 8, DEPTH_MOST = 1024, DEPTH_BYTES = 4 << 20 };

/* depth_of() - a power of two; @each: bytes that one message takes */
static inline uint32_t depth_of(const struct peer_job *job, size_t each)
{
	size_t bytes = job->footprint == 0 ? (size_t)DEPTH_BYTES : job->footprint;
	uint32_t count = DEPTH_LEAST;

	while (count < DEPTH_MOST && 2 * count * each <= bytes)
		count *= 2;
	return count;
}

#endif
