// SPDX-License-Identifier: BSD-2-Clause
#define _GNU_SOURCE
#include "dcm-files_ask.h"
#include "dcm-files_stop.h"
#include <stdatomic.h>
#include <string.h>

/* For --events: the first call of a session. */
static atomic_bool is_first;

int files_exit_code(enum files_outcome outcome)
{
	switch (outcome) {
	case FILES_DONE:
		return EXIT_DONE;
	case FILES_BAD:
		return EXIT_REFUSED;
	case FILES_NO_SERVER:
		return EXIT_NO_SERVER;
	default:
		return EXIT_TROUBLE;
	}
}

void files_session_begin(Handle session)
{
	atomic_store(&is_first, true);
	files_stop_watch(session, DcmInterruptCall);
}

void files_session_end(Handle session)
{
	files_stop_unwatch(session);
	KnHandleClose(session);
}

/* The request is written where the server reads it, and the reply is read where it wrote it. */
static Retcode call(Handle session, const struct files_question *question, DcmMessage *reply)
{
	struct files_request request = {
		.version = FILES_VERSION,
		.op = question->op,
		.offset = question->offset,
		.data_bytes = question->data_bytes,
		.name_bytes = (uint32_t)strlen(question->name),
	};
	DcmMessage message;
	Retcode rc = DcmLoan(session, sizeof(request) + request.name_bytes, -1, &message);

	if (rc != rcOk)
		return rc;
	memcpy(message.data, &request, sizeof(request));
	memcpy((char *)message.data + sizeof(request), question->name, request.name_bytes);
	rc = DcmCall(session, &message, -1, reply);
	DcmRelease(&message); /* if it was not consumed */
	return rc;
}

static Retcode timed_call(Handle session, const struct files_question *question, DcmMessage *reply)
{
	bool first = atomic_load(&is_first) && atomic_exchange(&is_first, false);
	Retcode rc;

	if (first)
		files_event("call-begin", "-");
	rc = call(session, question, reply);
	if (rc == rcNotConnected)
		files_event("not-connected", "-");
	else if (first)
		files_event("call-end", "-");
	return rc;
}

enum files_outcome files_ask(Handle session, const struct files_question *question, void *fixed,
			     size_t fixed_bytes, DcmMessage *reply)
{
	const struct files_head *head = fixed;
	Retcode rc = files_stop_asked() ? rcIpcInterrupt : timed_call(session, question, reply);

	if (rc == rcNotConnected)
		return FILES_LOST;
	if (rc == rcIpcInterrupt)
		return FILES_STOPPED;
	if (rc != rcOk) {
		files_warn_code(rc, "a call failed");
		return FILES_TROUBLE;
	}
	if (reply->status != FILES_OK)
		return FILES_DONE;
	if (reply->size >= fixed_bytes) {
		memcpy(fixed, reply->data, fixed_bytes);
		if (head->version == FILES_VERSION && head->data_bytes <= reply->size - fixed_bytes)
			return FILES_DONE;
	}
	files_warn("the server's reply is not one of version %u of %s; is it another program?",
		   FILES_VERSION, FILES_TYPE);
	DcmRelease(reply);
	return FILES_BAD;
}
