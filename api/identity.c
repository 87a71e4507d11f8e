/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/identity.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <coresrv/handle/handle_api.h>
#include <coresrv/handle/notice_api.h>
#include <coresrv/task/task_api.h>

#include "api/fork.h"
#include "api/retcode.h"

#define RIGHTS_KNOWN                                                                               \
	(OCAP_HANDLE_TRANSFER | OCAP_HANDLE_COPY | OCAP_HANDLE_GET_SID | OCAP_HANDLE_GET_EVENT |   \
	 OCAP_HANDLE_SET_EVENT | 0xffff0000u)

struct KosTask {
	uint64_t number; /* of its handle; 0: not asked for yet */
};

static struct KosTask self;
static uint64_t sid_base; /* 0: not drawn yet */
static uint64_t sid_count;

static void release_identity(struct dcm_object *object)
{
	struct dcm_identity *identity = (struct dcm_identity *)(void *)object;

	if (identity->listener != NULL)
		dcm_object_drop(identity->listener);
}

static struct dcm_source *source_of_user(struct dcm_object *object)
{
	return &((struct dcm_identity *)(void *)object)->source;
}

static void close_user(struct dcm_object *object)
{
	dcm_source_fire(source_of_user(object), EVENT_OBJECT_DESTROYED);
	dcm_source_close(source_of_user(object));
}

static void forget_user(struct dcm_object *object)
{
	dcm_source_forked(source_of_user(object));
}

static const struct dcm_source_type user_events = {
	.events = EVENT_OBJECT_DESTROYED | 0xffff0000u,
};

static const struct dcm_object_type task_type = {
	.kind = DCM_KIND_TASK,
	.space = DCM_SPACE_HANDLE,
};

static const struct dcm_object_type user_type = {
	.kind = DCM_KIND_USER,
	.space = DCM_SPACE_HANDLE,
	.survives_fork = true,
	.close = close_user,
	.source = source_of_user,
};

/* As its listener does. */
static bool pins_callable(struct dcm_object *object)
{
	struct dcm_object *listener = ((struct dcm_identity *)(void *)object)->listener;

	return listener != NULL && listener->type->pins != NULL && listener->type->pins(listener);
}

/* Goes with its listener, whose channels a child has not. */
static const struct dcm_object_type callable_type = {
	.kind = DCM_KIND_CALLABLE,
	.space = DCM_SPACE_HANDLE,
	.close = close_user,
	.release = release_identity,
	.forget = forget_user,
	.pins = pins_callable,
	.source = source_of_user,
};

static const struct dcm_object_type identity_type = {
	.kind = DCM_KIND_IDENTITY,
	.space = DCM_SPACE_HANDLE,
	.survives_fork = true,
};

