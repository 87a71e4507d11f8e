/* SPDX-License-Identifier: BSD-2-Clause */
/* group_subscribe - subscriptions to groups: which servers have all of several interfaces */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <dcm/dcm_api.h>
#include <dcm/groups/subscr.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api/attach.h"
#include "api/fork.h"
#include "api/full.h"
#include "api/group_known.h"
#include "api/guard.h"
#include "api/identity.h"
#include "api/retcode.h"
#include "api/source.h"
#include "api/wait.h"
#include "api/who.h"
#include "shm/hash.h"
#include "shm/reap.h"

/* Behind DCM_KIND_GROUP_SUBSCRIPTION. */
struct dcm_group_subscription {
	struct dcm_object object;
	struct dcm_blocker blocker;
	struct dcm_source source;
	struct dcm_fabric *fabric; /* counted */
	struct dcm_ref ref;
	char **types;
	uint64_t *hashes;
	size_t count; /* of both */
	pthread_mutex_t lock;
	struct dcm_group_known *known; /* under lock */
};

static_assert(offsetof(struct dcm_group_subscription, blocker) ==
		      offsetof(struct dcm_blockable, blocker),
	      "blockable");

static void close_subscription(struct dcm_object *object)
{
	struct dcm_group_subscription *s = (struct dcm_group_subscription *)object;

	dcm_source_close(&s->source);
	dcm_wait_close(&s->blocker);
	/* A reader may be in the ring this moment: its slot stays until it is out. */
	pthread_mutex_lock(&s->lock);
	dcm_registry_unsubscribe(&s->fabric->seg, s->ref, s->fabric->self.index,
				 s->fabric->self.index);
	pthread_mutex_unlock(&s->lock);
}

static void free_private(struct dcm_group_subscription *s)
{
	if (s->known != NULL)
		dcm_group_known_destroy(s->known);
	for (size_t i = 0; s->types != NULL && i < s->count; i++)
		free(s->types[i]);
	free(s->types);
	free(s->hashes);
}

static void forget_subscription(struct dcm_object *object)
{
	struct dcm_group_subscription *s = (struct dcm_group_subscription *)object;

	dcm_source_forked(&s->source);
	free_private(s);
}

static void release_subscription(struct dcm_object *object)
{
	struct dcm_group_subscription *s = (struct dcm_group_subscription *)object;

	free_private(s);
	pthread_mutex_destroy(&s->lock);
	if (s->fabric != NULL)
		dcm_fabric_drop(s->fabric);
}

static struct dcm_source *source_of_subscription(struct dcm_object *object)
{
	return &((struct dcm_group_subscription *)object)->source;
}

static uint32_t look_at_subscription(struct dcm_object *object, uint64_t *stamp)
{
	struct dcm_group_subscription *s = (struct dcm_group_subscription *)object;
	bool there;

	pthread_mutex_lock(&s->lock);
	there = dcm_group_known_look(s->known, &s->fabric->seg, s->ref, stamp);
	pthread_mutex_unlock(&s->lock);
	/* A call says so when the segment is lost. */
	return there || dcm_guard_lost() ? DCM_PUBLICATION_CHANGED : 0;
}

static dcm_atomic32 *bell_of_subscription(struct dcm_object *object)
{
	struct dcm_group_subscription *s = (struct dcm_group_subscription *)object;

	return &dcm_subscription_at(&s->fabric->seg, s->ref.index)->bell;
}

static const struct dcm_source_type group_source = {
	.events = DCM_PUBLICATION_CHANGED | DCM_BLOCKING_CALL_INTERRUPTED,
	.readable = DCM_PUBLICATION_CHANGED,
	.look = look_at_subscription,
	.bell = bell_of_subscription,
};

static const struct dcm_object_type group_type = {
	.kind = DCM_KIND_GROUP_SUBSCRIPTION,
	.space = DCM_SPACE_DCM,
	.close = close_subscription,
	.release = release_subscription,
	.forget = forget_subscription,
	.source = source_of_subscription,
};

static bool copy_types(struct dcm_group_subscription *s, const char *const *types, size_t count)
{
	s->types = calloc(count, sizeof *s->types);
	s->hashes = calloc(count, sizeof *s->hashes);
	s->count = count;
	if (s->types == NULL || s->hashes == NULL)
		return false;
	for (size_t i = 0; i < count; i++) {
		s->types[i] = strdup(types[i]);
		if (s->types[i] == NULL)
			return false;
		s->hashes[i] = dcm_hash(types[i]);
	}
	return true;
}

