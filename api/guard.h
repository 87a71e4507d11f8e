/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * guard - what becomes of calls when memory of the segment is lost under their feet
 *
 * Whoever may write the segment's file may truncate it: the kernel then answers an access with
 * SIGBUS. A process that called DcmGuardSegment() lives on: zero pages lie where the segment was,
 * the fabric is lost for this process until it has left it, and every call that needs it says so.
 */
#ifndef DCM_API_GUARD_H
#define DCM_API_GUARD_H

#include <dcm/types.h>
#include <stdbool.h>

#include "shm/segment.h"

/* dcm_guard_watch() - this is the segment that is mapped; after dcm_segment_open() */
void dcm_guard_watch(const struct dcm_segment *seg);
/* dcm_guard_unwatch() - none is; before dcm_segment_close(), and in a forked child */
void dcm_guard_unwatch(void);

/*
 * dcm_guard_lost() - was memory of the mapped segment replaced by zero pages
 * True before the first zero can be read: what was read before this said false is the segment's.
 */
bool dcm_guard_lost(void);

/* dcm_guard_fail() - rcFail, with the detail that says so */
Retcode dcm_guard_fail(void);

#endif
