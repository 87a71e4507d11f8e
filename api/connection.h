/* SPDX-License-Identifier: BSD-2-Clause */
/* connection - what else is asked of a client's connection (api/connect.c) */
#ifndef DCM_API_CONNECTION_H
#define DCM_API_CONNECTION_H

#include <stdbool.h>

#include <dcm/types.h>

/* dcm_connection_parked() - has it a request that no endpoint has been found for until now */
bool dcm_connection_parked(DcmHandle connection);

#endif
