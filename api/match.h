/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * match - which servers have an endpoint of each interface of a group, and what to tell of that
 *
 * It is fed with the notices of the group's interfaces, one at a time, and says which server is
 * complete and was not told of, or was told of and has lost one of those endpoints. What it says is
 * the difference between what there is and what was told, so PUBLISHED and UNPUBLISHED of one
 * server (by SID) alternate, whatever notices come, and a group that came and went untold is not
 * told of. Private memory, sized by matches.
 *
 * Of several endpoints of one interface at one server the group has the one that came first. When
 * that goes, so does the group, and comes again with the next.
 *
 * Not for two threads at once.
 */
#ifndef DCM_API_MATCH_H
#define DCM_API_MATCH_H

#include "api/known.h"

struct dcm_match;

/* dcm_match_create() - for @count interfaces, at least 1; null: out of memory */
struct dcm_match *dcm_match_create(size_t count);
void dcm_match_destroy(struct dcm_match *match);

/*
 * dcm_match_put() - what became of an endpoint of interface @which
 * @notice: taken over, unless the answer is false
 * Return: true, or false: out of memory. A withdrawal always finds room.
 */
bool dcm_match_put(struct dcm_match *match, size_t which, struct dcm_notice *notice);

/*
 * dcm_match_next() - what is to be told next
 * Servers are told of in the order in which they came to be so.
 * Return: null: nothing; else the endpoints of the group, in the order of the interfaces, as they
 * were told or are to be told, valid until the next dcm_match_...() but this one.
 */
const struct dcm_notice *const *dcm_match_next(struct dcm_match *match, bool *published);

/* dcm_match_told() - what dcm_match_next() has just given was told */
void dcm_match_told(struct dcm_match *match);

/* dcm_match_made() - how often there came to be something to tell of a server */
uint64_t dcm_match_made(const struct dcm_match *match);

#endif
