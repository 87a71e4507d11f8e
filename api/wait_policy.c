/* SPDX-License-Identifier: BSD-2-Clause */
/* wait_policy - how calls on sessions and listeners wait, and that they wait no longer */
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>
#include <errno.h>

#include "api/fork.h"
#include "api/retcode.h"
#include "api/server.h"
#include "api/session.h"

Retcode DcmSetWaitPolicy(Handle handle, uint32_t policy, int64_t spinNs)
{
	struct dcm_kernel_object *object;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	if (policy > DCM_WAIT_SLEEP)
		return dcm_fail(
			rcInvalidArgument,
			"policy %u is none: DCM_WAIT_ADAPTIVE, DCM_WAIT_SPIN or DCM_WAIT_SLEEP",
			policy);
	if (handle == INVALID_HANDLE) {
		dcm_spin_set(NULL, policy, spinNs);
		return rcOk;
	}
	rc = dcm_kernel_find(handle, 1u << DCM_KIND_SESSION | 1u << DCM_KIND_LISTENER, 0, &object);
	if (rc != rcOk)
		return rc;
	if (object->object.type->kind == DCM_KIND_SESSION)
		dcm_spin_set(&((struct dcm_session *)object)->client->blocker.spin, policy, spinNs);
	else
		dcm_spin_set(&((struct dcm_listener_object *)object)->blocker.spin, policy, spinNs);
	dcm_object_drop(&object->object);
	errno = saved;
	return rcOk;
}

Retcode DcmInterruptCall(Handle handle)
{
	struct dcm_kernel_object *object;
	struct dcm_source *source;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	rc = dcm_kernel_find(handle, 1u << DCM_KIND_SESSION | 1u << DCM_KIND_LISTENER, 0, &object);
	if (rc != rcOk)
		return rc;
	if (object->object.type->kind == DCM_KIND_SESSION)
		dcm_wait_interrupt(&((struct dcm_session *)object)->client->blocker);
	else
		dcm_wait_interrupt(&((struct dcm_listener_object *)object)->blocker);
	source = dcm_source_of(&object->object);
	if (source != NULL)
		dcm_source_fire(source, DCM_BLOCKING_CALL_INTERRUPTED);
	dcm_object_drop(&object->object);
	errno = saved;
	return rcOk;
}
