/* SPDX-License-Identifier: BSD-2-Clause */
/* descend - copies of handles, and their end: what a program does with the tree of its handles */
#include <coresrv/handle/handle_api.h>
#include <errno.h>
#include <inttypes.h>

#include "api/badge.h"
#include "api/fork.h"
#include "api/object.h"
#include "api/retcode.h"

#define KIND_TASK (1u << DCM_KIND_TASK)

static Retcode check_copy(const struct dcm_kernel_object *from, uint32_t rights)
{
	if ((rights & ~DCM_RIGHTS_KNOWN) != 0)
		return dcm_fail(rcInvalidArgument, "rights 0x%" PRIx32 " do not exist",
				rights & ~DCM_RIGHTS_KNOWN);
	if ((rights & ~from->rights) != 0)
		return dcm_fail(rcNoCapability,
				"newRights 0x%" PRIx32 " are more than the handle has: 0x%" PRIx32,
				rights, from->rights);
	if (from->object.type->copy == NULL)
		return dcm_fail(rcInvalidArgument, "handles of this kind are not copied");
	return rcOk;
}

static Retcode copy(struct dcm_kernel_object *from, uint32_t rights, struct dcm_tally *tally,
		    Handle *out)
{
	struct dcm_kernel_object *kernel;
	Retcode rc = check_copy(from, rights);

	if (rc != rcOk)
		return rc;
	kernel = (struct dcm_kernel_object *)(void *)from->object.type->copy(&from->object);
	if (kernel == NULL)
		return rcOutOfMemory;
	kernel->rights = rights;
	return dcm_kernel_insert(kernel, from, tally, out);
}

Retcode KnHandleCopy(Handle handle, uint32_t newRights, Handle copyBadge, Handle *outHandle)
{
	struct dcm_kernel_object *from;
	struct dcm_badge *badge;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	if (outHandle == NULL)
		return dcm_fail(rcInvalidArgument, "outHandle is null");
	*outHandle = INVALID_HANDLE;
	rc = dcm_kernel_find(handle, DCM_KINDS_HANDLE, OCAP_HANDLE_COPY, &from);
	if (rc != rcOk)
		return rc;
	rc = dcm_badge_find(copyBadge, "copyBadge", &badge);
	if (rc == rcOk) {
		rc = copy(from, newRights, dcm_badge_tally(badge), outHandle);
		dcm_badge_drop(badge);
	}
	dcm_object_drop(&from->object);
	errno = saved;
	return rc;
}

Retcode KnHandleClose(Handle handle)
{
	struct dcm_object *task;
	int saved = errno;

	dcm_fork_check();
	if (!dcm_handle_close(handle, DCM_KINDS_HANDLE & ~KIND_TASK)) {
		task = dcm_handle_find(handle, KIND_TASK);
		if (task == NULL)
			return dcm_fail(rcInvalidArgument, "not a handle, or closed");
		dcm_object_drop(task);
	}
	errno = saved;
	return rcOk;
}

/* All below it, as dcm_tree_revoke(). One that another thread was faster with has nothing below it. */
static Retcode revoke(struct dcm_kernel_object *kernel, const struct dcm_tally *tally, bool itself)
{
	if (dcm_tree_revoke(&kernel->node, tally, itself))
		return rcOk;
	if (dcm_kernel_revoked(kernel))
		return dcm_kernel_refuse(kernel, 0, "the handle");
	return dcm_fail(rcInvalidArgument, "the handle was closed meanwhile");
}

Retcode KnHandleRevoke(Handle handle)
{
	struct dcm_kernel_object *kernel;
	bool is_task;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	rc = dcm_kernel_find(handle, DCM_KINDS_HANDLE, 0, &kernel);
	if (rc != rcOk)
		return rc;
	is_task = kernel->object.type->kind == DCM_KIND_TASK;
	/* With the node itself in one step: no copy comes in between. */
	rc = revoke(kernel, NULL, !is_task);
	if (rc == rcOk && !is_task)
		(void)dcm_handle_close(handle, DCM_KINDS_HANDLE);
	dcm_object_drop(&kernel->object);
	errno = saved;
	return rc;
}

Retcode KnHandleRevokeSubtree(Handle handle, Handle badgeHandle)
{
	struct dcm_kernel_object *kernel;
	struct dcm_badge *badge;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	rc = dcm_kernel_find(handle, DCM_KINDS_HANDLE, 0, &kernel);
	if (rc != rcOk)
		return rc;
	rc = dcm_badge_find(badgeHandle, "badge", &badge);
	if (rc == rcOk && badge == NULL)
		rc = dcm_fail(rcInvalidArgument,
			      "badge is INVALID_HANDLE: KnHandleRevoke revokes all");
	if (rc == rcOk)
		rc = revoke(kernel, dcm_badge_tally(badge), false);
	dcm_badge_drop(badge);
	dcm_object_drop(&kernel->object);
	errno = saved;
	return rc;
}

Retcode KnHandleGetSidByHandle(Handle handle, Sid *outSid)
{
	struct dcm_kernel_object *object;
	Retcode rc;

	dcm_fork_check();
	if (outSid == NULL)
		return dcm_fail(rcInvalidArgument, "outSid is null");
	rc = dcm_kernel_find(handle, DCM_KINDS_HANDLE, OCAP_HANDLE_GET_SID, &object);
	if (rc != rcOk)
		return rc;
	*outSid = object->sid;
	dcm_object_drop(&object->object);
	return rc;
}
