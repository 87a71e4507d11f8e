/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/badge.h"

#include <coresrv/handle/notice_api.h>
#include <errno.h>

#include "api/fork.h"
#include "api/identity.h"
#include "api/notice.h"
#include "api/retcode.h"

static const struct dcm_source_type badge_events = {
	.events = EVENT_BADGE_CLOSED | EVENT_OBJECT_DESTROYED,
};

static void none_left(struct dcm_object *object)
{
	dcm_source_fire(dcm_kernel_source(object), EVENT_BADGE_CLOSED);
}

/* Its number is one part of it alone: what was given under it is the other. */
static void left_badge(struct dcm_object *object, bool last)
{
	(void)object;
	(void)last;
}

static void release_badge(struct dcm_object *object)
{
	dcm_kernel_destroyed((struct dcm_kernel_object *)(void *)object);
	dcm_kernel_release(object);
}

static const struct dcm_object_type badge_type = {
	.kind = DCM_KIND_BADGE,
	.space = DCM_SPACE_HANDLE,
	.close = dcm_kernel_close,
	.release = release_badge,
	.forget = dcm_kernel_forget,
	.left = left_badge,
	.source = dcm_kernel_source,
};

Retcode dcm_badge_find(Handle handle, const char *what, struct dcm_badge **out)
{
	struct dcm_kernel_object *kernel = NULL;
	Retcode rc = rcOk;

	if (handle != INVALID_HANDLE)
		rc = dcm_kernel_find_as(handle, 1u << DCM_KIND_BADGE, 0, what, &kernel);
	*out = (struct dcm_badge *)(void *)kernel;
	return rc;
}

/* With the number, so that one that there is no notice for ends as it would by being closed. */
static Retcode create(struct dcm_notice_object *notice, uintptr_t id, void *context, Handle *out)
{
	struct dcm_badge *badge =
		(struct dcm_badge *)(void *)dcm_kernel_new(&badge_type, sizeof *badge, NULL);
	Retcode rc;

	if (badge == NULL)
		return rcOutOfMemory;
	badge->kernel.rights = OCAP_HANDLE_GET_SID | OCAP_HANDLE_GET_EVENT;
	badge->kernel.sid = dcm_sid_next();
	badge->tally.object = &badge->kernel.object;
	badge->tally.none_left = none_left;
	badge->context = context;
	dcm_kernel_tells(&badge->kernel, &badge_events);
	dcm_object_hold(&badge->kernel.object);
	rc = dcm_kernel_insert(&badge->kernel, NULL, NULL, out);
	if (rc == rcOk)
		rc = dcm_source_subscribe(dcm_kernel_source(&badge->kernel.object), notice,
					  badge_events.events, id, 0);
	if (rc != rcOk)
		(void)dcm_handle_close(*out, 1u << DCM_KIND_BADGE);
	if (rc != rcOk)
		*out = INVALID_HANDLE;
	dcm_badge_drop(badge);
	return rc;
}

Retcode KnHandleCreateBadge(Notice notice, uintptr_t eventId, void *context, Handle *outBadge)
{
	struct dcm_notice_object *found;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	if (outBadge == NULL)
		return dcm_fail(rcInvalidArgument, "outBadge is null");
	*outBadge = INVALID_HANDLE;
	found = dcm_notice_find(notice);
	if (found == NULL)
		return rcInvalidArgument;
	rc = create(found, eventId, context, outBadge);
	dcm_object_drop(&found->object);
	errno = saved;
	return rc;
}
