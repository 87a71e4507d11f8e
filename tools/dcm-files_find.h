/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which servers there are, and a session with one of them.
 */
#ifndef DCM_FILES_FIND_H
#define DCM_FILES_FIND_H

#include "dcm-files_common.h"

/* How something that needs a server went. What is not FIND_OK, _LOST, _STOPPED has been said. */
enum files_outcome {
	FILES_WENT_WELL,
	FILES_LOST,	 /* rcNotConnected: the server has gone; the next one may go on */
	FILES_STOPPED,	 /* by a signal */
	FILES_TROUBLE,	 /* EXIT_TROUBLE */
	FILES_BAD,	 /* EXIT_REFUSED */
	FILES_NO_SERVER, /* EXIT_NO_SERVER */
};

struct finder_options {
	const char *name;    /* of the endpoint, or null */
	uint32_t timeout_ms; /* how long to wait for a server; INFINITE_TIMEOUT */
};

/* One published endpoint. */
struct found;

struct finder {
	const struct finder_options *options;
	DcmHandle subscription;
	struct found *servers;
	size_t count, room;
	Sid connected; /* the server of the session */
};

bool finder_open(struct finder *finder, const struct finder_options *options);
void finder_close(struct finder *finder);

/* Takes one notice, if one comes in time; rcOk, rcTimeout, rcIpcInterrupt. */
Retcode finder_read(struct finder *finder, uint32_t timeout_ms);

/* Waits for a server, says so if there is none, and connects. */
enum files_outcome finder_connect(struct finder *finder, Handle *session);
/* Tells how a session went that is now closed: whether anything came of it. */
void finder_lost(struct finder *finder, bool was_of_use);

#endif
