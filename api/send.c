/* SPDX-License-Identifier: BSD-2-Clause */
/* send - one-way messages: one, and many at once */
#include <errno.h>

#include "api/calling.h"
#include "api/fork.h"
#include "api/retcode.h"

static size_t send_now(Handle session, DcmMessage *messages, size_t count)
{
	struct calling c = { .use = DCM_USE_ONE_WAY, .flags = DCM_CALL_ONE_WAY };
	size_t sent = 0;

	dcm_handle_enter();
	if (dcm_calling_peek(session, &c))
		sent = dcm_calling_begin_now(&c, messages, count);
	dcm_handle_leave();
	return sent;
}

/* From *@sent on. @keeps: a message that is not sent is the caller's, whatever the reason. */
static DCM_SELDOM Retcode send_later(Handle session, DcmMessage *messages, size_t count,
				     int64_t timeout_ns, bool keeps, size_t *sent)
{
	struct calling c = { .use = DCM_USE_ONE_WAY, .flags = DCM_CALL_ONE_WAY, .keeps = keeps };
	int saved = errno;
	Retcode rc;

	c.message = keeps ? NULL : messages;
	rc = dcm_calling_enter(session, &c);
	if (rc == rcOk) {
		rc = dcm_calling_begin(&c, messages, count, timeout_ns, sent);
		dcm_calling_leave(&c);
	}
	errno = saved;
	return rc;
}

DCM_HOT Retcode DcmSend(Handle session, DcmMessage *message, int64_t timeoutNs)
{
	size_t sent = 0;

	dcm_fork_check();
	return send_now(session, message, 1) == 1
		       ? rcOk
		       : send_later(session, message, 1, timeoutNs, false, &sent);
}

DCM_HOT Retcode DcmSendBatch(Handle session, DcmMessage *messages, size_t count, int64_t timeoutNs,
			     size_t *outSent)
{
	size_t sent, all;
	Retcode rc = rcOk;

	dcm_fork_check();
	if (outSent != NULL)
		*outSent = 0;
	if (messages == NULL && count != 0)
		return dcm_fail(rcInvalidArgument, "messages is null");
	sent = send_now(session, messages, count);
	if (sent == 0 || sent != count) {
		all = sent;
		rc = send_later(session, messages, count, timeoutNs, true, &all);
		sent = all;
	}
	if (outSent != NULL)
		*outSent = sent;
	return rc;
}
