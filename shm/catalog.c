/* SPDX-License-Identifier: BSD-2-Clause */
#include "shm/catalog.h"

static bool is_set(const dcm_atomic64 *bits, uint32_t at)
{
	/* seq: what others have set before counts as set by the caller (R1). */
	return (dcm_load(&bits[at / 64], seq) >> at % 64 & 1) != 0;
}

static void list(const struct dcm_segment *seg, const struct dcm_catalog *catalog, uint64_t key,
		 uint32_t slot)
{
	uint32_t region = slot / DCM_REGION;
	dcm_atomic64 *regions = dcm_catalog_regions(seg, catalog, key);

	/* Dying in between leaves a region to be looked at in vain. */
	if (!is_set(regions, region))
		DCM_LINE(region_is_known) dcm_index_set(regions, region);
	dcm_index_set(dcm_catalog_row(seg, catalog, region, dcm_bucket_of(key)), slot % DCM_REGION);
}

void dcm_catalog_list(const struct dcm_segment *seg, uint32_t slot, uint64_t type_hash,
		      uint64_t name_hash)
{
	list(seg, &seg->by_type, type_hash, slot);
	list(seg, &seg->by_name, dcm_catalog_key(type_hash, name_hash), slot);
}

static void unlist(const struct dcm_segment *seg, const struct dcm_catalog *catalog, uint64_t key,
		   uint32_t slot)
{
	dcm_index_clear(dcm_catalog_row(seg, catalog, slot / DCM_REGION, dcm_bucket_of(key)),
			slot % DCM_REGION);
}

void dcm_catalog_unlist(const struct dcm_segment *seg, uint32_t slot, uint64_t type_hash,
			uint64_t name_hash)
{
	unlist(seg, &seg->by_type, type_hash, slot);
	unlist(seg, &seg->by_name, dcm_catalog_key(type_hash, name_hash), slot);
}

bool dcm_catalog_next(const struct dcm_segment *seg, uint64_t type_hash, uint64_t name_hash,
		      uint32_t *cursor, uint32_t *slot)
{
	const struct dcm_catalog *catalog = name_hash == 0 ? &seg->by_type : &seg->by_name;
	uint64_t key = name_hash == 0 ? type_hash : dcm_catalog_key(type_hash, name_hash);
	const dcm_atomic64 *regions = dcm_catalog_regions(seg, catalog, key);
	uint32_t next = *cursor / DCM_REGION, at = *cursor % DCM_REGION, region;

	while (dcm_index_next(regions, seg->regions, &next, &region)) {
		uint32_t first = region * DCM_REGION;

		if (region != *cursor / DCM_REGION)
			at = 0;
		if (dcm_index_next(dcm_catalog_row(seg, catalog, region, dcm_bucket_of(key)),
				   dcm_catalog_slots(seg, region), &at, slot)) {
			*slot += first;
			*cursor = *slot + 1;
			return true;
		}
	}
	return false;
}
