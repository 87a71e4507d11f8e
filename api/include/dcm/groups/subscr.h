/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Groups of a client: several interfaces of one server, followed through one handle.
 *
 *	static const char *const types[] = { "example.Files", "example.Locks" };
 *	DcmGroupEndpointInfo endpoints[2];
 *
 *	DcmSetGroupSubscription(types, 2, NULL, INVALID_HANDLE, &subscription);
 *	DcmReadGroupPubQueue(subscription, INFINITE_TIMEOUT, 2, &status, &server, name, endpoints);
 *	if (status == DCM_PUBLISHED)
 *		for (i = 0; i < 2; i++)
 *			DcmCreateConnection(endpoints[i].endpointType, endpoints[i].endpointName, server,
 *					    INVALID_HANDLE, &connections[i]);
 *
 * A group is PUBLISHED when one server publishes an endpoint of each of its interfaces, whether in
 * a group of its own or one by one, and UNPUBLISHED when the first of these goes. Any number of
 * servers may have it, each is told of for itself; and groups of a client may overlap.
 *
 * A server is who its handle says (by SID): endpoints that one process publishes under different
 * handles are different servers'. If a server has several endpoints of one interface, the group has
 * the one that was seen first; when that goes the group is UNPUBLISHED, and PUBLISHED again with
 * the next one.
 *
 * The group's handle is a DCM handle, for all functions that take any: DcmCloseHandle() ends the
 * subscription and drops what is unread, DcmInterruptBlockingCall() ends DcmReadGroupPubQueue(),
 * and its event is DCM_PUBLICATION_CHANGED. DcmReadPubQueue() does not take it, nor
 * DcmReadGroupPubQueue() the handle of DcmSetSubscription(): both are rcInvalidArgument. None of
 * these functions may be called from a signal handler.
 */
#ifndef DCM_GROUPS_SUBSCR_H
#define DCM_GROUPS_SUBSCR_H

#include <dcm/types.h>

DCM_BEGIN_DECLS

/* An endpoint of a group, in a notice. */
typedef struct DcmGroupEndpointInfo {
	char endpointType[DCM_NAME_SIZE];
	char endpointName[DCM_NAME_SIZE];
} DcmGroupEndpointInfo;

/**
 * DcmSetGroupSubscription() - ask for notices about servers that have all of several interfaces
 * @endpointTypes:   names of the interfaces, no two the same
 * @endpointsCount:  how many; at least 1
 * @serverName:      only servers whose process has this name, or null
 * @serverHandle:    only the server with this handle's SID (OCAP_HANDLE_GET_SID), or INVALID_HANDLE
 * @outSubscrHandle: the subscription; closing it ends the notices and drops those unread
 *
 * Filters combine with AND and match exactly. The queue begins with a PUBLISHED notice for every
 * server that has the group now.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: lock-free; no stopped or dead process can hold it up.
 * Memory:   keeps no pointer; grows with the number of endpoints of the interfaces. It takes one
 *           subscription of the fabric, however many interfaces.
 * Return:   rcOk; rcNotConnected (before DcmInit()); rcInvalidArgument (a name; none, or one
 *           twice); rcNoCapability; rcQuotaExceeded (subscriptions of the fabric, handles of the
 *           process).
 * Origin:   KCE 1.3; that what is there is told first: 1.4. Filters, and a name twice: ours.
 */
DCM_API Retcode DcmSetGroupSubscription(const char *const *endpointTypes, size_t endpointsCount,
					const char *serverName, Handle serverHandle,
					DcmHandle *outSubscrHandle);

/**
 * DcmReadGroupPubQueue() - take one notice from a group subscription
 * @subscrHandle:    the subscription
 * @timeout:         milliseconds to wait for one, 0 or INFINITE_TIMEOUT
 * @maxCount:        elements of @outEndpoints: no fewer than the group has interfaces
 * @outPubStatus:    or null; DCM_PUBLISHED or DCM_UNPUBLISHED
 * @outServerHandle: or null; the server's identity, as DcmReadPubQueue() gives it for the endpoint of
 *                   the first interface
 * @outServerName:   or null; DCM_NAME_SIZE bytes: the name of the server's process
 * @outEndpoints:    or null, and then @maxCount is of no matter; one endpoint for each interface,
 *                   in the order of endpointTypes: which make the group, or made it when it was
 *                   published
 *
 * The notices of one server alternate, PUBLISHED first. UNPUBLISHED comes with the same endpoints
 * as the PUBLISHED before it, and comes when the server withdrew one of them and when it ended.
 * When PUBLISHED comes there was a moment at which all were published. Who reads late misses at
 * most pairs that came and went unread: once the queue is empty, what was announced is what is
 * published.
 *
 * Threads:  any; each notice goes to one of them.
 * Blocks:   until a notice is there or @timeout is over.
 * Progress: no stopped or dead process can hold it up, and an unread queue holds nobody up.
 * Memory:   what the server stored before publishing is visible, as far as it is shared.
 * Return:   rcOk; rcTimeout (nothing to read); rcIpcInterrupt; rcNotConnected (before DcmInit(); or
 *           the subscription was closed while waiting); rcBufferTooSmall (@maxCount, at once:
 *           nothing is read); rcQuotaExceeded (handles of the process; the notice stays).
 * Origin:   KCE 1.3; when a group is published, order, and the codes: ours.
 */
DCM_API Retcode DcmReadGroupPubQueue(DcmHandle subscrHandle, DcmTimeout timeout, size_t maxCount,
				     DcmPubStatus *outPubStatus, Handle *outServerHandle,
				     char *outServerName, DcmGroupEndpointInfo *outEndpoints);

DCM_END_DECLS

#endif
