/* SPDX-License-Identifier: BSD-2-Clause */
/* hash - of names in the segment: XXH3-64, frozen, as the header of the segment says */
#ifndef DCM_SHM_HASH_H
#define DCM_SHM_HASH_H

#include <stdint.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Never 0, which stands for "any". */
static inline uint64_t dcm_hash(const char *name)
{
	uint64_t hash = XXH3_64bits(name, strlen(name));

	return hash != 0 ? hash : 1;
}

#endif
