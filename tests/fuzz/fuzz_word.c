/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/fuzz/fuzz_word.h"

#include "shm/catalog.h"
#include "shm/index.h"

enum { TABLES = 5 };

static uint64_t *word_at(void *at, uint64_t offset)
{
	return (uint64_t *)(void *)((unsigned char *)at + offset);
}

uint64_t *fuzz_word(struct fuzz_input *in, const struct dcm_segment *seg, const uint64_t hashes[2])
{
	const struct dcm_table *tables[TABLES] = { &seg->process, &seg->endpoint,
						   &seg->subscription, &seg->connection,
						   &seg->listener };
	unsigned kind = fuzz_byte(in);
	const struct dcm_table *t = tables[kind % TABLES];
	uint32_t slot = fuzz_byte(in) % t->count;
	dcm_atomic64 *const index[] = { seg->by_type.rows, seg->subscription_index,
					seg->connection_index };

	if (kind >= 0xf0)
		return word_at(dcm_slot(&seg->gift, slot % seg->gift.count), kind % 4 * 8);
	switch (kind / TABLES % 8) {
	case 0: /* the state word */
		return word_at(dcm_slot(t, slot), 0);
	case 1:
		return word_at(t->used, 0);
	case 2: /* a row of an index; all have the same length here */
		return word_at(dcm_index_row(index[slot % 3], seg->region_row,
					     dcm_bucket_of(hashes[kind & 1])),
			       0);
	case 3: /* a name */
		return word_at(dcm_endpoint_names_at(seg, slot % seg->endpoint.count),
			       fuzz_byte(in) * 8 % sizeof(struct dcm_endpoint_names));
	case 4:
		return word_at(seg->base, fuzz_bytes(in, 2) * 8 % seg->bytes);
	default:
		return word_at(dcm_slot(t, slot), fuzz_byte(in) * 8 % t->stride);
	}
}
