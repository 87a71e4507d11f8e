/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which servers there are, and a session with one of them.
 */
#ifndef DCM_FILES_FIND_H
#define DCM_FILES_FIND_H

#include "dcm-files_ask.h"

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
