/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One request of a client and its reply, checked as far as every reply is.
 */
#ifndef DCM_FILES_ASK_H
#define DCM_FILES_ASK_H

#include "dcm-files_common.h"

/* How something that needs a server went. The words were said for all but the first three. */
enum files_outcome {
	FILES_DONE,
	FILES_LOST,	 /* rcNotConnected: the next server may go on */
	FILES_STOPPED,	 /* by a signal */
	FILES_TROUBLE,	 /* EXIT_TROUBLE */
	FILES_BAD,	 /* EXIT_REFUSED */
	FILES_NO_SERVER, /* EXIT_NO_SERVER */
};

int files_exit_code(enum files_outcome outcome);

/* Between these a signal interrupts what is blocked on the session. */
void files_session_begin(Handle session);
void files_session_end(Handle session);

struct files_question {
	uint32_t op;
	uint32_t data_bytes;
	uint64_t offset;
	const char *name;
};

/*
 * FILES_DONE: the reply is to be released; either its status is FILES_OK, and fixed holds a copy of
 * its fixed part, which begins with a struct files_head whose data_bytes do stand behind it; or its
 * status is another.
 */
enum files_outcome files_ask(Handle session, const struct files_question *question, void *fixed,
			     size_t fixed_bytes, DcmMessage *reply);

#endif
