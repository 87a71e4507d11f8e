/* SPDX-License-Identifier: BSD-2-Clause */
/* dcm_handle - what can be done with a DCM handle of any kind */
#include <dcm/dcm_api.h>
#include <errno.h>

#include "api/attach.h"
#include "api/fork.h"
#include "api/handle.h"
#include "api/publish.h"
#include "api/retcode.h"
#include "api/source.h"
#include "api/wait.h"

static_assert(offsetof(struct dcm_publication, blocker) == offsetof(struct dcm_blockable, blocker),
	      "blockable");

Retcode DcmCloseHandle(DcmHandle handle)
{
	Retcode rc = rcOk;
	int saved = errno;

	dcm_fork_check();
	if (!dcm_fabric_ready())
		return rcNotConnected;
	if (!dcm_handle_close(handle, DCM_KINDS_DCM))
		rc = dcm_fail(rcInvalidArgument, "not an open DCM handle of this process");
	errno = saved;
	return rc;
}

Retcode DcmInterruptBlockingCall(DcmHandle handle)
{
	struct dcm_object *object;
	struct dcm_source *source;
	int saved = errno;

	dcm_fork_check();
	if (!dcm_fabric_ready())
		return rcNotConnected;
	object = dcm_handle_find(handle, DCM_KINDS_BLOCKABLE);
	if (object == NULL)
		return dcm_fail(rcInvalidArgument,
				"not an open publication, subscription or connection");
	dcm_wait_interrupt(&((struct dcm_blockable *)object)->blocker);
	source = dcm_source_of(object);
	if (source != NULL)
		dcm_source_fire(source, DCM_BLOCKING_CALL_INTERRUPTED);
	dcm_object_drop(object);
	errno = saved;
	return rcOk;
}
