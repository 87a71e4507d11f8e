/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fetching one file: from the reply straight into a file, which gets its name when its SHA-256 is
 * that of the server's.
 */
#ifndef DCM_FILES_FETCH_H
#define DCM_FILES_FETCH_H

#include "dcm-files_ask.h"

/* What all threads of a client share. */
struct fetching {
	Handle session;
	int target; /* the directory that the files go to */
	struct files_limit *limit;
	atomic_ullong *bytes; /* of files; what was fetched in vain is taken off again */
};

/* Says what is wrong, unless it is FILES_LOST or _STOPPED. hash: the thread's own. */
enum files_outcome files_fetch(const struct fetching *fetching, struct files_hash *hash,
			       const char *name);

#endif
