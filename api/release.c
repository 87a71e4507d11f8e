/* SPDX-License-Identifier: BSD-2-Clause */
/* release - what the program needs no more: loans unsent, requests unanswered, replies read */
#include <dcm/channel.h>
#include <errno.h>

#include "api/fork.h"
#include "api/retcode.h"
#include "api/server.h"
#include "api/session.h"

/* A loan that is not sent. */
static __attribute__((noinline)) Retcode give_loan(struct dcm_end *end, const DcmMessage *message)
{
	enum dcm_message_kind kind = dcm_end_calls(end) ? DCM_MESSAGE_LOAN : DCM_MESSAGE_REPLY_LOAN;
	Retcode rc = rcOk;

	if (dcm_message_kind(message) != kind)
		return dcm_fail(rcInvalidArgument, "not a message of the library's");
	dcm_lock_enter(&end->lock);
	if (!dcm_message_claim(end, message, kind))
		rc = dcm_message_refuse(end, message, kind);
	dcm_lock_leave(&end->lock);
	if (rc == rcOk)
		dcm_message_drop(end, message);
	return rc;
}

/* In a read section. */
static Retcode give(struct dcm_end *end, const DcmMessage *message)
{
	enum dcm_message_kind kind = dcm_message_kind(message);

	if (kind == DCM_MESSAGE_REQUEST && !dcm_end_calls(end))
		return dcm_server_give_back(end, message);
	if (kind == DCM_MESSAGE_REPLY && dcm_end_calls(end))
		return dcm_client_end_give_back(end, message);
	return give_loan(end, message);
}

DCM_HOT Retcode DcmRelease(DcmMessage *message)
{
	struct dcm_end *end;
	Retcode rc;

	dcm_fork_check();
	if (message == NULL)
		return dcm_fail(rcInvalidArgument, "message is null");
	if (message->data == NULL)
		return rcOk;
	dcm_handle_enter();
	end = dcm_message_end(message);
	rc = end != NULL
		     ? give(end, message)
		     : dcm_fail(rcInvalidArgument, "the message is not one that this process has");
	dcm_handle_leave();
	if (rc == rcOk)
		dcm_message_consumed(message);
	return rc;
}
