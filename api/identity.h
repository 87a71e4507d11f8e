/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * identity - handles that stand for somebody: the process, its user objects, its peers
 *
 * A SID is a base that each process draws at random plus a counter; it needs no fabric, is never
 * used again, and the same in every process that gets to see it.
 */
#ifndef DCM_API_IDENTITY_H
#define DCM_API_IDENTITY_H

#include <stdint.h>

#include <dcm/types.h>

#include "api/object.h"

/* Kinds that can stand for a server or a client: what a process made, and what it was shown. */
#define DCM_KINDS_IDENTITY                                                                         \
	(1u << DCM_KIND_TASK | 1u << DCM_KIND_USER | 1u << DCM_KIND_CALLABLE |                     \
	 1u << DCM_KIND_IDENTITY)

#define DCM_OWN_PROCESS UINT32_MAX

/* Behind DCM_KIND_TASK, _USER, _CALLABLE and _IDENTITY. */
struct dcm_identity {
	struct dcm_kernel_object kernel;
	void *context; /* the program's; not followed */
	/* Whose it is: slot of the peer in the process table, or DCM_OWN_PROCESS. */
	uint32_t process;
	uint32_t riid; /* of a callable, else INVALID_RIID */
	uint64_t process_generation;
	struct dcm_object *listener; /* of a callable: held; else null */
};

/* A random number other than 0, drawn at first use and again in a forked child. */
uint64_t dcm_sid_base(void);
/* A SID that nothing had yet; never 0. */
Sid dcm_sid_next(void);

/*
 * dcm_identity_new() - the descendant of somebody else's handle that this process gets to hold
 * @process: the peer
 * @gift:    by which it was shown
 * The caller holds the fabric of that process.
 * Return: rcOk with *@out set; rcOutOfMemory, rcQuotaExceeded with the detail set.
 */
Retcode dcm_identity_new(Sid sid, struct dcm_ref process, struct dcm_gift gift, Handle *out);

/* dcm_identity_forked() - in a forked child: another base, another handle of the process's own */
void dcm_identity_forked(void);

#endif
