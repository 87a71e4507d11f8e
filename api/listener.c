/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <dcm/fabric.h>
#include <errno.h>
#include <stdlib.h>

#include "api/fork.h"
#include "api/guard.h"
#include "api/retcode.h"
#include "api/server.h"
#include "shm/baton.h"
#include "shm/listener.h"

/* Hang up on every channel that came over this listener. */
static void hang_up_all(struct dcm_listener_object *listener)
{
	for (uint32_t i = 0; i < listener->fabric->seg.connection.count; i++) {
		uint64_t number = dcm_swap(&listener->ends[i], 0ull);
		struct dcm_object *end;

		if (number == 0)
			continue;
		end = dcm_handle_find(number, 1u << DCM_KIND_CHANNEL);
		if (end == NULL)
			continue;
		dcm_server_end_hang_up((struct dcm_server_end *)end, DCM_SERVER_GONE);
		dcm_object_drop(end);
	}
}

static void close_listener(struct dcm_object *object)
{
	struct dcm_listener_object *listener = (struct dcm_listener_object *)object;
	bool bound;

	dcm_source_close(&listener->source);
	dcm_kernel_close(object);
	pthread_mutex_lock(&listener->lock);
	listener->closed = true; /* no accept comes in behind this */
	bound = dcm_load(&listener->bound, acquire) != 0;
	pthread_mutex_unlock(&listener->lock);
	dcm_wait_close(&listener->blocker);
	if (!bound)
		return;
	hang_up_all(listener);
	dcm_listener_shut(&listener->fabric->seg, listener->ref, listener->fabric->self.index,
			  listener->fabric->self.index);
}

static void release_listener(struct dcm_object *object)
{
	struct dcm_listener_object *listener = (struct dcm_listener_object *)object;

	pthread_mutex_destroy(&listener->lock);
	if (listener->fabric != NULL)
		dcm_fabric_drop(listener->fabric);
	dcm_kernel_release(object);
}

static void reclaim_listener(struct dcm_object *object)
{
	free(((struct dcm_listener_object *)object)->ends);
}

static void forget_listener(struct dcm_object *object)
{
	dcm_source_forked(&((struct dcm_listener_object *)object)->source);
	dcm_kernel_forget(object);
}

static bool is_bound(struct dcm_object *object)
{
	return dcm_load(&((struct dcm_listener_object *)object)->bound, acquire) != 0;
}

static struct dcm_source *source_of_listener(struct dcm_object *object)
{
	return &((struct dcm_listener_object *)object)->source;
}

static uint32_t look_at_listener(struct dcm_object *object, uint64_t *stamp)
{
	struct dcm_listener_object *listener = (struct dcm_listener_object *)object;

	*stamp = 0; /* no event tells of it */
	if (!is_bound(object))
		return 0;
	return dcm_listener_any_but(&listener->fabric->seg, listener->ref,
				    dcm_load(&listener->reach, seq), DCM_LISTENER_SKIPS_NONE) ||
			       dcm_guard_lost()
		       ? DCM_SOURCE_READY
		       : 0;
}

static void pass_on_listener(struct dcm_object *object)
{
	struct dcm_listener_object *listener = (struct dcm_listener_object *)object;
	uint64_t stamp;

	if (look_at_listener(object, &stamp) != 0)
		dcm_baton_pass(&dcm_listener_at(&listener->fabric->seg, listener->ref.index)->ec);
}

/* From the first accept on, which has the source looked at again. */
static dcm_atomic32 *bell_of_listener(struct dcm_object *object)
{
	struct dcm_listener_object *listener = (struct dcm_listener_object *)object;

	return is_bound(object)
		       ? &dcm_listener_at(&listener->fabric->seg, listener->ref.index)->bell
		       : NULL;
}

static const struct dcm_source_type listener_source = {
	.readable = DCM_SOURCE_READY,
	.look = look_at_listener,
	.bell = bell_of_listener,
};

const struct dcm_object_type dcm_listener_type = {
	.kind = DCM_KIND_LISTENER,
	.space = DCM_SPACE_HANDLE,
	.close = close_listener,
	.release = release_listener,
	.reclaim = reclaim_listener,
	.forget = forget_listener,
	.pins = is_bound,
	.source = source_of_listener,
	.pass_on = pass_on_listener,
};

Retcode KnHandleCreateListener(Handle *outListener)
{
	struct dcm_listener_object *listener;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	if (outListener == NULL)
		return dcm_fail(rcInvalidArgument, "outListener is null");
	*outListener = INVALID_HANDLE;
	listener = (struct dcm_listener_object *)dcm_kernel_new(&dcm_listener_type,
								sizeof *listener, NULL);
	if (listener == NULL)
		return rcOutOfMemory;
	listener->kernel.rights = OCAP_HANDLE_GET_SID | OCAP_HANDLE_GET_EVENT;
	listener->kernel.sid = dcm_sid_next();
	pthread_mutex_init(&listener->lock, NULL);
	dcm_source_init(&listener->source, &listener_source, &listener->kernel.object);
	dcm_spin_set(&listener->first, DCM_WAIT_ADAPTIVE, -1);
	listener->first.times_more = 3;
	rc = dcm_kernel_insert(&listener->kernel, NULL, NULL, outListener);
	errno = saved;
	return rc;
}