/* None of the names twice. */
static Retcode check_distinct(const struct dcm_group_subscription *s)
{
	for (size_t i = 0; i < s->count; i++)
		for (size_t k = 0; k < i; k++)
			if (s->hashes[i] == s->hashes[k] && strcmp(s->types[i], s->types[k]) == 0)
				return dcm_fail(rcInvalidArgument,
						"endpointTypes has %s twice: a group has one "
						"endpoint of each interface",
						s->types[i]);
	return rcOk;
}

static Retcode make_active(struct dcm_group_subscription *s)
{
	const struct dcm_segment *seg = &s->fabric->seg;
	uint32_t self = s->fabric->self.index;

	if (dcm_registry_subscribe_group(seg, self, s->hashes, s->count, &s->ref))
		return rcOk;
	dcm_reap_scan(seg, self, true);
	if (dcm_registry_subscribe_group(seg, self, s->hashes, s->count, &s->ref))
		return rcOk;
	return dcm_fail_full(seg, &seg->subscription, "subscriptions", "DCM_MAX_SUBSCRIPTIONS");
}

static struct dcm_group_subscription *subscription_new(struct dcm_fabric *fabric)
{
	struct dcm_group_subscription *s =
		(struct dcm_group_subscription *)dcm_object_new(&group_type, sizeof *s);

	if (s == NULL)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	dcm_source_init(&s->source, &group_source, &s->object);
	dcm_fabric_hold(fabric);
	s->fabric = fabric;
	return s;
}

/* What is kept in private memory. */
static Retcode fill(struct dcm_group_subscription *s, const char *const *types, size_t count,
		    const char *server, uint64_t sid)
{
	Retcode rc;

	if (!copy_types(s, types, count))
		return dcm_fail(rcOutOfMemory, "no memory for a group of %zu interfaces", count);
	rc = check_distinct(s);
	if (rc != rcOk)
		return rc;
	s->known = dcm_group_known_create((const char *const *)s->types, s->hashes, count, server,
					  sid);
	return s->known != NULL
		       ? rcOk
		       : dcm_fail(rcOutOfMemory, "no memory for a group of %zu interfaces", count);
}

static Retcode subscribe(struct dcm_fabric *fabric, const char *const *types, size_t count,
			 const char *server, uint64_t sid, DcmHandle *out)
{
	struct dcm_group_subscription *s = subscription_new(fabric);
	Retcode rc;

	if (s == NULL)
		return dcm_fail(rcOutOfMemory, "no memory for a subscription");
	rc = fill(s, types, count, server, sid);
	if (rc == rcOk)
		rc = make_active(s);
	if (rc == rcOk) {
		rc = dcm_number(&s->object);
		if (rc != rcOk)
			dcm_registry_unsubscribe(&fabric->seg, s->ref, fabric->self.index,
						 fabric->self.index);
	}
	if (rc == rcOk)
		*out = s->object.number;
	dcm_object_drop(&s->object);
	return rc;
}

static Retcode check_types(const char *const *types, size_t count)
{
	Retcode rc = rcOk;

	if (types == NULL || count == 0)
		return dcm_fail(rcInvalidArgument, "a group needs at least one interface");
	for (size_t i = 0; rc == rcOk && i < count; i++)
		rc = dcm_who_name(types[i], false, "endpointTypes");
	return rc;
}

Retcode DcmSetGroupSubscription(const char *const *endpointTypes, size_t endpointsCount,
				const char *serverName, Handle serverHandle,
				DcmHandle *outSubscrHandle)
{
	struct dcm_fabric *fabric;
	struct dcm_who server = { .sid = 0 };
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	rc = dcm_fabric_enter(&fabric);
	if (rc != rcOk)
		return rc;
	rc = outSubscrHandle != NULL ? rcOk
				     : dcm_fail(rcInvalidArgument, "outSubscrHandle is null");
	if (rc == rcOk)
		rc = check_types(endpointTypes, endpointsCount);
	if (rc == rcOk)
		rc = dcm_who_name(serverName, true, "serverName");
	if (rc == rcOk && serverHandle != INVALID_HANDLE)
		rc = dcm_who_is(serverHandle, OCAP_HANDLE_GET_SID, "serverHandle", &server);
	if (rc == rcOk)
		rc = subscribe(fabric, endpointTypes, endpointsCount, serverName, server.sid,
			       outSubscrHandle);
	dcm_fabric_leave();
	errno = saved;
	return rc;
}

