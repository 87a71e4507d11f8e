/* SPDX-License-Identifier: BSD-2-Clause */
#include <coresrv/handle/handle_api.h>
#include <dcm/dcm_api.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "api/attach.h"
#include "api/fork.h"
#include "api/full.h"
#include "api/guard.h"
#include "api/handle.h"
#include "api/identity.h"
#include "api/known.h"
#include "api/retcode.h"
#include "api/source.h"
#include "api/subscription.h"
#include "api/wait.h"
#include "api/who.h"
#include "shm/hash.h"
#include "shm/park.h"
#include "shm/reap.h"

/* Behind DCM_KIND_SUBSCRIPTION. */
struct dcm_subscription_object {
	struct dcm_object object;
	struct dcm_blocker blocker;
	struct dcm_source source;
	struct dcm_fabric *fabric; /* counted */
	struct dcm_ref ref;
	uint32_t bucket;
	pthread_mutex_t lock;
	struct dcm_known *known; /* under lock */
};

static void close_subscription(struct dcm_object *object)
{
	struct dcm_subscription_object *s = (struct dcm_subscription_object *)object;

	dcm_source_close(&s->source);
	dcm_wait_close(&s->blocker);
	/* A reader may be in the ring this moment: its slot stays until it is out. */
	pthread_mutex_lock(&s->lock);
	dcm_registry_unsubscribe(&s->fabric->seg, s->ref, s->fabric->self.index,
				 s->fabric->self.index);
	pthread_mutex_unlock(&s->lock);
}

static void forget_known(struct dcm_subscription_object *s)
{
	if (s->known != NULL)
		dcm_known_destroy(s->known);
	s->known = NULL;
}

static void forget_subscription(struct dcm_object *object)
{
	struct dcm_subscription_object *s = (struct dcm_subscription_object *)object;

	dcm_source_forked(&s->source);
	forget_known(s);
}

static void release_subscription(struct dcm_object *object)
{
	struct dcm_subscription_object *s = (struct dcm_subscription_object *)object;

	forget_known(s);
	pthread_mutex_destroy(&s->lock);
	if (s->fabric != NULL)
		dcm_fabric_drop(s->fabric);
}

static struct dcm_source *source_of_subscription(struct dcm_object *object)
{
	return &((struct dcm_subscription_object *)object)->source;
}

static uint32_t look_at_subscription(struct dcm_object *object, uint64_t *stamp)
{
	struct dcm_subscription_object *s = (struct dcm_subscription_object *)object;
	bool there;

	pthread_mutex_lock(&s->lock);
	there = dcm_known_look(s->known, &s->fabric->seg, s->ref, stamp);
	pthread_mutex_unlock(&s->lock);
	/* A call says so when the segment is lost. */
	return there || dcm_guard_lost() ? DCM_PUBLICATION_CHANGED : 0;
}

uint32_t dcm_subscription_waiting(DcmHandle subscription)
{
	struct dcm_object *object = dcm_handle_find(subscription, 1u << DCM_KIND_SUBSCRIPTION);
	struct dcm_subscription_object *s = (struct dcm_subscription_object *)object;
	uint32_t waiting;
	uint64_t made;

	if (object == NULL)
		return 0;
	pthread_mutex_lock(&s->lock);
	dcm_known_look(s->known, &s->fabric->seg, s->ref, &made);
	waiting = dcm_known_waiting(s->known);
	pthread_mutex_unlock(&s->lock);
	dcm_object_drop(object);
	return waiting;
}

static dcm_atomic32 *bell_of_subscription(struct dcm_object *object)
{
	struct dcm_subscription_object *s = (struct dcm_subscription_object *)object;

	return &dcm_subscription_at(&s->fabric->seg, s->ref.index)->bell;
}

static const struct dcm_source_type subscription_source = {
	.events = DCM_PUBLICATION_CHANGED | DCM_BLOCKING_CALL_INTERRUPTED,
	.readable = DCM_PUBLICATION_CHANGED,
	.look = look_at_subscription,
	.bell = bell_of_subscription,
};

static const struct dcm_object_type subscription_type = {
	.kind = DCM_KIND_SUBSCRIPTION,
	.space = DCM_SPACE_DCM,
	.close = close_subscription,
	.release = release_subscription,
	.forget = forget_subscription,
	.source = source_of_subscription,
};

static Retcode make_active(struct dcm_subscription_object *s, uint64_t type_hash)
{
	const struct dcm_segment *seg = &s->fabric->seg;
	uint32_t self = s->fabric->self.index;

	if (dcm_registry_subscribe(seg, self, type_hash, &s->ref))
		return rcOk;
	dcm_reap_scan(seg, self, true);
	if (dcm_registry_subscribe(seg, self, type_hash, &s->ref))
		return rcOk;
	return dcm_fail_full(seg, &seg->subscription, "subscriptions", "DCM_MAX_SUBSCRIPTIONS");
}

