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

#include "api/attach.h"
#include "api/fork.h"
#include "api/retcode.h"
#include "shm/process.h"

struct KosTask {
	uint64_t number; /* of its handle; 0: not asked for yet */
};

static struct KosTask self;
static uint64_t sid_base; /* 0: not drawn yet */
static uint64_t sid_count;

static struct dcm_identity *identity_of(struct dcm_object *object)
{
	return (struct dcm_identity *)(void *)object;
}

static void release_identity(struct dcm_object *object)
{
	if (identity_of(object)->listener != NULL)
		dcm_object_drop(identity_of(object)->listener);
	dcm_kernel_release(object);
}

/* Another handle of the same resource; @type: what it is. */
static struct dcm_object *copy_as(const struct dcm_object_type *type,
				  const struct dcm_object *object)
{
	const struct dcm_identity *from = (const struct dcm_identity *)(const void *)object;
	struct dcm_kernel_object *kernel = dcm_kernel_new(type, sizeof *from, &from->kernel);
	struct dcm_identity *copy = (struct dcm_identity *)(void *)kernel;

	if (copy == NULL)
		return NULL;
	copy->context = from->context;
	copy->process = from->process;
	copy->process_generation = from->process_generation;
	copy->riid = from->riid;
	copy->listener = from->listener;
	dcm_store(&copy->kernel.gone, dcm_load(&from->kernel.gone, relaxed) & DCM_HANDLE_SHOWN,
		  relaxed);
	if (copy->listener != NULL)
		dcm_object_hold(copy->listener);
	return &kernel->object;
}

static struct dcm_object *copy_identity(const struct dcm_object *object)
{
	return copy_as(object->type, object);
}

/* A copy of the process's own handle: it can be closed, and a child has no use for it either. */
static const struct dcm_object_type task_copy_type = {
	.kind = DCM_KIND_USER,
	.space = DCM_SPACE_HANDLE,
	.close = dcm_kernel_close,
	.release = dcm_kernel_release,
	.forget = dcm_kernel_forget,
	.copy = copy_identity,
};

static struct dcm_object *copy_task(const struct dcm_object *object)
{
	return copy_as(&task_copy_type, object);
}

static const struct dcm_source_type user_events = {
	.events = EVENT_OBJECT_DESTROYED | 0xffff0000u,
};

static const struct dcm_object_type task_type = {
	.kind = DCM_KIND_TASK,
	.space = DCM_SPACE_HANDLE,
	.close = dcm_kernel_close,
	.release = dcm_kernel_release,
	.forget = dcm_kernel_forget,
	.copy = copy_task,
};

static const struct dcm_object_type user_type = {
	.kind = DCM_KIND_USER,
	.space = DCM_SPACE_HANDLE,
	.survives_fork = true,
	.close = dcm_kernel_close,
	.release = dcm_kernel_release,
	.source = dcm_kernel_source,
	.copy = copy_identity,
};

/* As its listener does. */
static bool pins_callable(struct dcm_object *object)
{
	struct dcm_object *listener = identity_of(object)->listener;

	return listener != NULL && listener->type->pins != NULL && listener->type->pins(listener);
}

/* Goes with its listener, whose channels a child has not. */
static const struct dcm_object_type callable_type = {
	.kind = DCM_KIND_CALLABLE,
	.space = DCM_SPACE_HANDLE,
	.close = dcm_kernel_close,
	.release = release_identity,
	.forget = dcm_kernel_forget,
	.pins = pins_callable,
	.source = dcm_kernel_source,
	.copy = copy_identity,
};

/* Without a bell: the keeper looks at each once a second. */
static uint32_t look_at_peer(struct dcm_object *object, uint64_t *stamp)
{
	struct dcm_resource *resource = (struct dcm_resource *)(void *)object;
	struct dcm_fabric *fabric = dcm_fabric_peek(resource->attachment);
	bool there;

	*stamp = 0;
	if (fabric == NULL)
		return 0; /* nothing is known of it from here, now */
	there = dcm_process_there(&fabric->seg, resource->process);
	dcm_fabric_drop(fabric);
	return there || dcm_shown_revoked(resource) ? 0 : EVENT_OBJECT_DESTROYED;
}

/* That nobody here has a handle of it any more is not its end. */
static void left_peer(struct dcm_object *object, bool last)
{
	if (last)
		dcm_source_close(dcm_kernel_source(object));
}

static const struct dcm_source_type peer_events = {
	.events = EVENT_OBJECT_DESTROYED,
	.look = look_at_peer,
};

static const struct dcm_object_type identity_type = {
	.kind = DCM_KIND_IDENTITY,
	.space = DCM_SPACE_HANDLE,
	.survives_fork = true,
	.close = dcm_kernel_close,
	.release = dcm_kernel_release,
	.left = left_peer,
	.source = dcm_kernel_source,
	.copy = copy_identity,
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

static struct dcm_identity *identity_new(const struct dcm_object_type *type, uint32_t rights,
					 Sid sid)
{
	struct dcm_identity *identity;

	identity = (struct dcm_identity *)(void *)dcm_kernel_new(type, sizeof(*identity), NULL);
	if (identity == NULL)
		return NULL;
	identity->kernel.rights = rights;
	identity->kernel.sid = sid;
	identity->process = DCM_OWN_PROCESS;
	identity->riid = INVALID_RIID;
	return identity;
}

Retcode dcm_identity_new(Sid sid, struct dcm_ref process, struct dcm_gift gift, Handle *out)
{
	struct dcm_identity *identity =
		identity_new(&identity_type, OCAP_HANDLE_GET_SID | OCAP_HANDLE_GET_EVENT, sid);

	*out = INVALID_HANDLE;
	if (identity == NULL)
		return rcOutOfMemory;
	identity->process = process.index;
	identity->process_generation = process.generation;
	dcm_store(&identity->kernel.gone, (uint32_t)DCM_HANDLE_SHOWN, relaxed);
	identity->kernel.resource->process = process;
	identity->kernel.resource->gift = gift;
	identity->kernel.resource->attachment = dcm_fabric_attachment();
	dcm_kernel_tells(&identity->kernel, &peer_events);
	return dcm_kernel_insert(&identity->kernel, NULL, NULL, out);
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
	identity = identity_new(&task_type,
				OCAP_HANDLE_TRANSFER | OCAP_HANDLE_GET_SID | OCAP_HANDLE_COPY |
					OCAP_HANDLE_GET_EVENT,
				dcm_sid_next());
	if (identity == NULL || dcm_kernel_insert(&identity->kernel, NULL, NULL, &made) != rcOk)
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
	if ((rights & ~DCM_RIGHTS_KNOWN) != 0)
		return dcm_fail(rcInvalidArgument, "rights 0x%" PRIx32 " do not exist",
				rights & ~DCM_RIGHTS_KNOWN);
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
	struct dcm_kernel_object *listener = NULL;
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
		rc = dcm_kernel_find_as(ipcChannel, 1u << DCM_KIND_LISTENER, 0, "ipcChannel",
					&listener);
		if (rc != rcOk)
			return rc;
	}
	identity = identity_new(callable ? &callable_type : &user_type, rights, dcm_sid_next());
	if (identity == NULL) {
		if (listener != NULL)
			dcm_object_drop(&listener->object);
		return rcOutOfMemory;
	}
	dcm_kernel_tells(&identity->kernel, &user_events);
	identity->context = context;
	identity->riid = riid;
	identity->listener = callable ? &listener->object : NULL;
	return dcm_kernel_insert(&identity->kernel, NULL, NULL, outHandle);
}
