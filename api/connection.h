/* SPDX-License-Identifier: BSD-2-Clause */
/* connection - what else is asked of a client's connection (api/connect.c) */
#ifndef DCM_API_CONNECTION_H
#define DCM_API_CONNECTION_H

#include <stdbool.h>

#include <dcm/types.h>

#include "api/who.h"

/* dcm_connection_create() - DcmCreateConnection() to that server, whatever became of a handle for it */
Retcode dcm_connection_create(const char *type, const char *name, const struct dcm_who *server,
			      Handle client, DcmHandle *out);

/*
 * dcm_connection_undecided() - has nobody decided, nor will: its request waits for an endpoint, or
 * has ended because the endpoint or the server is gone
 */
bool dcm_connection_undecided(DcmHandle connection);

#endif
