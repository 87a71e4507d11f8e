/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/object.h"

#include <coresrv/handle/notice_api.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/gift.h"
#include "api/retcode.h"

/* Never in the table. */
static const struct dcm_object_type resource_type = { .kind = DCM_KIND_RESOURCE };

static struct dcm_kernel_object *kernel_of(struct dcm_object *object)
{
	return (struct dcm_kernel_object *)(void *)object;
}

void dcm_kernel_tells(struct dcm_kernel_object *kernel, const struct dcm_source_type *type)
{
	dcm_source_init(&kernel->resource->source, type, &kernel->resource->object);
}

struct dcm_source *dcm_kernel_source(struct dcm_object *object)
{
	struct dcm_source *source = &kernel_of(object)->resource->source;

	return source->type != NULL ? source : NULL;
}

void dcm_kernel_destroyed(struct dcm_kernel_object *kernel)
{
	struct dcm_source *source = dcm_kernel_source(&kernel->object);

	if (source == NULL)
		return;
	dcm_source_end(source, EVENT_OBJECT_DESTROYED);
}

/* Closed or revoked, whichever was first: calls that go on through it end, and with the last handle
   the resource is gone. */
static void left(struct dcm_kernel_object *kernel)
{
	bool last = dcm_add(&kernel->resource->handles, UINT32_MAX) == 1;

	if (kernel->object.type->left != NULL)
		kernel->object.type->left(&kernel->object, last);
	else if (last)
		dcm_kernel_destroyed(kernel);
}

static void revoke(struct dcm_object *object)
{
	struct dcm_source *source = dcm_source_of(object);

	dcm_or(&kernel_of(object)->gone, (uint32_t)DCM_HANDLE_REVOKED);
	left(kernel_of(object));
	/* Behind that: the last handle's entries are told that the resource is gone. */
	if (source != NULL)
		/* It may be given its number at this moment, and nothing was made through it then. */
		dcm_source_revoke(source, __atomic_load_n(&object->number, __ATOMIC_RELAXED));
}

void dcm_kernel_close(struct dcm_object *object)
{
	dcm_or(&kernel_of(object)->gone, (uint32_t)DCM_HANDLE_CLOSED);
	if (dcm_tree_leave(&kernel_of(object)->node))
		left(kernel_of(object));
	dcm_giving_close(kernel_of(object));
}

void dcm_kernel_release(struct dcm_object *object)
{
	dcm_object_drop(&kernel_of(object)->resource->object);
}

void dcm_kernel_forget(struct dcm_object *object)
{
	struct dcm_source *source = dcm_kernel_source(object);

	if (source != NULL)
		dcm_source_forked(source);
	dcm_kernel_release(object);
}

static struct dcm_resource *resource_new(void)
{
	return (struct dcm_resource *)(void *)dcm_object_new(&resource_type,
							     sizeof(struct dcm_resource));
}

/* The resource first: no object is ever without one. */
struct dcm_kernel_object *dcm_kernel_new(const struct dcm_object_type *type, size_t bytes,
					 const struct dcm_kernel_object *of)
{
	struct dcm_resource *resource = of != NULL ? of->resource : resource_new();
	struct dcm_kernel_object *kernel;

	if (of != NULL)
		dcm_object_hold(&resource->object);
	kernel = resource != NULL ? kernel_of(dcm_object_new(type, bytes)) : NULL;
	if (kernel != NULL) {
		kernel->resource = resource;
		kernel->sid = of != NULL ? of->sid : 0;
		return kernel;
	}
	if (resource != NULL)
		dcm_object_drop(&resource->object);
	(void)dcm_fail(rcOutOfMemory, "no memory for a handle");
	return NULL;
}

Retcode dcm_number(struct dcm_object *object)
{
	int result = dcm_handle_insert(object);

	if (result == -ENOSPC)
		return dcm_fail(rcQuotaExceeded,
				"the process has no handle left of 1048576 (fixed)");
	return result != 0 ? dcm_fail_errno(result, "no memory for a handle") : rcOk;
}

/* Into the tree first: who revokes an ancestor in between finds it there, and what it gets then is
   the number of a revoked handle. */
static Retcode enter(struct dcm_kernel_object *kernel, struct dcm_kernel_object *parent,
		     struct dcm_tally *tally)
{
	int result;

