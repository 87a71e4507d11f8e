/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * badge - the mark of a transfer: a context for the requests that come of it, and word of its end
 *
 * A badge outlives its number for as long as descendants of what was given under it are left.
 */
#ifndef DCM_API_BADGE_H
#define DCM_API_BADGE_H

#include "api/object.h"

/* Behind DCM_KIND_BADGE. */
struct dcm_badge {
	struct dcm_kernel_object kernel;
	struct dcm_tally tally;
	void *context; /* the program's; not followed */
};

/*
 * dcm_badge_find() - the badge that a function was given, held
 * @what: the parameter's name
 * Return: rcOk, with *@out null for INVALID_HANDLE; rcInvalidArgument.
 */
Retcode dcm_badge_find(Handle handle, const char *what, struct dcm_badge **out);

/* For a badge or null, as dcm_badge_find() gives it. */
static inline struct dcm_tally *dcm_badge_tally(struct dcm_badge *badge)
{
	return badge != NULL ? &badge->tally : NULL;
}

static inline void *dcm_badge_context(const struct dcm_badge *badge)
{
	return badge != NULL ? badge->context : NULL;
}

static inline void dcm_badge_drop(struct dcm_badge *badge)
{
	if (badge != NULL)
		dcm_object_drop(&badge->kernel.object);
}

#endif
