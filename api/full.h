/* SPDX-License-Identifier: BSD-2-Clause */
/* full - what is said when a table of the fabric has no slot for this process */
#ifndef DCM_API_FULL_H
#define DCM_API_FULL_H

#include <dcm/types.h>

#include "shm/segment.h"

/*
 * dcm_fail_full() - rcQuotaExceeded with the table, its size and the setting that made it so
 * @what: "endpoints"; @setting: "DCM_MAX_ENDPOINTS"
 */
Retcode dcm_fail_full(const struct dcm_segment *seg, const struct dcm_table *table,
		      const char *what, const char *setting);

#endif
