/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/group_known.h"

#include <errno.h>
#include <stdlib.h>

struct dcm_group_known {
	size_t count;
	struct dcm_match *match;
	struct dcm_known *sets[]; /* @count of them */
};

struct dcm_group_known *dcm_group_known_create(const char *const *types, const uint64_t *hashes,
					       size_t count, const char *server, uint64_t sid)
{
	struct dcm_group_known *known =
		calloc(1, sizeof *known + count * sizeof(struct dcm_known *));
	bool whole = known != NULL;

	if (known == NULL)
		return NULL;
	known->count = count;
	known->match = dcm_match_create(count);
	for (size_t i = 0; i < count; i++) {
		known->sets[i] = dcm_known_create(hashes[i], types[i], NULL, server, sid);
		whole = whole && known->sets[i] != NULL;
	}
	if (whole && known->match != NULL)
		return known;
	dcm_group_known_destroy(known);
	return NULL;
}

void dcm_group_known_destroy(struct dcm_group_known *known)
{
	for (size_t i = 0; i < known->count; i++)
		if (known->sets[i] != NULL)
			dcm_known_destroy(known->sets[i]);
	if (known->match != NULL)
		dcm_match_destroy(known->match);
	free(known);
}

/* What the sets have found out, to the match. */
static int feed(struct dcm_group_known *known)
{
	struct dcm_notice *notice;

	for (size_t i = 0; i < known->count; i++)
		while ((notice = dcm_known_take(known->sets[i])) != NULL)
			if (!dcm_match_put(known->match, i, notice)) {
				dcm_known_unread(known->sets[i], notice);
				return -ENOMEM;
			}
	return 0;
}

static int look_at_one(struct dcm_group_known *known, const struct dcm_segment *seg, uint32_t index)
{
	int result = 0;

	for (size_t i = 0; i < known->count; i++)
		if (dcm_known_update(known->sets[i], seg, index) < 0)
			result = -ENOMEM;
	return result;
}

static int look_at_all(struct dcm_group_known *known, const struct dcm_segment *seg)
{
	int result = 0;

	for (size_t i = 0; i < known->count; i++)
		dcm_known_update_gone(known->sets[i], seg);
	for (size_t i = 0; i < known->count; i++)
		if (dcm_known_update_new(known->sets[i], seg) < 0)
			result = -ENOMEM;
	return result;
}

/*
 * Hints of several interfaces need not come in the order of what they are about. That the last one
 * of a group has come does not say that the first is still there: it is looked at again. If all
 * are, there were all at the time of the last.
 */
static bool all_there(struct dcm_group_known *known, const struct dcm_segment *seg,
		      struct dcm_ref subscription, const struct dcm_notice *const *endpoints)
{
	bool all = true;

	for (size_t i = 0; i < known->count; i++) {
		struct dcm_ref endpoint = endpoints[i]->endpoint;

		DCM_LINE(group_looks_again)
		if (!dcm_registry_is_live(seg, endpoint)) {
			all = false;
			if (dcm_known_update(known->sets[i], seg, endpoint.index) < 0)
				dcm_registry_resync(seg, subscription);
		}
	}
	return all;
}

/* One hint. Return: 0; -EAGAIN there is none; -ENOMEM, and all is to be looked at again. */
static int follow_hint(struct dcm_group_known *known, const struct dcm_segment *seg,
		       struct dcm_ref subscription)
{
	uint32_t index;
	enum dcm_hint hint = dcm_registry_hint(seg, subscription, &index);
	int result;

	if (hint == DCM_HINT_NONE)
		return -EAGAIN;
	if (hint == DCM_HINT_ONE)
		result = look_at_one(known, seg, index);
	else
		result = look_at_all(known, seg);
	if (result < 0)
		dcm_registry_resync(seg, subscription);
	return result;
}

/* A private bound: a scribbler that feeds hints without end gets no endless loop. */
static uint32_t looks_max(const struct dcm_segment *seg)
{
	return 2 * seg->endpoint.count + (2u << seg->capacity.ring_shift);
}

int dcm_group_known_next(struct dcm_group_known *known, const struct dcm_segment *seg,
			 struct dcm_ref subscription, struct dcm_group_notice *out)
{
	int result = 0;

	for (uint32_t i = 0; i < looks_max(seg); i++) {
		int fed = feed(known);

		out->endpoints = dcm_match_next(known->match, &out->published);
		if (out->endpoints != NULL) {
			if (!out->published || all_there(known, seg, subscription, out->endpoints))
				return 0;
			continue;
		}
		if (fed < 0 || result < 0)
			return fed < 0 ? fed : result;
		result = follow_hint(known, seg, subscription);
	}
	return -EAGAIN;
}

bool dcm_group_known_told(struct dcm_group_known *known)
{
	uint64_t made = dcm_match_made(known->match);

	dcm_match_told(known->match);
	return dcm_match_made(known->match) != made;
}

bool dcm_group_known_look(struct dcm_group_known *known, const struct dcm_segment *seg,
			  struct dcm_ref subscription, uint64_t *made)
{
	struct dcm_group_notice notice;
	bool there;

	for (uint32_t i = 0; i < looks_max(seg); i++)
		if (feed(known) < 0 || follow_hint(known, seg, subscription) < 0)
			break;
	there = dcm_group_known_next(known, seg, subscription, &notice) == 0;
	*made = dcm_match_made(known->match);
	return there;
}
