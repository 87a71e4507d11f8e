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

/* Under the lock of one end: its requests, one after the other. Return: how many. */
static size_t give_row(struct dcm_end *end, DcmRequest *requests, size_t count, bool *gone)
{
	size_t given = 0;

	while (given < count && !*gone &&
	       dcm_server_give_back_one(end, &requests[given].message, gone))
		dcm_message_consumed(&requests[given++].message);
	return given;
}

/* In a read section: as many as the first of them and those behind it are requests of one end. */
static size_t give_some(DcmRequest *requests, size_t count)
{
	struct dcm_end *end = dcm_message_end(&requests->message);
	bool gone = false;
	size_t given;

	if (end == NULL || dcm_end_calls(end))
		return 0;
	dcm_lock_enter(&end->lock);
	given = give_row(end, requests, count, &gone);
	dcm_lock_leave(&end->lock);
	if (gone)
		dcm_end_gone(end);
	return given;
}

DCM_HOT Retcode DcmReleaseBatch(DcmRequest *requests, size_t count)
{
	Retcode rc = rcOk, last;
	size_t given = 0;

	dcm_fork_check();
	if (requests == NULL && count != 0)
		return dcm_fail(rcInvalidArgument, "requests is null");
	while (given < count) {
		dcm_handle_enter();
		given += give_some(&requests[given], count - given);
		dcm_handle_leave();
		if (given == count)
			break;
		/* What cannot be given back in a row, or not at all: for the code and the detail. */
		last = DcmRelease(&requests[given++].message);
		if (last != rcOk)
			rc = last;
	}
	return rc;
}
