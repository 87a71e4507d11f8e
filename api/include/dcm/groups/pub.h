/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Groups of a server: several endpoints published at once, whose requests come through one handle.
 *
 *	static const DcmGroupEndpoint group[] = {
 *		{ "example.Files", "files", &files },
 *		{ "example.Locks", "locks", &locks },
 *	};
 *	DcmPublishGroupEndpoints(self, group, 2, &publication);
 *	while (DcmListenGroupPub(publication, INFINITE_TIMEOUT, NULL, NULL, &context,
 *				 &request) == rcOk) {
 *		DcmAccept(request, ((struct service *)context)->callable, INVALID_HANDLE);
 *		DcmCloseHandle(request);
 *	}
 *
 * To clients an endpoint of a group is one like any other. The group's handle is a DCM handle, for
 * all functions that take any: DcmCloseHandle() unpublishes all of its endpoints and refuses the
 * requests that wait, DcmInterruptBlockingCall() ends DcmListenGroupPub(), and its event is
 * DCM_CLIENT_CONNECTED. DcmListen() does not take it, nor DcmListenGroupPub() the handle of a
 * publication of DcmPublishEndpoint(): both are rcInvalidArgument. None of these functions may be
 * called from a signal handler.
 */
#ifndef DCM_GROUPS_PUB_H
#define DCM_GROUPS_PUB_H

#include <dcm/types.h>

DCM_BEGIN_DECLS

/* An endpoint of a group. */
typedef struct DcmGroupEndpoint {
	const char *endpointType; /* name of the interface */
	const char *endpointName; /* qualified name of the endpoint */
	void *context;		  /* the server's own; requests for the endpoint come with it */
} DcmGroupEndpoint;

/**
 * DcmPublishGroupEndpoints() - offer several endpoints, and take their requests through one handle
 * @serverHandle:   who the server is, of all of them; as DcmPublishEndpoint() takes it
 * @endpoints:      the endpoints, in any order; names as DcmPublishEndpoint() takes them. Several
 *                  may have one interface, or one name, but no two the same of both
 * @endpointsCount: how many; at least 1
 * @outPubHandle:   the group; requests come through it. Closing it, or the end of the process
 *                  however it ends, unpublishes all of it
 *
 * All or nothing: when one endpoint cannot be published none is, and nobody has seen any of them.
 *
 * Threads:  any.
 * Blocks:   no; it wakes sleeping subscribers.
 * Progress: lock-free; no stopped or dead process can hold it up.
 * Memory:   keeps no pointer but the contexts, which it does not follow.
 * Return:   rcOk; rcNotConnected (before DcmInit()); rcInvalidArgument (a name; no endpoint);
 *           rcNoCapability; rcAlreadyExists (this process published type, name and server already,
 *           alone or in a group, or the list has them twice); rcQuotaExceeded (endpoints of the
 *           fabric, handles of the process).
 * Origin:   KCE 1.3, with contexts, and that groups do not overlap; all or nothing, and the codes:
 *           ours.
 */
DCM_API Retcode DcmPublishGroupEndpoints(Handle serverHandle, const DcmGroupEndpoint *endpoints,
					 size_t endpointsCount, DcmHandle *outPubHandle);

/**
 * DcmListenGroupPub() - take one client's request for any endpoint of a group
 * @pubHandle:       the group
 * @timeout:         milliseconds to wait for one, 0 or INFINITE_TIMEOUT
 * @outClientHandle: or null; as DcmListen() gives it
 * @outClientName:   or null; DCM_NAME_SIZE bytes: the name of the client's process
 * @outContext:      or null; the context of the endpoint that is asked for
 * @outConnectionId: the request: DcmAccept() accepts, DcmCloseHandle() alone refuses; to be closed
 *                   in both cases
 *
 * Requests come in the order in which they were made, over the whole group; else as DcmListen().
 *
 * Threads:  any; several may listen on one group.
 * Blocks:   until a request is there or @timeout is over.
 * Progress: no stopped or dead client can hold it up.
 * Memory:   what the client stored before DcmConnect() is visible, as far as it is shared.
 * Return:   rcOk; rcTimeout; rcIpcInterrupt; rcNotConnected (before DcmInit(); or the group was
 *           closed while waiting); rcQuotaExceeded (handles of the process; the request is
 *           refused).
 * Origin:   KCE 1.3; order, several threads, the codes of timeout and interruption: ours.
 */
DCM_API Retcode DcmListenGroupPub(DcmHandle pubHandle, DcmTimeout timeout, Handle *outClientHandle,
				  char *outClientName, void **outContext,
				  DcmHandle *outConnectionId);

DCM_END_DECLS

#endif
