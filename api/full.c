/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/full.h"

#include <unistd.h>

#include "api/retcode.h"
#include "shm/quota.h"

static uint32_t in_use(const struct dcm_table *table)
{
	uint32_t slots = 0;

	for (uint32_t i = 0; i < table->count; i++)
		slots += dcm_word_state(dcm_load(dcm_slot_word(table, i), relaxed)) != DCM_FREE;
	return slots;
}

Retcode dcm_fail_full(const struct dcm_segment *seg, const struct dcm_table *table,
		      const char *what, const char *setting)
{
	/* It may have emptied since; a share that is all of the table refuses nobody. */
	if (dcm_quota_slots(seg, table) < table->count && in_use(table) < table->count)
		return dcm_fail(
			rcQuotaExceeded,
			"user %u holds its share, %u of the %u %s of the fabric; the share is "
			"set by DCM_USER_SHARE, %u %% here, when the fabric is made",
			geteuid(), dcm_quota_slots(seg, table), table->count, what,
			seg->user_share);
	return dcm_fail(
		rcQuotaExceeded,
		"all %u %s of the fabric are in use; the limit is set by %s when the fabric is "
		"made",
		table->count, what, setting);
}