/* What a reader wants filled. */
struct reading {
	struct dcm_group_subscription *subscription;
	DcmPubStatus *status;
	Handle *server;
	char *server_name;
	DcmGroupEndpointInfo *endpoints;
	bool more; /* there is something new to tell, which came with the reading */
};

/* Under the lock. A notice whose server has no handle yet, for want of memory, was not told. */
static Retcode hand_out(struct reading *r, const struct dcm_group_notice *notice)
{
	const struct dcm_notice *first = notice->endpoints[0];
	Retcode rc = rcOk;

	if (r->server != NULL)
		rc = dcm_identity_new(first->sid, OCAP_HANDLE_GET_SID | OCAP_HANDLE_GET_EVENT,
				      first->process.index, first->process.generation, r->server);
	if (rc != rcOk)
		return rc;
	if (r->status != NULL)
		*r->status = notice->published ? DCM_PUBLISHED : DCM_UNPUBLISHED;
	if (r->server_name != NULL)
		strcpy(r->server_name, first->server);
	for (size_t i = 0; r->endpoints != NULL && i < r->subscription->count; i++) {
		strcpy(r->endpoints[i].endpointType, r->subscription->types[i]);
		strcpy(r->endpoints[i].endpointName, notice->endpoints[i]->name);
	}
	r->more = dcm_group_known_told(r->subscription->known);
	return rcOk;
}

/* Under the lock. */
static Retcode read_now(struct reading *r)
{
	struct dcm_group_subscription *s = r->subscription;
	struct dcm_group_notice notice;
	int result;

	if (dcm_load(&s->blocker.closed, seq) != 0)
		return dcm_fail(rcNotConnected, "the subscription was closed");
	result = dcm_group_known_next(s->known, &s->fabric->seg, s->ref, &notice);
	if (result == -EAGAIN)
		return DCM_LOOK_AGAIN;
	if (result < 0)
		return dcm_fail(rcOutOfMemory,
				"no memory for a notice: it is read by a later call");
	/* Zero pages look as if all endpoints were withdrawn: that is no news. */
	return dcm_guard_lost() ? rcFail : hand_out(r, &notice);
}

static Retcode look_for_notice(void *arg, struct dcm_wait_on *on)
{
	struct reading *r = arg;
	struct dcm_group_subscription *s = r->subscription;
	Retcode rc;

	dcm_wait_on_count(on, &dcm_subscription_at(&s->fabric->seg, s->ref.index)->ec);
	pthread_mutex_lock(&s->lock);
	rc = read_now(r);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static Retcode read_notice(struct reading *r, DcmTimeout timeout)
{
	struct dcm_group_subscription *s = r->subscription;
	uint32_t pulses = dcm_source_pulses(&s->source);
	Retcode rc = dcm_wait_for(&s->blocker, dcm_wait_ns(timeout), false, look_for_notice, r);

	if (r->more)
		dcm_source_check(&s->source);
	if (rc == rcTimeout) {
		dcm_source_drained(&s->source, pulses);
		return dcm_fail(rc, "no notice came in time");
	}
	if (rc == rcIpcInterrupt)
		return dcm_fail(rc, "interrupted by DcmInterruptBlockingCall");
	if (rc == rcNotConnected)
		return dcm_fail(rc, "the subscription was closed");
	return rc;
}

Retcode DcmReadGroupPubQueue(DcmHandle subscrHandle, DcmTimeout timeout, size_t maxCount,
			     DcmPubStatus *outPubStatus, Handle *outServerHandle,
			     char *outServerName, DcmGroupEndpointInfo *outEndpoints)
{
	struct reading r = { .status = outPubStatus,
			     .server = outServerHandle,
			     .server_name = outServerName,
			     .endpoints = outEndpoints };
	struct dcm_object *object;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	rc = dcm_fabric_check();
	if (rc != rcOk)
		return rc;
	object = dcm_handle_find(subscrHandle, 1u << DCM_KIND_GROUP_SUBSCRIPTION);
	if (object == NULL)
		return dcm_fail(rcInvalidArgument, "not an open group subscription of this process "
						   "(DcmReadPubQueue reads others)");
	r.subscription = (struct dcm_group_subscription *)object;
	rc = outEndpoints == NULL || maxCount >= r.subscription->count
		     ? read_notice(&r, timeout)
		     : dcm_fail(rcBufferTooSmall,
				"maxCount is %zu, and the group has %zu interfaces", maxCount,
				r.subscription->count);
	dcm_object_drop(object);
	errno = saved;
	return rc;
}
