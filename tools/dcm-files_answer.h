/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The server's answers: what files.FileServer does with one request.
 */
#ifndef DCM_FILES_ANSWER_H
#define DCM_FILES_ANSWER_H

#include "dcm-files_common.h"
#include <stdatomic.h>

/* What all threads of a server share. */
struct server {
	int root; /* the served directory */
	atomic_bool stopping;
	struct files_limit limit;
	atomic_ullong requests, bytes; /* answered; sent as contents of files */
};

/* Answers one request, whatever is in it; afterwards it is done with. hash: the thread's own. */
void files_answer(struct server *server, struct files_hash *hash, DcmRequest *request);

#endif
