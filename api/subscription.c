/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/subscription.h"

#include <coresrv/handle/handle_api.h>
#include <dcm/dcm_api.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/fork.h"
#include "api/full.h"
#include "api/guard.h"
#include "api/object.h"
#include "api/retcode.h"
#include "api/who.h"
#include "shm/hash.h"
#include "shm/reap.h"

static_assert(offsetof(struct dcm_subscription_object, blocker) ==
		      offsetof(struct dcm_blockable, blocker),
	      "blockable");

static void unsubscribe(struct dcm_subscription_object *s)
{
	uint32_t self = s->fabric->self.index;

	dcm_registry_unsubscribe(&s->fabric->seg, s->ref, self, self);
}

static void close_subscription(struct dcm_object *object)
{
	struct dcm_subscription_object *s = (struct dcm_subscription_object *)object;

	dcm_source_close(&s->source);
	dcm_wait_close(&s->blocker);
	/* A reader may be in the ring this moment: its slot stays until it is out. */
	pthread_mutex_lock(&s->lock);
	unsubscribe(s);
	pthread_mutex_unlock(&s->lock);
}

static void free_private(struct dcm_subscription_object *s)
{
	if (s->known != NULL)
		dcm_known_destroy(s->known);
	if (s->group != NULL)
		dcm_group_known_destroy(s->group);
	for (size_t i = 0; s->types != NULL && i < s->count; i++)
		free(s->types[i]);
	free(s->types);
	free(s->hashes);
}

static void forget_subscription(struct dcm_object *object)
{
	struct dcm_subscription_object *s = (struct dcm_subscription_object *)object;

	dcm_source_forked(&s->source);
	free_private(s);
}