	kernel->node.object = &kernel->object;
	kernel->node.revoke = revoke;
	dcm_add(&kernel->resource->handles, 1u);
	result = dcm_tree_enter(&kernel->node, parent != NULL ? &parent->node : NULL, tally);
	if (result == 0)
		return rcOk;
	left(kernel);
	if (result == -ENOMEM)
		return dcm_fail(rcOutOfMemory, "no memory for a handle");
	return dcm_fail(rcInvalidArgument, "the handle was closed or revoked meanwhile");
}

Retcode dcm_kernel_insert(struct dcm_kernel_object *kernel, struct dcm_kernel_object *parent,
			  struct dcm_tally *tally, Handle *out)
{
	Retcode rc = enter(kernel, parent, tally);

	*out = INVALID_HANDLE;
	if (rc == rcOk) {
		rc = dcm_number(&kernel->object);
		if (rc != rcOk)
			dcm_kernel_close(&kernel->object);
		else if (tally != NULL)
			dcm_tree_confirm(&kernel->node, tally);
		if (rc == rcOk)
			*out = kernel->object.number;
	}
	dcm_object_drop(&kernel->object);
	return rc;
}

/* Adds to a list of words, as much as there is room for. */
static void put(char *list, size_t size, const char *between, const char *word)
{
	size_t used = strlen(list);

	snprintf(list + used, size - used, "%s%s", used == 0 ? "" : between, word);
}

static Retcode lacks(const char *what, uint32_t missing)
{
	static const struct {
		uint32_t right;
		const char *name;
	} names[] = {
		{ OCAP_HANDLE_TRANSFER, "OCAP_HANDLE_TRANSFER" },
		{ OCAP_HANDLE_COPY, "OCAP_HANDLE_COPY" },
		{ OCAP_HANDLE_GET_SID, "OCAP_HANDLE_GET_SID" },
		{ OCAP_HANDLE_GET_EVENT, "OCAP_HANDLE_GET_EVENT" },
		{ OCAP_HANDLE_SET_EVENT, "OCAP_HANDLE_SET_EVENT" },
		{ OCAP_IPC_CALL, "OCAP_IPC_CALL" },
	};
	char list[192] = "";

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if ((missing & names[i].right) != 0)
			put(list, sizeof list, " and ", names[i].name);
	return dcm_fail(rcNoCapability, "%s lacks %s", what, list);
}

Retcode dcm_kernel_refuse(const struct dcm_kernel_object *kernel, uint32_t rights, const char *what)
{
	if (dcm_kernel_revoked(kernel))
		return dcm_fail(rcHandleRevoked,
				"%s is revoked: all that is left to do with it is to close it",
				what);
	return lacks(what, rights & ~kernel->rights);
}

/* "not an open session or listener of this process" */
static Retcode no_such(uint32_t kinds, const char *what)
{
	static const char *const names[] = {
		[DCM_KIND_TASK] = "process's handle",
		[DCM_KIND_USER] = "user object",
		[DCM_KIND_CALLABLE] = "callable handle",
		[DCM_KIND_LISTENER] = "listener",
		[DCM_KIND_IDENTITY] = "peer's identity",
		[DCM_KIND_SESSION] = "session",
		[DCM_KIND_BADGE] = "badge",
	};
	char list[128] = "";

	for (unsigned kind = 0; kind < sizeof names / sizeof names[0]; kind++)
		if ((kinds >> kind & 1) != 0 && names[kind] != NULL)
			put(list, sizeof list, " or ", names[kind]);
	if (kinds == DCM_KINDS_HANDLE)
		return dcm_fail(rcInvalidArgument, "%s is not an open handle of this process",
				what);
	return dcm_fail(rcInvalidArgument, "%s is not an open %s of this process", what, list);
}

Retcode dcm_kernel_find_as(Handle number, uint32_t kinds, uint32_t rights, const char *what,
			   struct dcm_kernel_object **out)
{
	struct dcm_object *object = dcm_handle_find(number, kinds);
	Retcode rc;

	*out = NULL;
	if (object == NULL)
		return no_such(kinds, what);
	rc = dcm_kernel_check(kernel_of(object), rights, what);
	if (rc == rcOk)
		*out = kernel_of(object);
	else
		dcm_object_drop(object);
	return rc;
}

static struct dcm_node *forked_node_of(struct dcm_object *object)
{
	kernel_of(object)->giving = NULL; /* its gift is the parent's */
	return &kernel_of(object)->node;
}

void dcm_kernel_forked(void)
{
	dcm_giving_forked();
	dcm_tree_forked(DCM_KINDS_HANDLE, forked_node_of);
}
