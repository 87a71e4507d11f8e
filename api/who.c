/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/who.h"

#include "api/identity.h"
#include "api/retcode.h"

Retcode dcm_who_is(Handle handle, uint32_t rights, const char *what, struct dcm_who *out)
{
	struct dcm_kernel_object *kernel;
	Retcode rc = dcm_kernel_find_as(handle, DCM_KINDS_IDENTITY, rights, what, &kernel);
	const struct dcm_identity *identity = (const struct dcm_identity *)kernel;

	if (rc != rcOk)
		return rc;
	*out = (struct dcm_who){ .sid = identity->kernel.sid,
				 .elsewhere = identity->process != DCM_OWN_PROCESS,
				 .process = { identity->process, identity->process_generation } };
	dcm_object_drop(&kernel->object);
	return rc;
}

Retcode dcm_who_name(const char *name, bool optional, const char *what)
{
	if ((name == NULL && optional) || dcm_name_valid(name))
		return rcOk;
	return dcm_fail(rcInvalidArgument,
			"%s %s: a name is 1 to 255 bytes of UTF-8 without control characters", what,
			name == NULL ? "is null" : "is not a name");
}
