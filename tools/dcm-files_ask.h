/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One request of a client and its reply, checked as far as every reply is.
 */
#ifndef DCM_FILES_ASK_H
#define DCM_FILES_ASK_H

#include "dcm-files_find.h"

/* A session that signals interrupt, until its end. */
enum files_outcome files_session_begin(Handle session);
void files_session_end(Handle session);

struct files_question {
	uint32_t op;
	uint32_t data_bytes;
	uint64_t offset;
	const char *name;
};

/*
 * Asks, and copies the fixed part of the reply to head. FILES_WENT_WELL: reply.status is FILES_OK
 * and data holds *data_bytes, a number that was checked, or another status and no data. The reply
 * is to be released.
 */
enum files_outcome files_ask(Handle session, const struct files_question *question, void *head,
			     size_t head_bytes, DcmMessage *reply);

#endif
