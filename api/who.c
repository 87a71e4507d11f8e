/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/who.h"

#include "api/identity.h"
#include "api/retcode.h"

Retcode dcm_who_is(Handle handle, uint32_t rights, const char *what, struct dcm_who *out)
{
	struct dcm_object *object = dcm_handle_find(handle, DCM_KINDS_IDENTITY);
	const struct dcm_identity *identity = (const struct dcm_identity *)object;
	Retcode rc = rcOk;

	if (object == NULL)
		return dcm_fail(rcInvalidArgument, "%s is not an open handle that stands for a server "
						   "or client", what);
	*out = (struct dcm_who){ .sid = identity->kernel.sid,
				 .elsewhere = identity->process != DCM_OWN_PROCESS,
				 .process = { identity->process, identity->process_generation } };
	if ((identity->kernel.rights & rights) != rights)
		rc = dcm_fail(rcNoCapability,
			      "%s has rights 0x%x and needs 0x%x (coresrv/handle/handle_api.h)", what,
			      identity->kernel.rights, rights);
	dcm_object_drop(object);
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
