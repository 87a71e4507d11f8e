/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hash - of names: DCM_HASH_XXH3, the algorithm that the segment's header names
 *
 * Part of the layout: processes of different builds find each other by it.
 */
#ifndef DCM_SHM_HASH_H
#define DCM_SHM_HASH_H

#include <stdint.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* dcm_hash() - XXH3-64 of the bytes before the zero; never 0, which stands for "any" */
static inline uint64_t dcm_hash(const char *name)
{
	uint64_t hash = XXH3_64bits(name, strlen(name));

	return hash != 0 ? hash : 1;
}

#endif
