/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * who - what the functions of the base API take to say who somebody is, checked
 */
#ifndef DCM_API_WHO_H
#define DCM_API_WHO_H

#include <dcm/types.h>

#include "api/gift.h"
#include "shm/slot.h"

struct dcm_who {
	uint64_t sid;
	bool elsewhere;		/* of another process: */
	struct dcm_ref process; /* that one */
};

/*
 * dcm_who_is() - the identity behind a handle
 * @rights: that the handle must have
 * @what:   the parameter's name, for the detail
 * Return: rcOk; rcInvalidArgument (no such handle, or one that is nobody's identity),
 * rcHandleRevoked, rcNoCapability.
 */
Retcode dcm_who_is(Handle handle, uint32_t rights, const char *what, struct dcm_who *out);

/* dcm_who_found() - the identity behind a handle that this process was shown, revoked or not */
bool dcm_who_found(Handle handle, struct dcm_who *out);

/*
 * dcm_who_shows() - the same for a handle that this process shows itself by, in @fabric, and its gift
 * Return: rcOk with *@giving set, to be put; as dcm_who_is() and dcm_giving_get(), and null.
 */
Retcode dcm_who_shows(Handle handle, const char *what, struct dcm_fabric *fabric,
		      struct dcm_who *out, struct dcm_giving **giving);

/* dcm_who_name() - rcOk for a name, or for null where @optional; else rcInvalidArgument */
Retcode dcm_who_name(const char *name, bool optional, const char *what);

#endif
