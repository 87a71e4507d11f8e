/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * quota - no user of a shared fabric fills its tables alone
 *
 * A fabric says, from its making on, how many percent of each table one user may hold. Nothing is
 * counted that a death could leave wrong: whoever claims a slot looks, behind its claim, whose the
 * slots of that table are. Two that claim the last one at once may both be turned away; together
 * they never get more.
 *
 * A user is the number that each participant wrote into its process slot, as it is called in its
 * own user namespace. So this keeps one user's mistake from the others; who writes what he likes
 * into the segment can write there whose slot it is.
 */
#ifndef DCM_SHM_QUOTA_H
#define DCM_SHM_QUOTA_H

#include "shm/segment.h"

/* dcm_quota_slots() - how many slots of a table the processes of one user may hold; at least 1 */
uint32_t dcm_quota_slots(const struct dcm_segment *seg, const struct dcm_table *table);

/* dcm_quota_exceeded() - do the processes of @self's user hold more */
bool dcm_quota_exceeded(const struct dcm_segment *seg, const struct dcm_table *table,
			uint32_t self);

/*
 * dcm_quota_claim() - dcm_slot_claim() within the quota
 * Cost: a look at every slot in use, once those of all are more than one user's share.
 * Return: as dcm_slot_claim(); false also when @self's user holds its share.
 */
bool dcm_quota_claim(const struct dcm_segment *seg, const struct dcm_table *table, uint32_t self,
		     struct dcm_ref *out);

/* dcm_quota_claim_near() - the same, one of the @slots from @first on if one of them is free */
bool dcm_quota_claim_near(const struct dcm_segment *seg, const struct dcm_table *table,
			  uint32_t self, uint32_t first, uint32_t slots, struct dcm_ref *out);

#endif
