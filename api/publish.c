/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/full.h"
#include "api/publish.h"

#include <coresrv/handle/handle_api.h>
#include <dcm/dcm_api.h>
#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "api/fork.h"
#include "api/guard.h"
#include "api/identity.h"
#include "api/retcode.h"
#include "api/who.h"
#include "shm/hash.h"
#include "shm/publication.h"
#include "shm/reap.h"

/* What this process publishes: nothing twice, and nothing again before its withdrawal is told. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *publications; /* tree, under lock */

static void reset_in_child(void)
{
	pthread_mutex_init(&lock, NULL);
	publications = NULL; /* its nodes were the parent's */
}

static int compare(const void *a, const void *b)
{
	const struct dcm_publication *x = a, *y = b;
	int order = (x->sid > y->sid) - (x->sid < y->sid);

	if (order == 0)
		order = strcmp(x->name, y->name);
	return order != 0 ? order : strcmp(x->type, y->type);
}

/* Into the tree. Return: rcOk; rcAlreadyExists, rcOutOfMemory. */
static Retcode enlist(struct dcm_publication *p)
{
	struct dcm_publication *const *node;
	bool memory, twice;

	pthread_mutex_lock(&lock);
	node = tsearch(p, &publications, compare);
	memory = node != NULL;
	twice = memory && *node != p;
	pthread_mutex_unlock(&lock);
	if (!memory)
		return dcm_fail(rcOutOfMemory, "no memory for a publication");
	if (twice)
		return dcm_fail(rcAlreadyExists,
				"this process publishes %s, %s already under that server handle",
				p->type, p->name);
	return rcOk;
}

static void delist(struct dcm_publication *p)
{
	pthread_mutex_lock(&lock);
	tdelete(p, &publications, compare);
	pthread_mutex_unlock(&lock);
}

static void close_publication(struct dcm_object *object)
{
	struct dcm_publication *p = (struct dcm_publication *)object;

	dcm_source_close(&p->source);
	dcm_wait_close(&p->blocker);
	dcm_publication_end(&p->fabric->seg, p->fabric->self.index, p->endpoint);
	delist(p);
}

static void free_names(struct dcm_publication *p)
{
	free(p->type);
	free(p->name);
}

static void forget_publication(struct dcm_object *object)
{
	struct dcm_publication *p = (struct dcm_publication *)object;

	dcm_source_forked(&p->source);
	free_names(p);
}

static void release_publication(struct dcm_object *object)
{
	struct dcm_publication *p = (struct dcm_publication *)object;

	free_names(p);
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
	bool waiting = dcm_rendezvous_waiting(&p->fabric->seg, p->endpoint, stamp);

	/* A call says so when the segment is lost. */
	return waiting || dcm_guard_lost() ? DCM_CLIENT_CONNECTED : 0;
}

static dcm_atomic32 *bell_of_publication(struct dcm_object *object)
{
	struct dcm_publication *p = (struct dcm_publication *)object;

	return &dcm_endpoint_at(&p->fabric->seg, p->endpoint.index)->bell;
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
};

static struct dcm_publication *publication_new(struct dcm_fabric *fabric, const char *type,
					       const char *name, uint64_t sid)
{
	struct dcm_publication *p =
		(struct dcm_publication *)dcm_object_new(&publication_type, sizeof *p);

	if (p == NULL)
		return NULL;
	dcm_source_init(&p->source, &publication_source, &p->object);
	p->type = strdup(type);
	p->name = strdup(name);
	p->sid = sid;
	if (p->type == NULL || p->name == NULL) {
		dcm_object_drop(&p->object);
		return NULL;
	}
	dcm_fabric_hold(fabric);
	p->fabric = fabric;
	return p;
}

/* A place in the registry, after a look for the dead if there is none. */
static Retcode make_live(struct dcm_publication *p)
{
	const struct dcm_segment *seg = &p->fabric->seg;
	uint32_t self = p->fabric->self.index;
	struct dcm_endpoint_key key = { .type = p->type,
					.name = p->name,
					.type_hash = dcm_hash(p->type),
					.name_hash = dcm_hash(p->name),
					.sid = p->sid };

	if (dcm_publication_begin(seg, self, &key, &p->endpoint))
		return rcOk;
	dcm_reap_scan(seg, self, true);
	if (dcm_publication_begin(seg, self, &key, &p->endpoint))
		return rcOk;
	return dcm_fail_full(seg, &seg->endpoint, "endpoints", "DCM_MAX_ENDPOINTS");
}

static Retcode publish(struct dcm_fabric *fabric, uint64_t sid, const char *type, const char *name,
		       DcmHandle *out)
{
	struct dcm_publication *p = publication_new(fabric, type, name, sid);
	Retcode rc;

	if (p == NULL)
		return dcm_fail(rcOutOfMemory, "no memory for a publication");
	rc = enlist(p);
	if (rc != rcOk) {
		dcm_object_drop(&p->object);
		return rc;
	}
	rc = make_live(p);
	if (rc == rcOk) {
		rc = dcm_number(&p->object);
		if (rc != rcOk)
			dcm_publication_end(&fabric->seg, fabric->self.index, p->endpoint);
	}
	if (rc == rcOk)
		*out = p->object.number;
	else
		delist(p);
	dcm_object_drop(&p->object);
	return rc;
}

Retcode DcmPublishEndpoint(Handle serverHandle, const char *endpointType, const char *endpointName,
			   DcmHandle *outPubHandle)
{
	struct dcm_fabric *fabric;
	struct dcm_who server;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	dcm_fork_register(reset_in_child);
	rc = dcm_fabric_enter(&fabric);
	if (rc != rcOk)
		return rc;
	rc = outPubHandle != NULL ? rcOk : dcm_fail(rcInvalidArgument, "outPubHandle is null");
	if (rc == rcOk)
		rc = dcm_who_name(endpointType, false, "endpointType");
	if (rc == rcOk)
		rc = dcm_who_name(endpointName, false, "endpointName");
	if (rc == rcOk)
		rc = dcm_who_is(serverHandle, OCAP_HANDLE_TRANSFER | OCAP_HANDLE_GET_SID,
				"serverHandle", &server);
	if (rc == rcOk)
		rc = publish(fabric, server.sid, endpointType, endpointName, outPubHandle);
	dcm_fabric_leave();
	errno = saved;
	return rc;
}
