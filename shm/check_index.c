/* SPDX-License-Identifier: BSD-2-Clause */
/* What the rows of the indices say of a slot, and the slot of them. */
#include "shm/catalog.h"
#include "shm/check.h"

static bool bit_of(const dcm_atomic64 *bits, uint32_t index)
{
	return (dcm_load(&bits[index / 64], seq) >> index % 64 & 1) != 0;
}

uint32_t dcm_check_buckets(enum dcm_check_table table)
{
	switch (table) {
	case DCM_CHECK_ENDPOINT:
		return 2 * DCM_BUCKETS;
	case DCM_CHECK_SUBSCRIPTION:
	case DCM_CHECK_CONNECTION:
		return DCM_BUCKETS;
	default:
		return 0;
	}
}

static const struct dcm_catalog *catalog_of(const struct dcm_segment *seg, uint32_t bucket)
{
	return bucket < DCM_BUCKETS ? &seg->by_type : &seg->by_name;
}

/* One row, its width in whole words, and the slot of its first bit. */
struct row {
	const dcm_atomic64 *bits;
	uint32_t width, first;
};

static uint32_t whole_words(uint32_t bits)
{
	return dcm_bitmap_words(bits) * 64;
}

/* The row of that bucket in which @slot has its bit. */
static struct row row_of(const struct dcm_segment *seg, enum dcm_check_table table, uint32_t bucket,
			 uint32_t slot)
{
	uint32_t region = slot / DCM_REGION;

	switch (table) {
	case DCM_CHECK_ENDPOINT:
		return (struct row){
			dcm_catalog_row(seg, catalog_of(seg, bucket), region, bucket),
			whole_words(seg->regions == 1 ? seg->endpoint.count : DCM_REGION),
			region * DCM_REGION,
		};
	case DCM_CHECK_SUBSCRIPTION:
		return (struct row){ dcm_index_row(seg->subscription_index, seg->subscription_row,
						   bucket),
				     whole_words(seg->subscription.count), 0 };
	default:
		return (struct row){ dcm_index_row(seg->connection_index, seg->connection_row,
						   bucket),
				     whole_words(seg->connection.count), 0 };
	}
}

bool dcm_check_next_bit(const struct dcm_segment *seg, enum dcm_check_table table, uint32_t bucket,
			uint32_t *cursor, uint32_t *slot)
{
	uint32_t regions = table == DCM_CHECK_ENDPOINT ? seg->regions : 1;

	for (uint32_t i = table == DCM_CHECK_ENDPOINT ? *cursor / DCM_REGION : 0; i < regions;
	     i++) {
		struct row row = row_of(seg, table, bucket, i * DCM_REGION);
		uint32_t at = *cursor > row.first ? *cursor - row.first : 0;

		if (!dcm_index_next(row.bits, row.width, &at, slot))
			continue;
		*slot += row.first;
		*cursor = *slot + 1;
		return true;
	}
	return false;
}

bool dcm_check_bit(const struct dcm_segment *seg, enum dcm_check_table table, uint32_t bucket,
		   uint32_t slot)
{
	struct row row = row_of(seg, table, bucket, slot);

	return bit_of(row.bits, slot - row.first);
}

/* By its interface, or by that and its name. */
static uint64_t key_of(const struct dcm_segment *seg, enum dcm_check_table table, uint32_t slot,
		       uint32_t bucket)
{
	const struct dcm_endpoint *e;
	uint64_t type_hash;

	if (table != DCM_CHECK_ENDPOINT)
		return dcm_load(&dcm_connection_at(seg, slot)->type_hash, acquire);
	e = dcm_endpoint_at(seg, slot);
	type_hash = dcm_load(&e->type_hash, acquire);
	return bucket < DCM_BUCKETS ? type_hash
				    : dcm_catalog_key(type_hash, dcm_load(&e->name_hash, acquire));
}

bool dcm_check_belongs(const struct dcm_segment *seg, enum dcm_check_table table, uint32_t bucket,
		       uint32_t slot)
{
	return table == DCM_CHECK_SUBSCRIPTION
		       ? bit_of(dcm_subscription_at(seg, slot)->buckets, bucket)
		       : dcm_bucket_of(key_of(seg, table, slot, bucket)) == bucket % DCM_BUCKETS;
}

/* An endpoint, in both catalogs; and that there is something in its region is known. */
static bool is_catalogued(const struct dcm_segment *seg, uint32_t slot)
{
	for (uint32_t first = 0; first < 2 * DCM_BUCKETS; first += DCM_BUCKETS) {
		uint64_t key = key_of(seg, DCM_CHECK_ENDPOINT, slot, first);

		if (!dcm_check_bit(seg, DCM_CHECK_ENDPOINT, first + dcm_bucket_of(key), slot) ||
		    !bit_of(dcm_catalog_regions(seg, catalog_of(seg, first), key),
			    slot / DCM_REGION))
			return false;
	}
	return true;
}

bool dcm_check_listed(const struct dcm_segment *seg, enum dcm_check_table table, uint32_t slot)
{
	uint32_t cursor = 0, bucket;

	if (table == DCM_CHECK_ENDPOINT)
		return is_catalogued(seg, slot);
	if (table == DCM_CHECK_CONNECTION)
		return dcm_check_bit(seg, table, dcm_bucket_of(key_of(seg, table, slot, 0)), slot);
	while (dcm_index_next(dcm_subscription_at(seg, slot)->buckets, DCM_BUCKETS, &cursor,
			      &bucket))
		if (!dcm_check_bit(seg, table, bucket, slot))
			return false;
	return true;
}
