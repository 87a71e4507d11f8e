/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gift - what other processes hold that descends from a handle of this one, and the other way round
 *
 * The first time that a process shows itself by a handle, as a server or as a client, that handle
 * gets a gift (shm/gift.h): a node below it that stands for all that others are shown by way of it.
 * When the node is revoked, so are they. It lasts as long as the handle is open, or a publication or
 * a connection that was made with it; after the handle is closed it is its parent's.
 *
 * What was shown lives in processes that do not tell of it. So no badge counts it, and what was
 * revoked stays in the table until this process leaves the fabric.
 */
#ifndef DCM_API_GIFT_H
#define DCM_API_GIFT_H

#include "api/attach.h"
#include "api/object.h"
#include "shm/gift.h"

struct dcm_giving;

/*
 * dcm_giving_get() - the gift of a handle of the Handle space, in the fabric that the caller holds
 * Return: rcOk with *@out set, to be put; rcInvalidArgument the handle was closed or revoked
 * meanwhile; rcOutOfMemory; rcQuotaExceeded; with the detail set.
 */
Retcode dcm_giving_get(struct dcm_kernel_object *kernel, struct dcm_fabric *fabric,
		       struct dcm_giving **out);
void dcm_giving_put(struct dcm_giving *giving);

/* dcm_giving_name() - what those who are to be shown it find */
struct dcm_gift dcm_giving_name(const struct dcm_giving *giving);

/* dcm_giving_close() - the handle is closed */
void dcm_giving_close(struct dcm_kernel_object *kernel);

/* dcm_giving_forked() - in a forked child, where no handle has given anything */
void dcm_giving_forked(void);

#endif