static Retcode subscribe(struct dcm_fabric *fabric, const char *type, const char *name,
			 const char *server, uint64_t sid, DcmHandle *out)
{
	struct dcm_subscription_object *s =
		(struct dcm_subscription_object *)dcm_object_new(&subscription_type, sizeof *s);
	uint64_t type_hash = dcm_hash(type);
	Retcode rc;

	if (s == NULL)
		return dcm_fail(rcOutOfMemory, "no memory for a subscription");
	pthread_mutex_init(&s->lock, NULL);
	dcm_source_init(&s->source, &subscription_source, &s->object);
	s->bucket = dcm_bucket_of(type_hash);
	s->known = dcm_known_create(type_hash, type, name, server, sid);
	dcm_fabric_hold(fabric);
	s->fabric = fabric;
	rc = s->known != NULL ? make_active(s, type_hash)
			      : dcm_fail(rcOutOfMemory, "no memory for a subscription");
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

Retcode DcmSetSubscription(const char *endpointType, const char *endpointName,
			   const char *serverName, Handle serverHandle, DcmHandle *outSubscrHandle)
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
		rc = dcm_who_name(endpointType, false, "endpointType");
	if (rc == rcOk)
		rc = dcm_who_name(endpointName, true, "endpointName");
	if (rc == rcOk)
		rc = dcm_who_name(serverName, true, "serverName");
	if (rc == rcOk && serverHandle != INVALID_HANDLE)
		rc = dcm_who_is(serverHandle, OCAP_HANDLE_GET_SID, "serverHandle", &server);
	if (rc == rcOk)
		rc = subscribe(fabric, endpointType, endpointName, serverName, server.sid,
			       outSubscrHandle);
	dcm_fabric_leave();
	errno = saved;
	return rc;
}

struct reading {
	struct dcm_subscription_object *subscription;
	struct dcm_notice *notice;
};

static Retcode look_for_notice(void *arg, struct dcm_wait_on *on)
{
	struct reading *r = arg;
	struct dcm_subscription_object *s = r->subscription;
	const struct dcm_segment *seg = &s->fabric->seg;
	int result;

	dcm_wait_on_count(on, dcm_bucket_ec(seg, s->bucket));
	pthread_mutex_lock(&s->lock);
	result = dcm_load(&s->blocker.closed, seq) != 0
			 ? -ECANCELED
			 : dcm_known_read(s->known, seg, s->ref, &r->notice);
	pthread_mutex_unlock(&s->lock);
	/* Zero pages look as if all endpoints were withdrawn: that is no news. */
	if (result == 0 && dcm_guard_lost()) {
		dcm_notice_free(r->notice);
		r->notice = NULL;
		return rcFail;
	}
	if (result == 0)
		return rcOk;
	if (result == -EAGAIN)
		return DCM_LOOK_AGAIN;
	return result == -ENOMEM ? rcOutOfMemory : rcNotConnected;
}

static Retcode read_notice(struct dcm_subscription_object *s, DcmTimeout timeout,
			   struct dcm_notice **out)
{
	struct reading r = { .subscription = s };
	uint32_t pulses = dcm_source_pulses(&s->source);
	Retcode rc = dcm_wait_for(&s->blocker, dcm_wait_ns(timeout), false, look_for_notice, &r);

	*out = r.notice;
	if (rc == rcOk)
		return rc;
	if (rc == rcTimeout) {
		dcm_source_drained(&s->source, pulses);
		return dcm_fail(rc, "no notice came in time");
	}
	if (rc == rcIpcInterrupt)
		return dcm_fail(rc, "interrupted by DcmInterruptBlockingCall");
	if (rc == rcOutOfMemory)
		return dcm_fail(rc, "no memory for a notice: it is read by a later call");
	if (rc == rcNotConnected)
		return dcm_fail(rc, "the subscription was closed");
	return rc;
}

/* A notice whose server has no handle yet for want of memory is not lost: it is read again. */
static Retcode hand_out(struct dcm_subscription_object *s, struct dcm_notice *notice, Handle *out)
{
	Retcode rc = dcm_identity_new(notice->sid, OCAP_HANDLE_GET_SID | OCAP_HANDLE_GET_EVENT,
				      notice->process.index, notice->process.generation, out);

	if (rc == rcOk)
		return rc;
	pthread_mutex_lock(&s->lock);
	dcm_known_unread(s->known, notice);
	pthread_mutex_unlock(&s->lock);
	dcm_source_check(&s->source);
	return rc;
}

Retcode DcmReadPubQueue(DcmHandle subscrHandle, DcmTimeout timeout, DcmPubStatus *outPubStatus,
			Handle *outServerHandle, char *outServerName, char *outEndpointName)
{
	struct dcm_subscription_object *s;
	struct dcm_notice *notice;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	rc = dcm_fabric_check();
	if (rc != rcOk)
		return rc;
	s = (struct dcm_subscription_object *)dcm_handle_find(subscrHandle,
							      1u << DCM_KIND_SUBSCRIPTION);
	if (s == NULL)
		return dcm_fail(rcInvalidArgument, "not an open subscription of this process "
						   "(DcmReadGroupPubQueue reads a group's)");
	rc = read_notice(s, timeout, &notice);
	if (rc == rcOk && outServerHandle != NULL)
		rc = hand_out(s, notice, outServerHandle);
	if (rc == rcOk) {
		if (outPubStatus != NULL)
			*outPubStatus = notice->published ? DCM_PUBLISHED : DCM_UNPUBLISHED;
		if (outServerName != NULL)
			strcpy(outServerName, notice->server);
		if (outEndpointName != NULL)
			strcpy(outEndpointName, notice->name);
		dcm_notice_free(notice);
	}
	dcm_object_drop(&s->object);
	errno = saved;
	return rc;
}
