/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * group_known - what one group subscription sees: a set for each of its interfaces (api/known.h),
 * fed from one ring of hints, and what follows from them together (api/match.h)
 *
 * Not for two threads at once: the caller holds the subscription's lock.
 */
#ifndef DCM_API_GROUP_KNOWN_H
#define DCM_API_GROUP_KNOWN_H

#include "api/match.h"

struct dcm_group_known;

/*
 * dcm_group_known_create() - empty
 * @hashes: of the interfaces @types; @server: null for any; @sid: 0 for any
 * Return: null: out of memory.
 */
struct dcm_group_known *dcm_group_known_create(const char *const *types, const uint64_t *hashes,
					       size_t count, const char *server, uint64_t sid);
void dcm_group_known_destroy(struct dcm_group_known *known);

struct dcm_group_notice {
	bool published;				   /* else withdrawn */
	const struct dcm_notice *const *endpoints; /* one for each interface, in their order */
};

/*
 * dcm_group_known_next() - what is to be told next of @subscription; it stays so until it was told
 * A group is PUBLISHED only if there was a moment at which all its endpoints were live.
 * Return: 0 with *@out set, valid until the next dcm_group_known_...(); -EAGAIN nothing now;
 * -ENOMEM, then nothing is lost.
 */
int dcm_group_known_next(struct dcm_group_known *known, const struct dcm_segment *seg,
			 struct dcm_ref subscription, struct dcm_group_notice *out);
/*
 * dcm_group_known_told() - what dcm_group_known_next() has just given was told
 * Return: true: there is something new to tell of that server.
 */
bool dcm_group_known_told(struct dcm_group_known *known);

/*
 * dcm_group_known_look() - is there anything to tell; all hints that are there are followed
 * @made: set to how often there came to be: it differs when there is something new
 */
bool dcm_group_known_look(struct dcm_group_known *known, const struct dcm_segment *seg,
			  struct dcm_ref subscription, uint64_t *made);

#endif
