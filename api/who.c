/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/who.h"

#include "api/identity.h"
#include "api/retcode.h"

static struct dcm_who who_of(const struct dcm_kernel_object *kernel)
{
	const struct dcm_identity *identity = (const struct dcm_identity *)kernel;

	return (struct dcm_who){ .sid = kernel->sid,
				 .elsewhere = identity->process != DCM_OWN_PROCESS,
				 .process = { identity->process, identity->process_generation } };
}

Retcode dcm_who_is(Handle handle, uint32_t rights, const char *what, struct dcm_who *out)
{
	struct dcm_kernel_object *kernel;
	Retcode rc = dcm_kernel_find_as(handle, DCM_KINDS_IDENTITY, rights, what, &kernel);

	if (rc != rcOk)
		return rc;
	*out = who_of(kernel);
	dcm_object_drop(&kernel->object);
	return rc;
}

bool dcm_who_found(Handle handle, struct dcm_who *out)
{
	struct dcm_object *object = dcm_handle_find(handle, 1u << DCM_KIND_IDENTITY);

	if (object == NULL)
		return false;
	*out = who_of((struct dcm_kernel_object *)object);
	dcm_object_drop(object);
	return true;
}

Retcode dcm_who_shows(Handle handle, const char *what, struct dcm_fabric *fabric,
		      struct dcm_who *out, struct dcm_giving **giving)
{
	struct dcm_kernel_object *kernel;
	Retcode rc = dcm_kernel_find_as(handle, DCM_KINDS_IDENTITY,
					OCAP_HANDLE_TRANSFER | OCAP_HANDLE_GET_SID, what, &kernel);

	*giving = NULL;
	if (rc != rcOk)
		return rc;
	*out = who_of(kernel);
	rc = dcm_giving_get(kernel, fabric, giving);
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
