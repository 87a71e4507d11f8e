/* SPDX-License-Identifier: BSD-2-Clause */
/* enum - a list of what is published */
#include <dcm/fabric.h>
#include <errno.h>
#include <string.h>

#include "api/attach.h"
#include "api/fork.h"
#include "api/guard.h"
#include "api/peer.h"
#include "api/retcode.h"
#include "api/sized.h"
#include "api/who.h"
#include "shm/catalog.h"
#include "shm/hash.h"
#include "shm/registry.h"

/* The caller's array. */
struct list {
	unsigned char *out;
	size_t capacity, count;
	uint32_t stride; /* the structSize of its first element */
};

static void put(struct list *list, const DcmEndpointInfo *info)
{
	unsigned char *at = list->out + list->count * list->stride;

	if (list->count++ >= list->capacity)
		return;
	memcpy(at, &list->stride, sizeof list->stride);
	dcm_sized_put(at, info, sizeof *info);
}

/* Into the list, if it is one: names are as others wrote them. */
static void put_view(struct list *list, const struct dcm_segment *seg,
		     const struct dcm_endpoint_view *view)
{
	struct dcm_peer peer;
	DcmEndpointInfo info;

	if (!dcm_name_valid(view->type) || !dcm_name_valid(view->name) ||
	    !dcm_name_valid(view->server) || !dcm_peer_ask(seg, view->process, &peer))
		return;
	info = (DcmEndpointInfo){ .pid = peer.who.pid, .uid = peer.who.uid, .server = view->sid };
	memcpy(info.endpointType, view->type, sizeof info.endpointType);
	memcpy(info.endpointName, view->name, sizeof info.endpointName);
	memcpy(info.serverName, view->server, sizeof info.serverName);
	put(list, &info);
}

static void list_all(struct list *list, const struct dcm_segment *seg)
{
	struct dcm_endpoint_view view;
	uint32_t cursor = 0, index;

	/* Of what is visible the used bit is set. */
	while (dcm_index_next(seg->endpoint.used, seg->endpoint.count, &cursor, &index))
		if (dcm_registry_look(seg, index, 0, &view))
			put_view(list, seg, &view);
}

static void list_type(struct list *list, const struct dcm_segment *seg, const char *type)
{
	uint64_t hash = dcm_hash(type);
	struct dcm_endpoint_view view;
	uint32_t cursor = 0, index;

	while (dcm_catalog_next(seg, hash, 0, &cursor, &index))
		if (dcm_registry_look(seg, index, hash, &view) && strcmp(view.type, type) == 0)
			put_view(list, seg, &view);
}

static Retcode enumerate(const struct dcm_segment *seg, const char *type, struct list *list)
{
	if (type == NULL)
		list_all(list, seg);
	else
		list_type(list, seg, type);
	/* Zero pages are an empty table. */
	if (dcm_guard_lost())
		return dcm_guard_fail();
	return list->count <= list->capacity
		       ? rcOk
		       : dcm_fail(rcBufferTooSmall, "there are %zu endpoints, and room for %zu",
				  list->count, list->capacity);
}

Retcode DcmEnumEndpoints(const char *endpointType, size_t capacity, DcmEndpointInfo *out,
			 size_t *outCount)
{
	struct list list = { .out = (unsigned char *)out, .capacity = capacity };
	struct dcm_fabric *fabric;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	rc = dcm_fabric_enter(&fabric);
	if (rc != rcOk)
		return rc;
	rc = outCount != NULL ? rcOk : dcm_fail(rcInvalidArgument, "outCount is null");
	if (rc == rcOk)
		rc = dcm_who_name(endpointType, true, "endpointType");
	if (rc == rcOk && capacity != 0)
		rc = dcm_sized_check(out, sizeof *out, "DcmEndpointInfo");
	if (rc == rcOk) {
		if (capacity != 0)
			list.stride = out->structSize;
		rc = enumerate(&fabric->seg, endpointType, &list);
		*outCount = list.count;
	}
	dcm_fabric_leave();
	errno = saved;
	return rc;
}
