/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/publish.h"

#include <coresrv/handle/handle_api.h>
#include <dcm/dcm_api.h>
#include <dcm/groups/pub.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

#include "api/fork.h"
#include "api/full.h"
#include "api/guard.h"
#include "api/identity.h"
#include "api/retcode.h"
#include "api/who.h"
#include "shm/baton.h"
#include "shm/hash.h"
#include "shm/publication.h"
#include "shm/reap.h"

/* What this process publishes: nothing twice, and nothing again before its withdrawal is told. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct dcm_hashed publications; /* under lock */

static void reset_in_child(void)
{
	pthread_mutex_init(&lock, NULL);
	memset(&publications, 0, sizeof publications); /* its rows may be half made */
}

static const struct dcm_published *published_of(const struct dcm_hashed_link *link)
{
	uintptr_t at = (uintptr_t)link - offsetof(struct dcm_published, link);

	return (const struct dcm_published *)at;
}

static bool is_same(const struct dcm_hashed_link *link, const void *like)
{
	const struct dcm_published *x = published_of(link), *y = like;

	return x->sid == y->sid && strcmp(x->name, y->name) == 0 && strcmp(x->type, y->type) == 0;
}

/* Into the set. Return: rcOk; rcAlreadyExists. */
static Retcode enlist(struct dcm_published *what)
{
	uint64_t hash = (what->type_hash ^ what->sid) * 0x9e3779b97f4a7c15ull ^ what->name_hash;
	bool twice;

	pthread_mutex_lock(&lock);
	twice = dcm_hashed_find(&publications, hash, is_same, what) != NULL;
	if (!twice)
		dcm_hashed_put(&publications, &what->link, hash);
	pthread_mutex_unlock(&lock);
	if (twice)
		return dcm_fail(rcAlreadyExists,
				"this process publishes %s, %s already under that server handle",
				what->type, what->name);
	return rcOk;
}

/* The first @count of them out of the set. */
static void delist(struct dcm_publication *p, size_t count)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < count; i++)
		dcm_hashed_take(&publications, &p->published[i].link);
	pthread_mutex_unlock(&lock);
}

static Retcode enlist_all(struct dcm_publication *p)
{
	for (size_t i = 0; i < p->count; i++) {
		Retcode rc = enlist(&p->published[i]);

		if (rc != rcOk) {
			delist(p, i);
			return rc;
		}
	}
	return rcOk;
}

static void close_publication(struct dcm_object *object)
{
	struct dcm_publication *p = (struct dcm_publication *)object;

	dcm_source_close(&p->source);
	dcm_wait_close(&p->blocker);
	/* Last the first, which the others are told at. */
	for (size_t i = p->count; i-- > 0;)
		dcm_publication_end(&p->fabric->seg, p->fabric->self.index, p->endpoints[i]);
	delist(p, p->count);
}

static void forget_publication(struct dcm_object *object)
{
	struct dcm_publication *p = (struct dcm_publication *)object;

	dcm_source_forked(&p->source);
}

static void release_publication(struct dcm_object *object)
{
	struct dcm_publication *p = (struct dcm_publication *)object;

	if (p->giving != NULL)
		dcm_giving_put(p->giving);
	if (p->fabric != NULL)
		dcm_fabric_drop(p->fabric);
}

static struct dcm_source *source_of_publication(struct dcm_object *object)
{
	return &((struct dcm_publication *)object)->source;
}

static uint32_t look_at_publication(struct dcm_object *object, uint64_t *stamp)
{
	struct dcm_publication *p = (struct dcm_publication *)object;
	bool waiting = false;

	*stamp = 0;
	for (size_t i = 0; i < p->count; i++) {
		uint64_t newest;

		if (dcm_rendezvous_waiting(&p->fabric->seg, p->endpoints[i], &newest))
			waiting = true;
		if (newest > *stamp)
			*stamp = newest;
	}
	/* A call says so when the segment is lost. */
	return waiting || dcm_guard_lost() ? DCM_CLIENT_CONNECTED : 0;
}

static dcm_atomic32 *bell_of_publication(struct dcm_object *object)
{
	struct dcm_publication *p = (struct dcm_publication *)object;

	return &dcm_endpoint_at(&p->fabric->seg, p->endpoints[0].index)->bell;
}

