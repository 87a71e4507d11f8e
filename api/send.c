/* SPDX-License-Identifier: BSD-2-Clause */
/* send - one-way messages: one, and many at once */
#include "api/calling.h"
#include "api/fork.h"
#include "api/retcode.h"

DCM_HOT Retcode DcmSend(Handle session, DcmMessage *message, int64_t timeoutNs)
{
	struct calling c = { .message = message,
			     .use = DCM_USE_ONE_WAY,
			     .flags = DCM_CALL_ONE_WAY };
	size_t sent;
	Retcode rc;

	dcm_fork_check();
	rc = dcm_calling_enter(session, &c);
	if (rc != rcOk)
		return rc;
	rc = dcm_calling_begin(&c, message, 1, timeoutNs, &sent);
	dcm_calling_leave(&c);
	return rc;
}

DCM_HOT Retcode DcmSendBatch(Handle session, DcmMessage *messages, size_t count, int64_t timeoutNs,
			     size_t *outSent)
{
	struct calling c = { .use = DCM_USE_ONE_WAY, .flags = DCM_CALL_ONE_WAY, .keeps = true };
	size_t sent = 0;
	Retcode rc;

	dcm_fork_check();
	if (outSent != NULL)
		*outSent = 0;
	if (messages == NULL && count != 0)
		return dcm_fail(rcInvalidArgument, "messages is null");
	rc = dcm_calling_enter(session, &c);
	if (rc != rcOk)
		return rc;
	rc = dcm_calling_begin(&c, messages, count, timeoutNs, &sent);
	if (outSent != NULL)
		*outSent = sent;
	dcm_calling_leave(&c);
	return rc;
}
