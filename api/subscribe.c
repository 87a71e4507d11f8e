/* SPDX-License-Identifier: BSD-2-Clause */
/* subscribe - subscriptions to one interface */
#include <coresrv/handle/handle_api.h>
#include <dcm/dcm_api.h>
#include <errno.h>
#include <string.h>

#include "api/fork.h"
#include "api/guard.h"
#include "api/identity.h"
#include "api/retcode.h"
#include "api/subscription.h"

Retcode DcmSetSubscription(const char *endpointType, const char *endpointName,
			   const char *serverName, Handle serverHandle, DcmHandle *outSubscrHandle)
{
	const struct dcm_wanted wanted = { .kind = DCM_KIND_SUBSCRIPTION,
					   .types = &endpointType,
					   .count = 1,
					   .name = endpointName,
					   .server_name = serverName,
					   .server = serverHandle };

	return dcm_subscription_set(&wanted, outSubscrHandle);
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

	dcm_wait_on_count(on, dcm_registry_ec(seg, s->hashes[0], s->name_hash));
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

/* A notice whose server has no handle yet for want of memory is not lost: it is read again. */
static Retcode hand_out(struct dcm_subscription_object *s, struct dcm_notice *notice, Handle *out)
{
	Retcode rc = dcm_identity_new(notice->sid, notice->process, notice->gift, out);

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
	struct reading r = { .notice = NULL };
	struct dcm_subscription_object *s;
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
	r.subscription = s;
	rc = dcm_subscription_wait(s, timeout, look_for_notice, &r);
	if (rc == rcOk && outServerHandle != NULL)
		rc = hand_out(s, r.notice, outServerHandle);
	if (rc == rcOk) {
		if (outPubStatus != NULL)
			*outPubStatus = r.notice->published ? DCM_PUBLISHED : DCM_UNPUBLISHED;
		if (outServerName != NULL)
			strcpy(outServerName, r.notice->server);
		if (outEndpointName != NULL)
			strcpy(outEndpointName, r.notice->name);
		dcm_notice_free(r.notice);
	}
	dcm_object_drop(&s->object);
	errno = saved;
	return rc;
}