static void pass_on_publication(struct dcm_object *object)
{
	struct dcm_publication *p = (struct dcm_publication *)object;
	uint64_t stamp;

	if (look_at_publication(object, &stamp) != 0)
		dcm_baton_pass(&dcm_endpoint_at(&p->fabric->seg, p->endpoints[0].index)->ec);
}

static const struct dcm_source_type publication_source = {
	.events = DCM_CLIENT_CONNECTED | DCM_BLOCKING_CALL_INTERRUPTED,
	.readable = DCM_CLIENT_CONNECTED,
	.look = look_at_publication,
	.bell = bell_of_publication,
};

static const struct dcm_object_type publication_type = {
	.kind = DCM_KIND_PUBLICATION,
	.space = DCM_SPACE_DCM,
	.close = close_publication,
	.release = release_publication,
	.forget = forget_publication,
	.source = source_of_publication,
	.pass_on = pass_on_publication,
};

static const struct dcm_object_type group_type = {
	.kind = DCM_KIND_GROUP_PUBLICATION,
	.space = DCM_SPACE_DCM,
	.close = close_publication,
	.release = release_publication,
	.forget = forget_publication,
	.source = source_of_publication,
	.pass_on = pass_on_publication,
};

static size_t names_bytes(const DcmGroupEndpoint *endpoints, size_t count)
{
	size_t bytes = 0;

	for (size_t i = 0; i < count; i++)
		bytes += strlen(endpoints[i].endpointType) + strlen(endpoints[i].endpointName) + 2;
	return bytes;
}

static char *copy_name(char **to, const char *from)
{
	size_t bytes = strlen(from) + 1;
	char *copy = *to;

	memcpy(copy, from, bytes);
	*to += bytes;
	return copy;
}

/* All that it holds lies behind it in one piece: less to touch while others wait to be told. */
static void lay_out(struct dcm_publication *p, uint64_t sid, const DcmGroupEndpoint *endpoints)
{
	char *names;

	p->published = (struct dcm_published *)(void *)(p + 1);
	p->endpoints = (struct dcm_ref *)(void *)(p->published + p->count);
	names = (char *)(p->endpoints + p->count);
	for (size_t i = 0; i < p->count; i++) {
		struct dcm_published *to = &p->published[i];

		to->sid = sid;
		to->context = endpoints[i].context;
		to->type = copy_name(&names, endpoints[i].endpointType);
		to->name = copy_name(&names, endpoints[i].endpointName);
		to->type_hash = dcm_hash(to->type);
		to->name_hash = dcm_hash(to->name);
	}
}

/* Takes the gift over. */
static struct dcm_publication *publication_new(const struct dcm_object_type *type,
					       struct dcm_fabric *fabric, uint64_t sid,
					       struct dcm_giving *giving,
					       const DcmGroupEndpoint *endpoints, size_t count)
{
	size_t each = sizeof(struct dcm_published) + sizeof(struct dcm_ref);
	struct dcm_publication *p = (struct dcm_publication *)dcm_object_new(
		type, sizeof *p + count * each + names_bytes(endpoints, count));

	if (p == NULL) {
		dcm_giving_put(giving);
		return NULL;
	}
	p->giving = giving;
	dcm_source_init(&p->source, &publication_source, &p->object);
	p->count = count;
	lay_out(p, sid, endpoints);
	dcm_fabric_hold(fabric);
	p->fabric = fabric;
	return p;
}

/* A place in the registry, after a look for the dead if there is none. */
static Retcode reserve(struct dcm_publication *p, size_t i)
{
	const struct dcm_segment *seg = &p->fabric->seg;
	const struct dcm_published *what = &p->published[i];
	uint32_t self = p->fabric->self.index;
	struct dcm_endpoint_key key = { .type = what->type,
					.name = what->name,
					.type_hash = what->type_hash,
					.name_hash = what->name_hash,
					.sid = what->sid,
					.gift = dcm_giving_name(p->giving),
					.told_at = i == 0 ? 0 : 1 + p->endpoints[0].index };

	if (dcm_publication_reserve(seg, self, &key, &p->endpoints[i]))
		return rcOk;
	dcm_reap_scan(seg, self, true);
	if (dcm_publication_reserve(seg, self, &key, &p->endpoints[i]))
		return rcOk;
	return dcm_fail_full(seg, &seg->endpoint, "endpoints", "DCM_MAX_ENDPOINTS");
}

