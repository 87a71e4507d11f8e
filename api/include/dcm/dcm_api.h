/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The base API: publish endpoints, discover them, and turn a request into a callable handle.
 *
 *	server: DcmInit, DcmPublishEndpoint, { DcmListen, DcmAccept, DcmCloseHandle }, DcmFini
 *	client: DcmInit, DcmSetSubscription, DcmReadPubQueue,
 *	        DcmCreateConnection, DcmConnect, DcmCloseHandle, DcmFini
 *
 * DCM handles are of four kinds: publication, subscription, connection (the client's side of a
 * request) and request (the server's). Groups of endpoints and of interfaces (dcm/groups/) are
 * publications and subscriptions too, with calls of their own in place of DcmListen() and
 * DcmReadPubQueue(). Before DcmInit() and after the last DcmFini() every
 * function here but DcmInit() and DcmFini() answers rcNotConnected, whatever else is wrong.
 *
 * Every function may be called from any thread at any time, on one handle also by several threads
 * at once, but none from a signal handler. Output pointers may be null, except those for a DCM
 * handle and for the session handle: these the caller must close. What a call that fails leaves in
 * its outputs is of no use.
 *
 * fork: a child is as before DcmInit(), and may call it; the parent's DCM handles are void there.
 */
#ifndef DCM_DCM_API_H
#define DCM_DCM_API_H

#include <dcm/types.h>

DCM_BEGIN_DECLS

/* Events of DCM handles, for DcmSubscribeToEvents(). */
#define DCM_PUBLICATION_CHANGED	      (1u << 16) /* a subscription: DcmReadPubQueue() has a notice */
#define DCM_CLIENT_CONNECTED	      (1u << 17) /* a publication: DcmListen() has a request */
#define DCM_BLOCKING_CALL_INTERRUPTED (1u << 18) /* all three: DcmInterruptBlockingCall() was called */
#define DCM_CLIENT_RELEASED_BY_SERVER (1u << 19) /* a connection: the server has accepted or refused */

/* An id of events for those who need no other. */
#define DCM_EVENT_ID ((uintptr_t)0x44434d)

/**
 * DcmInit() - attach this process to its fabric
 *
 * The fabric is named by the environment variable DCM_FABRIC (a name or a path). Its segment is
 * created if it is not there, and replaced if it is of another layout or boot and no living
 * process uses it. Calls are counted: each that succeeds needs one DcmFini().
 *
 * Threads:  any.
 * Blocks:   while another process creates the same segment, 10 s at most; not for peers.
 * Progress: a creator that dies hands the creation on; the segment is whole or not there.
 * Memory:   maps the segment (11.5 MiB by default) and starts one library thread; settings are read
 *           from the environment here, once.
 * Return:   rcOk; rcInvalidArgument (a setting that cannot be, or a place that is not a tmpfs);
 *           rcResourceNotFound (no such directory); rcSecurityDisallow (the segment or its
 *           directory may not be used, or not with this DCM_TRANSFER); rcOutOfMemory (its file system is full); rcQuotaExceeded
 *           (no room for one more process, or no more descriptors); rcFail (a segment that is
 *           damaged, unlinked, or of another layout and in use); rcTimeout (another process keeps
 *           it locked); rcInvalidOperation (still a participant of another fabric, or a second
 *           copy of the library in the process).
 * Origin:   first call, thread-safe, without waiting: KCE 1.3. Counting and codes: ours.
 */
DCM_API Retcode DcmInit(void);

/**
 * DcmFini() - undo one DcmInit()
 *
 * The last one closes all DCM handles: publications vanish, subscriptions end, waiting requests
 * are refused, blocked calls return rcNotConnected. Callable handles, listeners and their channels
 * live on, and the process stays a participant until the last of them is closed. Without a
 * DcmInit() to undo it does nothing.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no other process can hold it up.
 * Memory:   unmaps the segment when nothing needs it any more.
 * Origin:   drops the connection and what belongs to it, thread-safe, without waiting: KCE 1.3.
 *           That channels outlive it follows from their rules there; the rest is ours.
 */
DCM_API void DcmFini(void);

/**
 * DcmPublishEndpoint() - offer one endpoint under an interface
 * @serverHandle: who the server is: KosTaskGetHandle(), or an object from
 *                KnHandleCreateUserObject() with OCAP_HANDLE_TRANSFER and OCAP_HANDLE_GET_SID; it
 *                may be closed afterwards
 * @endpointType: name of the interface
 * @endpointName: qualified name of the endpoint, or any name that the parties agreed on
 * @outPubHandle: the publication; requests for this endpoint come through it. Closing it, or the
 *                end of the process however it ends, unpublishes
 *
 * Who finds the endpoint gets a descendant of @serverHandle (outServerHandle of DcmReadPubQueue()),
 * which KnHandleRevoke() of it or of an ancestor reaches. The publication stays, then, and can be
 * connected to; what is given by way of it from then on is revoked.
 *
 * Threads:  any.
 * Blocks:   no; it wakes sleeping subscribers.
 * Progress: lock-free; no stopped or dead process can hold it up.
 * Memory:   keeps no pointer. What the caller stored before is visible to whoever reads the notice.
 * Return:   rcOk; rcNotConnected (before DcmInit()); rcInvalidArgument (a name); rcNoCapability;
 *           rcHandleRevoked (a handle is);
 *           rcAlreadyExists (this process published type, name and server already);
 *           rcQuotaExceeded (endpoints of the fabric, handles given in it, handles of the process).
 * Origin:   KCE 1.3; one name published twice, the life after a revocation, and the codes: ours.
 */
DCM_API Retcode DcmPublishEndpoint(Handle serverHandle, const char *endpointType,
				   const char *endpointName, DcmHandle *outPubHandle);

/**
 * DcmListen() - take one client's request for a published endpoint
 * @pubHandle:       the publication
 * @timeout:         milliseconds to wait for one, 0 or INFINITE_TIMEOUT
 * @outClientHandle: or null; who the client says it is: a handle of the caller's, to compare SIDs
 *                   and to close. It is revoked when the client revokes what it showed
 * @outClientName:   or null; DCM_NAME_SIZE bytes: the name of the client's process
 * @outConnectionId: the request: DcmAccept() accepts, DcmCloseHandle() alone refuses; to be closed
 *                   in both cases
 *
 * Requests come in the order in which they were made, each to exactly one listening thread. One
 * whose client is known to be gone is not handed out.
 *
 * Threads:  any; several may listen on one publication.
 * Blocks:   until a request is there or @timeout is over.
 * Progress: no stopped or dead client can hold it up.
 * Memory:   what the client stored before DcmConnect() is visible, as far as it is shared.
 * Return:   rcOk; rcTimeout; rcIpcInterrupt; rcNotConnected (before DcmInit(); or the publication
 *           was closed while waiting); rcQuotaExceeded (handles of the process; the request is refused).
 * Origin:   KCE 1.3; order, several threads, the codes of timeout and interruption: ours.
 */
DCM_API Retcode DcmListen(DcmHandle pubHandle, DcmTimeout timeout, Handle *outClientHandle,
			  char *outClientName, DcmHandle *outConnectionId);

/**
 * DcmAccept() - accept a request: hand a callable handle to the client
 * @connectionId:  the request, from DcmListen()
 * @sessionHandle: a callable handle made in this process by KnHandleCreateUserObjectEx() with
 *                 OCAP_IPC_CALL and OCAP_HANDLE_TRANSFER; it may serve any number of requests, and
 *                 may be closed afterwards
 * @badgeHandle:   of KnHandleCreateBadge(): its context comes with every request of the session,
 *                 and its notice tells when the client has no descendant left; or INVALID_HANDLE
 *
 * The client gets a descendant of the handle with OCAP_IPC_CALL, OCAP_HANDLE_COPY and
 * OCAP_HANDLE_GET_EVENT, and with it a channel to the listener behind the handle. The request
 * must still be closed with DcmCloseHandle(), which takes nothing back. KnHandleRevoke() of the
 * callable handle, or of what it was copied from, takes the session back, and so does
 * KnHandleRevokeSubtree() by the badge; closing the handle does not.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no client can hold it up.
 * Memory:   creates the channel: 64 KiB of shared memory at first.
 * Return:   rcOk; rcNotConnected (before DcmInit(); the client is gone; the listener is closed;
 *           another thread closes the request meanwhile);
 *           rcInvalidArgument (not such a callable handle, or one that another thread closes or
 *           revokes meanwhile; not a badge, or a closed one); rcHandleRevoked; rcNoCapability;
 *           rcInvalidOperation (accepted already); rcQuotaExceeded (descriptors, handles);
 *           rcSecurityDisallow (who would get the channel is not that client, says the kernel).
 * Origin:   KCE 1.3; the codes: ours.
 */
DCM_API Retcode DcmAccept(DcmHandle connectionId, Handle sessionHandle, Handle badgeHandle);

/**
 * DcmSetSubscription() - ask for notices about endpoints of one interface
 * @endpointType:    name of the interface
 * @endpointName:    only this qualified endpoint name, or null
 * @serverName:      only servers whose process has this name, or null
 * @serverHandle:    only the server with this handle's SID (OCAP_HANDLE_GET_SID), or INVALID_HANDLE
 * @outSubscrHandle: the subscription; closing it ends the notices and drops those unread
 *
 * Filters combine with AND and match exactly. @serverHandle is looked at now: that it is revoked
 * later changes nothing. The queue begins with a PUBLISHED notice for every
 * matching endpoint that is published now.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: lock-free; no stopped or dead process can hold it up.
 * Memory:   keeps no pointer; grows with the number of matching endpoints.
 * Return:   rcOk; rcNotConnected (before DcmInit()); rcInvalidArgument (a name); rcNoCapability;
 *           rcHandleRevoked (a handle is);
 *           rcQuotaExceeded (subscriptions of the fabric, handles of the process).
 * Origin:   KCE 1.3; how filters combine, and the match by SID: ours.
 */
DCM_API Retcode DcmSetSubscription(const char *endpointType, const char *endpointName,
				   const char *serverName, Handle serverHandle,
				   DcmHandle *outSubscrHandle);

/**
 * DcmReadPubQueue() - take one notice from a subscription
 * @subscrHandle:    the subscription
 * @timeout:         milliseconds to wait for one, 0 or INFINITE_TIMEOUT
 * @outPubStatus:    or null; DCM_PUBLISHED or DCM_UNPUBLISHED
 * @outServerHandle: or null; the server's identity: a new handle of the caller's, to be closed with
 *                   KnHandleClose(); rights OCAP_HANDLE_GET_SID and OCAP_HANDLE_GET_EVENT. It is
 *                   revoked, from the start or later, when the server has revoked what it
 *                   published with
 * @outServerName:   or null; DCM_NAME_SIZE bytes: the name of the server's process
 * @outEndpointName: or null; DCM_NAME_SIZE bytes
 *
 * The notices of one publication alternate, PUBLISHED first; none comes twice. UNPUBLISHED comes
 * when the server withdrew the endpoint and when it ended, and carries handle and names as well.
 * A successor under the same name and server is announced only after its predecessor's end. Who
 * reads late misses at most pairs that came and went unread: once the queue is empty, what was
 * announced is what is published.
 *
 * Threads:  any; each notice goes to one of them.
 * Blocks:   until a notice is there or @timeout is over.
 * Progress: no stopped or dead process can hold it up, and an unread queue holds nobody up.
 * Memory:   what the server stored before publishing is visible, as far as it is shared.
 * Return:   rcOk; rcTimeout (nothing to read); rcIpcInterrupt; rcNotConnected (before DcmInit(); or
 *           the subscription was closed while waiting); rcQuotaExceeded (handles of the process;
 *           the notice stays).
 * Origin:   KCE 1.3; order, overflow, and the codes of timeout and interruption: ours.
 */
DCM_API Retcode DcmReadPubQueue(DcmHandle subscrHandle, DcmTimeout timeout,
				DcmPubStatus *outPubStatus, Handle *outServerHandle,
				char *outServerName, char *outEndpointName);

/**
 * DcmCreateConnection() - prepare a request to an endpoint
 * @endpointType:    name of the interface
 * @endpointName:    qualified name of the endpoint
 * @serverHandle:    the server, as DcmReadPubQueue() gave it or had by other means
 *                   (OCAP_HANDLE_GET_SID); INVALID_HANDLE: any server that publishes type and name
 * @clientHandle:    who the client is: KosTaskGetHandle(), or an object from
 *                   KnHandleCreateUserObject() with OCAP_HANDLE_TRANSFER and OCAP_HANDLE_GET_SID,
 *                   which may be closed afterwards; INVALID_HANDLE: the process itself
 * @outConnectionId: the connection, to be closed; closing it early withdraws the request
 *
 * Nothing is sent yet, and the endpoint need not be published yet. @serverHandle is looked at now:
 * that it is revoked later changes nothing. The server gets a descendant of @clientHandle.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no other process is asked.
 * Memory:   keeps no pointer.
 * Return:   rcOk; rcNotConnected (before DcmInit()); rcInvalidArgument (a name); rcNoCapability;
 *           rcHandleRevoked (a handle is);
 *           rcQuotaExceeded (handles given in the fabric, handles of the process).
 * Origin:   KCE 1.3; INVALID_HANDLE for either handle: ours.
 */
DCM_API Retcode DcmCreateConnection(const char *endpointType, const char *endpointName,
				    Handle serverHandle, Handle clientHandle,
				    DcmHandle *outConnectionId);

/**
 * DcmConnect() - send the request and wait for the server's decision
 * @connectionId:     the connection
 * @timeout:          milliseconds to wait, 0 or INFINITE_TIMEOUT
 * @outSessionHandle: the callable handle, for dcm/channel.h; to be closed with KnHandleClose()
 *
 * If nothing that matches is published, the request is parked in the fabric and goes to the first
 * publication that does. After rcTimeout or rcIpcInterrupt it stays, and a further call goes on
 * waiting for it; after rcNotConnected a further call asks anew. After success the connection
 * must still be closed, which does not touch the callable handle.
 *
 * Threads:  any; of several on one connection one gets the handle.
 * Blocks:   until the server decided or @timeout is over.
 * Progress: the server's end, or that of its publication, ends it at once; a server that is only
 *           stopped or busy is waited for until @timeout.
 * Memory:   maps the channel. What the server stored before DcmAccept() is visible, as far as it is
 *           shared.
 * Return:   rcOk; rcTimeout; rcIpcInterrupt; rcNotConnected (refused; the server or its publication
 *           ended; the connection was closed while waiting; before DcmInit()); rcInvalidOperation
 *           (connected already); rcQuotaExceeded (connections of the fabric, descriptors, handles);
 *           rcSecurityDisallow (the kernel lets this process have the channel by no way that
 *           DCM_TRANSFER and the fabric allow; the detail says of each why).
 * Origin:   KCE 1.3; parking, asking again, and the codes of timeout and interruption: ours.
 */
DCM_API Retcode DcmConnect(DcmHandle connectionId, DcmTimeout timeout, Handle *outSessionHandle);

/**
 * DcmInterruptBlockingCall() - end what is blocked on a DCM handle
 * @handle: a publication (DcmListen), subscription (DcmReadPubQueue) or connection (DcmConnect)
 *
 * Every call that is blocked on the handle ends with rcIpcInterrupt. If none is, the next call that
 * would block on it does, once. A call that finds its data ready returns it, and one with timeout
 * 0 neither reports nor uses up the interruption.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: lock-free.
 * Memory:   what the caller stored before is visible to the thread whose call ends.
 * Return:   rcOk; rcNotConnected (before DcmInit()).
 * Origin:   ends blocked calls: KCE 1.3. All of them, and that it is remembered once: ours.
 */
DCM_API Retcode DcmInterruptBlockingCall(DcmHandle handle);

/**
 * DcmSubscribeToEvents() - have a notice told of the events of a DCM handle
 * @notice: from KnNoticeCreate() in coresrv/handle/notice_api.h, which says how events are fetched
 * @handle: a publication, subscription or connection
 * @evMask: which of its events:
 *          DCM_PUBLICATION_CHANGED (subscription): a notice can be read;
 *          DCM_CLIENT_CONNECTED (publication): a request can be taken;
 *          DCM_CLIENT_RELEASED_BY_SERVER (connection): the request is accepted or refused, or its
 *          server is gone, and DcmConnect() with timeout 0 says which. With a DcmConnect() with
 *          timeout 0 before, which sends the request, that is the asynchronous connect. If the call
 *          says rcTimeout, the kernel did not let it fetch the channel, which is on its way by
 *          socket then (dcm(7), DCM_TRANSFER): the event comes again with it;
 *          DCM_BLOCKING_CALL_INTERRUPTED (each): DcmInterruptBlockingCall() was called
 * @evId:   any number or pointer, by which the program knows what has fired; or DCM_EVENT_ID
 *
 * An event that is true already fires at once. One whose teller dies or is stopped in the middle of
 * telling comes within about a second.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no stopped or dead process can hold it up.
 * Memory:   about a hundred bytes until unsubscribed, or the handle or the notice is closed; while
 *           there is one the library's thread looks around once a second.
 * Return:   rcOk; rcNotConnected (before DcmInit()); rcInvalidArgument (a mask that is 0 or has
 *           events that the handle does not have).
 * Origin:   that it exists, and the events: KCE 1.3; mask, id and what fires at once: ours.
 */
DCM_API Retcode DcmSubscribeToEvents(Notice notice, DcmHandle handle, uint32_t evMask,
				     uintptr_t evId);

/**
 * DcmUnsubscribeFromEvents() - have a notice told no more of the events of a DCM handle
 * @notice: the notice
 * @handle: what it was subscribed to
 *
 * Takes out all that DcmSubscribeToEvents() has put in, whatever the ids; what was not fetched yet
 * goes with it. KnNoticeUnsubscribeFromEvent() takes out by id.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no stopped or dead process can hold it up.
 * Memory:   frees the subscriptions.
 * Return:   rcOk; rcNotConnected (before DcmInit()); rcResourceNotFound (there was none).
 * Origin:   KCE 1.3; the codes: ours.
 */
DCM_API Retcode DcmUnsubscribeFromEvents(Notice notice, DcmHandle handle);

/**
 * DcmCloseHandle() - close a DCM handle
 * @handle: a publication: unpublishes, and refuses its waiting requests;
 *          a subscription: ends it, and drops unread notices;
 *          a connection: withdraws the request if it is undecided;
 *          a request: refuses it if it was not accepted.
 *          Channels that were made stay.
 *
 * A call that is blocked on the handle ends with rcNotConnected.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: lock-free; no stopped or dead process can hold it up.
 * Memory:   frees what the handle stood for as soon as no call uses it.
 * Return:   rcOk; rcNotConnected (before DcmInit()).
 * Origin:   KCE 1.3; blocked calls, and the code of a handle closed twice: ours.
 */
DCM_API Retcode DcmCloseHandle(DcmHandle handle);

DCM_END_DECLS

#endif