/* Where the kernel gives no random numbers: what differs from process to process anyway. */
static uint64_t poor_random(void)
{
	uint64_t n[2] = { 0, 0 };
	struct timespec now = { 0, 0 };
	const void *given = (const void *)(uintptr_t)getauxval(AT_RANDOM);

	if (given != NULL)
		memcpy(n, given, sizeof(n));
	clock_gettime(CLOCK_REALTIME, &now);
	n[0] ^= (uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec;
	n[1] ^= (uint64_t)getpid() << 32;
	n[0] = (n[0] ^ n[0] >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	n[1] = (n[1] ^ n[1] >> 27) * UINT64_C(0x94d049bb133111eb);
	return n[0] ^ n[1];
}

uint64_t dcm_sid_base(void)
{
	uint64_t base = __atomic_load_n(&sid_base, __ATOMIC_RELAXED), drawn = 0;
	int saved = errno;

	if (base != 0)
		return base;
	if (getrandom(&drawn, sizeof(drawn), GRND_NONBLOCK) != (ssize_t)sizeof(drawn))
		drawn = poor_random();
	errno = saved;
	if (drawn == 0)
		drawn = 1;
	if (__atomic_compare_exchange_n(&sid_base, &base, drawn, false, __ATOMIC_RELAXED,
					__ATOMIC_RELAXED))
		return drawn;
	return base; /* another thread's */
}

Sid dcm_sid_next(void)
{
	uint64_t base = dcm_sid_base();
	Sid sid;

	do
		sid = base + __atomic_fetch_add(&sid_count, 1, __ATOMIC_RELAXED);
	while (sid == 0);
	return sid;
}

void dcm_identity_forked(void)
{
	__atomic_store_n(&sid_base, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&sid_count, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&self.number, 0, __ATOMIC_RELAXED);
}

Retcode dcm_kernel_insert(struct dcm_kernel_object *object, Handle *out)
{
	Retcode rc = dcm_number(&object->object);

	*out = rc == rcOk ? object->object.number : INVALID_HANDLE;
	dcm_object_drop(&object->object);
	return rc;
}

Retcode dcm_number(struct dcm_object *object)
{
	int result = dcm_handle_insert(object);

	if (result == -ENOSPC)
		return dcm_fail(rcQuotaExceeded,
				"the process has no handle left of 1048576 (fixed)");
	return result != 0 ? dcm_fail_errno(result, "no memory for a handle") : rcOk;
}

static struct dcm_identity *identity_of(const struct dcm_object_type *type, uint32_t rights,
					Sid sid)
{
	struct dcm_identity *identity;

	identity = (struct dcm_identity *)(void *)dcm_object_new(type, sizeof(*identity));
	if (identity == NULL) {
		(void)dcm_fail(rcOutOfMemory, "no memory for a handle");
		return NULL;
	}
	identity->kernel.rights = rights;
	identity->kernel.sid = sid;
	identity->process = DCM_OWN_PROCESS;
	identity->riid = INVALID_RIID;
	return identity;
}

Retcode dcm_identity_new(Sid sid, uint32_t rights, uint32_t process, uint64_t process_generation,
			 Handle *out)
{
	struct dcm_identity *identity = identity_of(&identity_type, rights, sid);

	*out = INVALID_HANDLE;
	if (identity == NULL)
		return rcOutOfMemory;
	identity->process = process;
	identity->process_generation = process_generation;
	return dcm_kernel_insert(&identity->kernel, out);
}

KosTask *KosTaskGetSelf(void)
{
	return &self;
}

Handle KosTaskGetHandle(KosTask *task)
{
	struct dcm_identity *identity;
	uint64_t number = 0;
	Handle made;

	dcm_fork_check();
	if (task != &self) {
		(void)dcm_fail(rcInvalidArgument, "not a task from KosTaskGetSelf()");
		return INVALID_HANDLE;
	}
	number = __atomic_load_n(&self.number, __ATOMIC_ACQUIRE);
	if (number != 0)
		return number;
	identity = identity_of(&task_type,
			       OCAP_HANDLE_TRANSFER | OCAP_HANDLE_GET_SID | OCAP_HANDLE_COPY |
				       OCAP_HANDLE_GET_EVENT,
			       dcm_sid_next());
	if (identity == NULL || dcm_kernel_insert(&identity->kernel, &made) != rcOk)
		return INVALID_HANDLE;
	if (__atomic_compare_exchange_n(&self.number, &number, made, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE))
		return made;
	/* Another thread was first; nobody has seen ours. */
	(void)dcm_handle_close(made, 1u << DCM_KIND_TASK);
	return number;
}

static Retcode check_user_object(uint32_t type, uint32_t rights, Handle *outHandle)
{
	if (outHandle == NULL)
		return dcm_fail(rcInvalidArgument, "outHandle is null");
	*outHandle = INVALID_HANDLE;
	if (type < HANDLE_TYPE_USER_FIRST || type > HANDLE_TYPE_USER_LAST)
		return dcm_fail(rcInvalidArgument,
				"type 0x%" PRIx32 " is not between 0x%x and 0x%x", type,
				HANDLE_TYPE_USER_FIRST, HANDLE_TYPE_USER_LAST);
	if ((rights & ~RIGHTS_KNOWN) != 0)
		return dcm_fail(rcInvalidArgument, "rights 0x%" PRIx32 " do not exist",
				rights & ~RIGHTS_KNOWN);
	return rcOk;
}

Retcode KnHandleCreateUserObject(uint32_t type, uint32_t rights, void *context, Handle *outHandle)
{
	return KnHandleCreateUserObjectEx(type, rights, context, INVALID_HANDLE, INVALID_RIID,
					  outHandle);
}

Retcode KnHandleCreateUserObjectEx(uint32_t type, uint32_t rights, void *context, Handle ipcChannel,
				   uint32_t riid, Handle *outHandle)
{
	bool callable = ipcChannel != INVALID_HANDLE;
	struct dcm_object *listener = NULL;
	struct dcm_identity *identity;
	Retcode rc;

	dcm_fork_check();
	rc = check_user_object(type, rights, outHandle);
	if (rc != rcOk)
		return rc;
	if (callable != (riid != INVALID_RIID))
		return dcm_fail(rcInvalidArgument, callable ? "a listener without a riid"
							    : "a riid without a listener");
	if (callable) {
		listener = dcm_handle_find(ipcChannel, 1u << DCM_KIND_LISTENER);
		if (listener == NULL)
			return dcm_fail(rcInvalidArgument,
					"ipcChannel is not a listener, or closed");
	}
	identity = identity_of(callable ? &callable_type : &user_type, rights, dcm_sid_next());
	if (identity == NULL) {
		if (listener != NULL)
			dcm_object_drop(listener);
		return rcOutOfMemory;
	}
	dcm_source_init(&identity->source, &user_events, &identity->kernel.object);
	identity->context = context;
	identity->riid = riid;
	identity->listener = listener;
	return dcm_kernel_insert(&identity->kernel, outHandle);
}

Retcode KnHandleClose(Handle handle)
{
	struct dcm_object *task;

	dcm_fork_check();
	if (dcm_handle_close(handle, DCM_KINDS_HANDLE & ~(1u << DCM_KIND_TASK)))
		return rcOk;
	task = dcm_handle_find(handle, 1u << DCM_KIND_TASK);
	if (task == NULL)
		return dcm_fail(rcInvalidArgument, "not a handle, or closed");
	dcm_object_drop(task);
	return rcOk;
}

Retcode KnHandleGetSidByHandle(Handle handle, Sid *outSid)
{
	struct dcm_kernel_object *object;
	Retcode rc = rcOk;

	dcm_fork_check();
	if (outSid == NULL)
		return dcm_fail(rcInvalidArgument, "outSid is null");
	object = (struct dcm_kernel_object *)(void *)dcm_handle_find(handle, DCM_KINDS_HANDLE);
	if (object == NULL)
		return dcm_fail(rcInvalidArgument, "not a handle, or closed");
	if ((object->rights & OCAP_HANDLE_GET_SID) != 0)
		*outSid = object->sid;
	else
		rc = dcm_fail(rcNoCapability, "the handle lacks OCAP_HANDLE_GET_SID");
	dcm_object_drop(&object->object);
	return rc;
}