static void release_subscription(struct dcm_object *object)
{
	struct dcm_subscription_object *s = (struct dcm_subscription_object *)object;

	free_private(s);
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
	const struct dcm_segment *seg = &s->fabric->seg;
	bool there;

	pthread_mutex_lock(&s->lock);
	there = s->group != NULL ? dcm_group_known_look(s->group, seg, s->ref, stamp)
				 : dcm_known_look(s->known, seg, s->ref, stamp);
	pthread_mutex_unlock(&s->lock);
	/* A call says so when the segment is lost. */
	return there || dcm_guard_lost() ? DCM_PUBLICATION_CHANGED : 0;
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

static const struct dcm_object_type group_type = {
	.kind = DCM_KIND_GROUP_SUBSCRIPTION,
	.space = DCM_SPACE_DCM,
	.close = close_subscription,
	.release = release_subscription,
	.forget = forget_subscription,
	.source = source_of_subscription,
};

uint32_t dcm_subscription_waiting(DcmHandle subscription)
{
	struct dcm_object *object = dcm_handle_find(subscription, 1u << DCM_KIND_SUBSCRIPTION);
	struct dcm_subscription_object *s = (struct dcm_subscription_object *)object;
	uint32_t waiting;
	uint64_t made;

	if (object == NULL)
		return 0;
	pthread_mutex_lock(&s->lock);
	if (dcm_load(&s->blocker.closed, seq) == 0)
		dcm_known_look(s->known, &s->fabric->seg, s->ref, &made);
	waiting = dcm_known_waiting(s->known, &s->fabric->seg);
	pthread_mutex_unlock(&s->lock);
	dcm_object_drop(object);
	return waiting;
}

static bool copy_types(struct dcm_subscription_object *s, const struct dcm_wanted *wanted)
{
	s->count = wanted->count;
	s->types = calloc(s->count, sizeof *s->types);
	s->hashes = calloc(s->count, sizeof *s->hashes);
	if (s->types == NULL || s->hashes == NULL)
		return false;
	for (size_t i = 0; i < s->count; i++) {
		s->types[i] = strdup(wanted->types[i]);
		if (s->types[i] == NULL)
			return false;
		s->hashes[i] = dcm_hash(wanted->types[i]);
	}
	return true;
}

/* None of the names twice. */
static Retcode check_distinct(const struct dcm_subscription_object *s)
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

/* What is kept in private memory. */
static Retcode fill(struct dcm_subscription_object *s, const struct dcm_wanted *wanted,
		    uint64_t sid)
{
	bool copied = copy_types(s, wanted);
	Retcode rc = copied ? check_distinct(s) : rcOk;

	if (rc != rcOk)
		return rc;
	s->name_hash = wanted->name != NULL ? dcm_hash(wanted->name) : 0;
	if (copied && wanted->kind == DCM_KIND_SUBSCRIPTION)
		s->known = dcm_known_create(s->hashes[0], s->types[0], wanted->name,
					    wanted->server_name, sid);
	else if (copied)
		s->group = dcm_group_known_create((const char *const *)s->types, s->hashes,
						  s->count, wanted->server_name, sid);
	return s->known != NULL || s->group != NULL
		       ? rcOk
		       : dcm_fail(rcOutOfMemory, "no memory for a subscription");
}

static Retcode make_active(struct dcm_subscription_object *s, uint64_t sid)
{
	const struct dcm_segment *seg = &s->fabric->seg;
	const struct dcm_interest interest = {
		.type_hashes = s->hashes, .count = s->count, .name_hash = s->name_hash, .sid = sid
	};
	uint32_t self = s->fabric->self.index;

	if (dcm_registry_subscribe_to(seg, self, &interest, &s->ref))
		return rcOk;
	dcm_reap_scan(seg, self, true);
	if (dcm_registry_subscribe_to(seg, self, &interest, &s->ref))
		return rcOk;
	return dcm_fail_full(seg, &seg->subscription, "subscriptions", "DCM_MAX_SUBSCRIPTIONS");
}

static Retcode subscribe(struct dcm_fabric *fabric, const struct dcm_wanted *wanted, uint64_t sid,
			 DcmHandle *out)
{
	const struct dcm_object_type *type =
		wanted->kind == DCM_KIND_SUBSCRIPTION ? &subscription_type : &group_type;
	struct dcm_subscription_object *s =
		(struct dcm_subscription_object *)dcm_object_new(type, sizeof *s);
	Retcode rc;

	if (s == NULL)
		return dcm_fail(rcOutOfMemory, "no memory for a subscription");
	pthread_mutex_init(&s->lock, NULL);
	dcm_source_init(&s->source, &subscription_source, &s->object);
	dcm_fabric_hold(fabric);
	s->fabric = fabric;
	rc = fill(s, wanted, sid);
	if (rc == rcOk)
		rc = make_active(s, sid);
	if (rc == rcOk) {
		rc = dcm_number(&s->object);
		if (rc == rcOk)
			*out = s->object.number;
		else
			unsubscribe(s);
	}
	dcm_object_drop(&s->object);
	return rc;
}

static Retcode check(const struct dcm_wanted *wanted, const DcmHandle *out)
{
	bool group = wanted->kind == DCM_KIND_GROUP_SUBSCRIPTION;
	Retcode rc = rcOk;

	if (out == NULL)
		return dcm_fail(rcInvalidArgument, "outSubscrHandle is null");
	if (wanted->types == NULL || wanted->count == 0)
		return dcm_fail(rcInvalidArgument, "a group needs at least one interface");
	for (size_t i = 0; rc == rcOk && i < wanted->count; i++)
		rc = dcm_who_name(wanted->types[i], false,
				  group ? "endpointTypes" : "endpointType");
	if (rc == rcOk)
		rc = dcm_who_name(wanted->name, true, "endpointName");
	if (rc == rcOk)
		rc = dcm_who_name(wanted->server_name, true, "serverName");
	return rc;
}

Retcode dcm_subscription_set(const struct dcm_wanted *wanted, DcmHandle *out)
{
	struct dcm_fabric *fabric;
	struct dcm_who server = { .sid = 0 };
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	rc = dcm_fabric_enter(&fabric);
	if (rc != rcOk)
		return rc;
	rc = check(wanted, out);
	if (rc == rcOk && wanted->server != INVALID_HANDLE)
		rc = dcm_who_is(wanted->server, OCAP_HANDLE_GET_SID, "serverHandle", &server);
	if (rc == rcOk)
		rc = subscribe(fabric, wanted, server.sid, out);
	dcm_fabric_leave();
	errno = saved;
	return rc;
}

Retcode dcm_subscription_wait(struct dcm_subscription_object *s, DcmTimeout timeout,
			      dcm_look_fn *look, void *arg)
{
	uint32_t pulses = dcm_source_pulses(&s->source);
	Retcode rc = dcm_wait_for(&s->blocker, dcm_wait_ns(timeout), false, look, arg);

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
