/* SPDX-License-Identifier: BSD-2-Clause */
/* group_subscribe - subscriptions to groups: which servers have all of several interfaces */
#include <coresrv/handle/handle_api.h>
#include <dcm/dcm_api.h>
#include <dcm/groups/subscr.h>
#include <errno.h>
#include <string.h>

#include "api/fork.h"
#include "api/guard.h"
#include "api/identity.h"
#include "api/retcode.h"
#include "api/subscription.h"

Retcode DcmSetGroupSubscription(const char *const *endpointTypes, size_t endpointsCount,
				const char *serverName, Handle serverHandle,
				DcmHandle *outSubscrHandle)
{
	const struct dcm_wanted wanted = { .kind = DCM_KIND_GROUP_SUBSCRIPTION,
					   .types = endpointTypes,
					   .count = endpointsCount,
					   .server_name = serverName,
					   .server = serverHandle };

	return dcm_subscription_set(&wanted, outSubscrHandle);
}

/* What a reader wants filled. */
struct reading {
	struct dcm_subscription_object *subscription;
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
		rc = dcm_identity_new(first->sid, first->process, first->gift, r->server);
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
	r->more = dcm_group_known_told(r->subscription->group);
	return rcOk;
}

/* Under the lock. */
static Retcode read_now(struct reading *r)
{
	struct dcm_subscription_object *s = r->subscription;
	struct dcm_group_notice notice;
	int result;

	if (dcm_load(&s->blocker.closed, seq) != 0)
		return dcm_fail(rcNotConnected, "the subscription was closed");
	result = dcm_group_known_next(s->group, &s->fabric->seg, s->ref, &notice);
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
	struct dcm_subscription_object *s = r->subscription;
	Retcode rc;

	dcm_wait_on_count(on, &dcm_subscription_at(&s->fabric->seg, s->ref.index)->ec);
	pthread_mutex_lock(&s->lock);
	rc = read_now(r);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static Retcode read_notice(struct reading *r, DcmTimeout timeout)
{
	Retcode rc = dcm_subscription_wait(r->subscription, timeout, look_for_notice, r);

	if (r->more)
		dcm_source_check(&r->subscription->source);
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
	r.subscription = (struct dcm_subscription_object *)object;
	rc = outEndpoints == NULL || maxCount >= r.subscription->count
		     ? read_notice(&r, timeout)
		     : dcm_fail(rcBufferTooSmall,
				"maxCount is %zu, and the group has %zu interfaces", maxCount,
				r.subscription->count);
	dcm_object_drop(object);
	errno = saved;
	return rc;
}
