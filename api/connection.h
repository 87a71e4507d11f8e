/* SPDX-License-Identifier: BSD-2-Clause */
/* connection - what else is asked of a client's connection (api/connect.c) */
#ifndef DCM_API_CONNECTION_H
#define DCM_API_CONNECTION_H

#include <stdbool.h>

#include <dcm/types.h>

/*
 * dcm_connection_undecided() - has nobody decided, nor will: its request waits for an endpoint, or
 * has ended because the endpoint or the server is gone
 */
bool dcm_connection_undecided(DcmHandle connection);

#endif