/* All that can fail comes before anything is to be seen: places for all, and the number. */
static Retcode make_live(struct dcm_publication *p)
{
	const struct dcm_segment *seg = &p->fabric->seg;
	size_t reserved = 0;
	Retcode rc = rcOk;

	while (rc == rcOk && reserved < p->count) {
		rc = reserve(p, reserved);
		reserved += rc == rcOk;
	}
	if (rc == rcOk)
		rc = dcm_number(&p->object);
	for (size_t i = 0; i < reserved; i++)
		if (rc == rcOk)
			dcm_publication_show(seg, p->fabric->self.index, p->endpoints[i]);
		else
			dcm_publication_drop(seg, p->endpoints[i]);
	return rc;
}

static Retcode publish(const struct dcm_object_type *type, struct dcm_fabric *fabric, uint64_t sid,
		       struct dcm_giving *giving, const DcmGroupEndpoint *endpoints, size_t count,
		       DcmHandle *out)
{
	struct dcm_publication *p = publication_new(type, fabric, sid, giving, endpoints, count);
	Retcode rc;

	if (p == NULL)
		return dcm_fail(rcOutOfMemory, "no memory for a publication");
	rc = enlist_all(p);
	if (rc == rcOk) {
		rc = make_live(p);
		if (rc == rcOk)
			*out = p->object.number;
		else
			delist(p, p->count);
	}
	dcm_object_drop(&p->object);
	return rc;
}

static Retcode check_names(const DcmGroupEndpoint *endpoints, size_t count)
{
	Retcode rc = rcOk;

	for (size_t i = 0; rc == rcOk && i < count; i++) {
		rc = dcm_who_name(endpoints[i].endpointType, false, "endpointType");
		if (rc == rcOk)
			rc = dcm_who_name(endpoints[i].endpointName, false, "endpointName");
	}
	return rc;
}

static Retcode check_count(const DcmGroupEndpoint *endpoints, size_t count, uint32_t room)
{
	if (endpoints == NULL || count == 0)
		return dcm_fail(rcInvalidArgument, "a group needs at least one endpoint");
	if (count > room)
		return dcm_fail(
			rcQuotaExceeded,
			"a group of %zu endpoints: the fabric has room for %u; the limit is "
			"set by DCM_MAX_ENDPOINTS when the fabric is made",
			count, room);
	return rcOk;
}

static Retcode publish_checked(const struct dcm_object_type *type, Handle server,
			       const DcmGroupEndpoint *endpoints, size_t count, DcmHandle *out)
{
	struct dcm_giving *giving = NULL;
	struct dcm_fabric *fabric;
	struct dcm_who who;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	dcm_fork_register(reset_in_child);
	rc = dcm_fabric_enter(&fabric);
	if (rc != rcOk)
		return rc;
	rc = out != NULL ? rcOk : dcm_fail(rcInvalidArgument, "outPubHandle is null");
	if (rc == rcOk)
		rc = check_count(endpoints, count, fabric->seg.endpoint.count);
	if (rc == rcOk)
		rc = check_names(endpoints, count);
	if (rc == rcOk)
		rc = dcm_who_shows(server, "serverHandle", fabric, &who, &giving);
	if (rc == rcOk)
		rc = publish(type, fabric, who.sid, giving, endpoints, count, out);
	dcm_fabric_leave();
	errno = saved;
	return rc;
}

Retcode DcmPublishEndpoint(Handle serverHandle, const char *endpointType, const char *endpointName,
			   DcmHandle *outPubHandle)
{
	DcmGroupEndpoint endpoint = { .endpointType = endpointType, .endpointName = endpointName };

	return publish_checked(&publication_type, serverHandle, &endpoint, 1, outPubHandle);
}

Retcode DcmPublishGroupEndpoints(Handle serverHandle, const DcmGroupEndpoint *endpoints,
				 size_t endpointsCount, DcmHandle *outPubHandle)
{
	return publish_checked(&group_type, serverHandle, endpoints, endpointsCount, outPubHandle);
}
