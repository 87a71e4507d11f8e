/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * target - where a request in POSTED is: parked, or sent to one use of an endpoint slot
 *
 *	target = 1 << 63 | generation of the request, or endpoint index:19 | endpoint generation:44
 */
#ifndef DCM_SHM_TARGET_H
#define DCM_SHM_TARGET_H

#include "shm/index.h"
#include "shm/slot.h"

#define DCM_TARGET_PARKED (1ull << 63)

static inline uint64_t dcm_target_parked(struct dcm_ref request)
{
	return DCM_TARGET_PARKED | request.generation;
}

static inline uint64_t dcm_target_sent(struct dcm_ref endpoint)
{
	return (uint64_t)endpoint.index << DCM_GENERATION_BITS | endpoint.generation;
}

static inline bool dcm_target_is_sent(uint64_t target)
{
	return (target & DCM_TARGET_PARKED) == 0 && target != 0;
}

static inline struct dcm_ref dcm_target_endpoint(uint64_t target)
{
	return (struct dcm_ref){ (uint32_t)(target >> DCM_GENERATION_BITS),
				 target & ((1ull << DCM_GENERATION_BITS) - 1) };
}

/* The index row of requests for an interface. */
static inline dcm_atomic64 *dcm_request_row(const struct dcm_segment *seg, uint64_t type_hash)
{
	return dcm_index_row(seg->connection_index, seg->connection_row, dcm_bucket_of(type_hash));
}

#endif
