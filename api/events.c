/* SPDX-License-Identifier: BSD-2-Clause */
/* events - who subscribes to what, who raises events, and which descriptor tells of them */
#include <coresrv/handle/handle_api.h>
#include <coresrv/handle/notice_api.h>
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>
#include <errno.h>

#include "api/attach.h"
#include "api/fork.h"
#include "api/identity.h"
#include "api/notice.h"
#include "api/retcode.h"
#include "api/source.h"

#define KINDS_USER (1u << DCM_KIND_USER | 1u << DCM_KIND_CALLABLE)
#define EVENTS_USER 0xffff0000u

/* @through: the object's number, if it is a handle that can be revoked. */
static Retcode subscribe(Notice notice, struct dcm_object *object, uint32_t mask, uintptr_t id,
			 uint64_t through)
{
	struct dcm_source *source = dcm_source_of(object);
	struct dcm_notice_object *found;
	Retcode rc;

	if (source == NULL)
		return dcm_fail(rcInvalidArgument, "an object of this kind has no events");
	found = dcm_notice_find(notice);
	if (found == NULL)
		return rcInvalidArgument;
	rc = dcm_source_subscribe(source, found, mask, id, through);
	dcm_object_drop(&found->object);
	return rc;
}

static Retcode unsubscribe(Notice notice, struct dcm_object *object)
{
	struct dcm_source *source = dcm_source_of(object);
	struct dcm_notice_object *found = dcm_notice_find(notice);
	bool any;

	if (found == NULL)
		return rcInvalidArgument;
	any = source != NULL && dcm_source_unsubscribe(source, found);
	dcm_object_drop(&found->object);
	return any ? rcOk
		   : dcm_fail(rcResourceNotFound, "the notice is not subscribed to this object");
}

/* A DCM handle that has events. Return: rcOk with *@out held; rcNotConnected, rcInvalidArgument. */
static Retcode find_dcm(DcmHandle handle, struct dcm_object **out)
{
	if (!dcm_fabric_ready())
		return rcNotConnected;
	*out = dcm_handle_find(handle, DCM_KINDS_BLOCKABLE);
	return *out != NULL ? rcOk
			    : dcm_fail(rcInvalidArgument,
				       "not an open publication, subscription or connection");
}

Retcode DcmSubscribeToEvents(Notice notice, DcmHandle handle, uint32_t evMask, uintptr_t evId)
{
	struct dcm_object *object;
	int saved = errno;
	Retcode rc;

	dcm_fork_check();
	rc = find_dcm(handle, &object);
	if (rc == rcOk) {
		rc = subscribe(notice, object, evMask, evId, 0);
		dcm_object_drop(object);
	}
	errno = saved;
	return rc;
}

Retcode DcmUnsubscribeFromEvents(Notice notice, DcmHandle handle)
{
	struct dcm_object *object;
	int saved = errno;
	Retcode rc;

	dcm_fork_check();
	rc = find_dcm(handle, &object);
	if (rc == rcOk) {
		rc = unsubscribe(notice, object);
		dcm_object_drop(object);
	}
	errno = saved;
	return rc;
}

Retcode KnNoticeSubscribeToObject(Notice notice, Handle object, uint32_t evMask, uintptr_t evId)
{
	struct dcm_kernel_object *found;
	int saved = errno;
	Retcode rc;

	dcm_fork_check();
	rc = dcm_kernel_find_as(object, DCM_KINDS_HANDLE, OCAP_HANDLE_GET_EVENT, "object", &found);
	if (rc == rcOk) {
		rc = subscribe(notice, &found->object, evMask, evId, object);
		/* Revoked meanwhile: whoever did it may have been here before the entry was. */
		if (rc == rcOk && dcm_kernel_revoked(found))
			dcm_source_revoke(dcm_source_of(&found->object), object);
		dcm_object_drop(&found->object);
	}
	errno = saved;
	return rc;
}

Retcode KnNoticeUnsubscribeFromEvent(Notice notice, uintptr_t evId)
{
	struct dcm_notice_object *found;
	int saved = errno;
	bool any;

	dcm_fork_check();
	found = dcm_notice_find(notice);
	if (found == NULL)
		return rcInvalidArgument;
	any = dcm_notice_unsubscribe(found, evId);
	dcm_object_drop(&found->object);
	errno = saved;
	return any ? rcOk : dcm_fail(rcResourceNotFound, "the notice has no entry with this id");
}

Retcode KnNoticeSetObjectEvent(Handle object, uint32_t evMask)
{
	struct dcm_kernel_object *found;
	struct dcm_source *source;
	int saved = errno;
	Retcode rc;

	dcm_fork_check();
	if (evMask == 0 || (evMask & ~EVENTS_USER) != 0)
		return dcm_fail(rcInvalidArgument, "events of a user object are bits 16 to 31");
	rc = dcm_kernel_find_as(object, KINDS_USER, OCAP_HANDLE_SET_EVENT, "object", &found);
	if (rc == rcOk) {
		source = dcm_source_of(&found->object);
		if (source != NULL)
			dcm_source_fire(source, evMask);
		else
			rc = dcm_fail(rcInvalidArgument, "not a user object");
		dcm_object_drop(&found->object);
	}
	errno = saved;
	return rc;
}

/* Return: rcOk with *@out held; rcInvalidArgument, rcHandleRevoked, rcNotConnected. */
static Retcode find_any(uint64_t handle, struct dcm_object **out)
{
	struct dcm_notice_object *notice;
	struct dcm_kernel_object *kernel;
	Retcode rc;

	switch (dcm_handle_space(handle)) {
	case DCM_SPACE_DCM:
		return find_dcm(handle, out);
	case DCM_SPACE_NOTICE:
		notice = dcm_notice_find(handle);
		*out = notice != NULL ? &notice->object : NULL;
		return notice != NULL ? rcOk : rcInvalidArgument;
	case DCM_SPACE_HANDLE:
		rc = dcm_kernel_find_as(handle, DCM_KINDS_HANDLE, 0, "handle", &kernel);
		*out = rc == rcOk ? &kernel->object : NULL;
		return rc;
	default:
		return dcm_fail(rcInvalidArgument, "not an open handle of this process");
	}
}

static Retcode fd_of(struct dcm_object *object, int *out)
{
	struct dcm_source *source = dcm_source_of(object);

	if (object->type->kind == DCM_KIND_NOTICE)
		return dcm_notice_fd((struct dcm_notice_object *)object, out);
	if (source != NULL)
		return dcm_source_fd(source, out);
	return dcm_fail(rcInvalidArgument, "an object of this kind has no descriptor");
}

Retcode DcmGetFd(uint64_t handle, int *outFd)
{
	struct dcm_object *object;
	int saved = errno;
	Retcode rc;

	dcm_fork_check();
	if (outFd == NULL)
		return dcm_fail(rcInvalidArgument, "outFd is null");
	*outFd = -1;
	rc = find_any(handle, &object);
	if (rc != rcOk)
		return rc;
	rc = fd_of(object, outFd);
	dcm_object_drop(object);
	errno = saved;
	return rc;
}
