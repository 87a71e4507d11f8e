/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The process as a resource.
 */
#ifndef DCM_CORESRV_TASK_TASK_API_H
#define DCM_CORESRV_TASK_TASK_API_H

#include <dcm/types.h>

DCM_BEGIN_DECLS

typedef struct KosTask KosTask;

/**
 * KosTaskGetSelf() - the calling process
 *
 * Threads:  any; DcmInit() is not needed.
 * Blocks:   no.
 * Progress: wait-free.
 * Memory:   the object is the library's and is not freed.
 * Return:   never null.
 * Origin:   that it leads to the process's own handle: KCE 1.3. Types and rules: ours.
 */
DCM_API KosTask *KosTaskGetSelf(void);

/**
 * KosTaskGetHandle() - the handle that identifies a process
 * @task: from KosTaskGetSelf()
 *
 * The same number each time, with OCAP_HANDLE_TRANSFER and OCAP_HANDLE_GET_SID. Closing it does
 * nothing and is rcOk. The child of a fork is another process and has another identity.
 *
 * Threads:  any; DcmInit() is not needed.
 * Blocks:   no.
 * Progress: lock-free.
 * Memory:   nothing to free.
 * Return:   the handle; INVALID_HANDLE if @task is null.
 * Origin:   KCE 1.3; closing it is forbidden in 1.4 and harmless here.
 */
DCM_API Handle KosTaskGetHandle(KosTask *task);

DCM_END_DECLS

#endif
