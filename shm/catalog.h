/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * catalog - where the endpoints of an interface are, and where those of one name of it
 *
 * Two indices of the same form, by a key each: an interface's hash, or that and a name's. Endpoint
 * slots come in regions of DCM_REGION. For each region there is a row of bits (shm/index.h) for
 * each bucket, and for each kind, which is a bucket of as many as there are rows in all, a row of
 * bits that says in which regions any of that kind were. So a walk looks at the few rows of those
 * regions, and meets about as many that it does not want whatever the size of the table.
 *
 * It stays so because a slot is claimed in the home region of its interface, and elsewhere only when
 * that is full. Bits of regions are never cleared: like a slot's own bit, a clear one is the truth
 * for everything visible, and a set one means: look there.
 */
#ifndef DCM_SHM_CATALOG_H
#define DCM_SHM_CATALOG_H

#include "shm/index.h"

/* dcm_catalog_key() - for by_name; that of by_type is the interface's hash itself */
static inline uint64_t dcm_catalog_key(uint64_t type_hash, uint64_t name_hash)
{
	return type_hash + name_hash * 0x9e3779b97f4a7c15ull;
}

/* dcm_catalog_row() - the bits of the slots of @region, the first of which is its first */
static inline dcm_atomic64 *dcm_catalog_row(const struct dcm_segment *seg,
					    const struct dcm_catalog *catalog, uint32_t region,
					    uint32_t bucket)
{
	uint64_t row = (uint64_t)(region % seg->regions) * DCM_BUCKETS + bucket % DCM_BUCKETS;

	return catalog->rows + seg->region_row * row;
}

/* dcm_catalog_regions() - a bit for each region in which any of the kind were */
static inline dcm_atomic64 *dcm_catalog_regions(const struct dcm_segment *seg,
						const struct dcm_catalog *catalog, uint64_t key)
{
	return catalog->regions + seg->regions_row * (key % (seg->regions * (uint64_t)DCM_BUCKETS));
}

/* dcm_catalog_home() - the first slot of the region in which one for this interface is claimed */
static inline uint32_t dcm_catalog_home(const struct dcm_segment *seg, uint64_t type_hash)
{
	return (uint32_t)(type_hash / DCM_BUCKETS % seg->regions) * DCM_REGION;
}

/* dcm_catalog_slots() - how many there are in a region */
static inline uint32_t dcm_catalog_slots(const struct dcm_segment *seg, uint32_t region)
{
	uint32_t behind = seg->endpoint.count - region * DCM_REGION;

	return behind < DCM_REGION ? behind : DCM_REGION;
}

/*
 * dcm_catalog_list()   - by the owner of an endpoint slot before it is visible
 * dcm_catalog_unlist() - by its owner when it is not any more, before it is free
 */
void dcm_catalog_list(const struct dcm_segment *seg, uint32_t slot, uint64_t type_hash,
		      uint64_t name_hash);
void dcm_catalog_unlist(const struct dcm_segment *seg, uint32_t slot, uint64_t type_hash,
			uint64_t name_hash);

/*
 * dcm_catalog_next() - the next slot at or behind *@cursor that may hold what is wanted
 * @name_hash: 0: any name
 * Return: true with *@slot set and *@cursor behind it, or false: there is none.
 */
bool dcm_catalog_next(const struct dcm_segment *seg, uint64_t type_hash, uint64_t name_hash,
		      uint32_t *cursor, uint32_t *slot);

#endif
