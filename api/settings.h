/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * settings - the environment variables that DcmInit reads, once
 *
 *   DCM_FABRIC               a name, or a path with a '/'; default "default"
 *   DCM_PROCESS_NAME         what others see; default DcmSetProcessName(), then the program's name
 *   DCM_TRANSFER             auto, getfd, procfs or socket: how channels are handed over
 *   DCM_WAIT                 adaptive, spin or sleep: how calls wait for each other (api/spin.h)
 *   DCM_MODE, DCM_OWNER, DCM_GROUP
 *                            who may attach: given to a segment that this process makes, and what
 *                            one that is there must have
 *   DCM_USER_SHARE           percent of each table of a segment that this process makes for one user
 *   DCM_MAX_PROCESSES, DCM_MAX_ENDPOINTS, DCM_MAX_SUBSCRIPTIONS, DCM_MAX_CONNECTIONS,
 *   DCM_MAX_LISTENERS, DCM_MAX_GIFTS, DCM_MAX_HINTS
 *                            table sizes of a segment that this process makes
 *   DCM_MAX_CHANNEL_BYTES    of each channel that this process accepts
 */
#ifndef DCM_API_SETTINGS_H
#define DCM_API_SETTINGS_H

#include <dcm/types.h>

#include "shm/segment.h"

#define DCM_WAIT_UNSAID UINT32_MAX

struct dcm_settings {
	char fabric[512];
	char name[256];
	uint32_t transfer; /* DCM_TRANSFER_... */
	uint32_t wait;	   /* DCM_WAIT_..., or DCM_WAIT_UNSAID */
	struct dcm_access access;
	struct dcm_capacity capacity;
	uint64_t channel_bytes;
};

/*
 * dcm_settings_read() - from the environment
 * @set_name: what DcmSetProcessName() was given; empty: nothing
 * Return: rcOk, or rcInvalidArgument naming the variable, what it holds and its bounds.
 */
Retcode dcm_settings_read(struct dcm_settings *settings, const char *set_name);

#endif
