/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Handles: user objects, callable handles, listeners, badges; copies of them, and their end.
 *
 * A handle names a resource and carries rights to it. Rights are checked on every call, and what is
 * copied or handed to another process is a descendant with the same SID and no more rights. The
 * holder's library enforces the mask, in the holder's process: it guards against mistakes, not
 * against a process that means harm. What a server withdraws, by closing or revoking, is enforced in
 * the server's process, whatever the client does.
 *
 * Descendants form a tree: a copy is a child of what it was copied from, and a session that a client
 * holds is a child of the callable handle that it was accepted with. A revoked handle is not a
 * closed one: its number stays taken, every use of it fails with rcHandleRevoked, and it is still to
 * be closed. A resource is gone when all its handles are closed or revoked.
 *
 * So is the identity that another process got of this one (outServerHandle of DcmReadPubQueue(),
 * outClientHandle of DcmListen()): a child of the handle that was published or asked with, under
 * which it can be revoked like the rest. The holder's library looks whenever it is used. What it has
 * seen is not undone: the SID, which it may have kept; subscriptions and connections that were made
 * with it, which go on. It does not see what is revoked while the holder is attached to no fabric,
 * nor, of what was shown before the giver left its fabric, what is revoked since, also when the giver
 * is back. A publication outlives its handle, also a revoked one: what is shown by it
 * from then on is given as revoked. To withdraw an endpoint, close its publication.
 *
 * A process shows itself by few handles, and each takes a place in its fabric (DCM_MAX_GIFTS) until
 * it is closed and its publications and connections are; a revoked one until the process leaves. That
 * it was revoked is remembered beyond that, until five processes that had the place later have
 * revoked what they had there in their turn; who has looked once in the meantime knows for good.
 *
 * None of these functions needs DcmInit(). All may be called from any thread at any time, but not
 * from a signal handler. fork: in a child the parent's sessions, listeners, callable handles, badges
 * and copies of its own handle are rcInvalidArgument; user objects and identities stay, each by
 * itself: revoking one reaches no other.
 */
#ifndef DCM_CORESRV_HANDLE_HANDLE_API_H
#define DCM_CORESRV_HANDLE_HANDLE_API_H

#include <dcm/types.h>

DCM_BEGIN_DECLS

/* Rights. Bits 16 to 31 belong to the kind of resource; for a callable handle 16 is the call. */
#define OCAP_HANDLE_TRANSFER  (1u << 0)	 /* to be handed to another process */
#define OCAP_HANDLE_COPY      (1u << 1)	 /* to be copied */
#define OCAP_HANDLE_GET_SID   (1u << 2)	 /* to ask for its SID */
#define OCAP_HANDLE_GET_EVENT (1u << 3)	 /* to be told of its events */
#define OCAP_HANDLE_SET_EVENT (1u << 4)	 /* to raise its events */
#define OCAP_IPC_CALL	      (1u << 16) /* to be called */

/* Types of user objects: any number between these; it has no effect. */
enum { HANDLE_TYPE_USER_FIRST = 0x100, HANDLE_TYPE_USER_LAST = 0x1ff };

/**
 * KnHandleCreateUserObject() - make a resource of the program's own
 * @type:      HANDLE_TYPE_USER_FIRST .. HANDLE_TYPE_USER_LAST
 * @rights:    OCAP_HANDLE_... and bits 16 to 31 as the program likes
 * @context:   any pointer, or null; the library does not follow it
 * @outHandle: the handle, to be closed
 *
 * It serves as an identity: two handles are of one resource when their SIDs are equal.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no other process is asked.
 * Memory:   a few hundred bytes until it is closed.
 * Return:   rcOk; rcInvalidArgument (type, or a right that does not exist); rcQuotaExceeded
 *           (handles of the process).
 * Origin:   KCE 1.1 and 1.3.
 */
DCM_API Retcode KnHandleCreateUserObject(uint32_t type, uint32_t rights, void *context,
					 Handle *outHandle);

/**
 * KnHandleCreateUserObjectEx() - make a callable handle
 * @type:       HANDLE_TYPE_USER_FIRST .. HANDLE_TYPE_USER_LAST
 * @rights:     for DcmAccept(): OCAP_IPC_CALL and OCAP_HANDLE_TRANSFER
 * @context:    any pointer, or null; DcmRequest.context of every request made through the handle
 * @ipcChannel: the listener at which requests arrive, or INVALID_HANDLE
 * @riid:       number of the endpoint, the server's own; DcmRequest.riid of every request
 * @outHandle:  the handle, to be closed
 *
 * Without listener and riid (INVALID_HANDLE, INVALID_RIID) it is KnHandleCreateUserObject(); one of
 * them alone is an error.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no other process is asked.
 * Memory:   a few hundred bytes until it is closed.
 * Return:   rcOk; rcInvalidArgument (type, a right that does not exist, not a listener, riid);
 *           rcQuotaExceeded (handles of the process).
 * Origin:   KCE 1.2 and 1.3; the codes: ours.
 */
DCM_API Retcode KnHandleCreateUserObjectEx(uint32_t type, uint32_t rights, void *context,
					   Handle ipcChannel, uint32_t riid, Handle *outHandle);

/**
 * KnHandleCreateListener() - make the server's end of channels
 * @outListener: the listener, for DcmReceive(); to be closed
 *
 * Any number of callable handles, and of clients, may share one.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no other process is asked.
 * Memory:   until it is closed and its last channel has ended.
 * Return:   rcOk; rcQuotaExceeded (listeners, handles of the process).
 * Origin:   that it makes the server's handle: KCE 1.3. The prototype: ours.
 */
DCM_API Retcode KnHandleCreateListener(Handle *outListener);

/**
 * KnHandleCreateBadge() - make a mark to transfer or copy handles under
 * @notice:   is subscribed to EVENT_OBJECT_DESTROYED and EVENT_BADGE_CLOSED of the badge
 * @eventId:  the id of both events there, any number
 * @context:  any pointer, or null; DcmRequest.badgeContext of every request that comes over a session
 *            accepted with the badge. The library does not follow it.
 * @outBadge: the badge, to be closed; for DcmAccept(), KnHandleCopy(), KnHandleRevokeSubtree()
 *
 * EVENT_BADGE_CLOSED comes each time when the last descendant of what was given under the badge is
 * closed or revoked, or has died with its process; a badge may be used again after that. For a
 * session that is as soon as the server's library knows, and nothing that was sent over it waits to
 * be received any more: behind the event no request with that context comes in. A listener that is
 * closed ends its sessions for this, too.
 *
 * Closed while descendants are left, the badge lasts until they are gone: its context is given on,
 * and the event comes. EVENT_OBJECT_DESTROYED comes when it is closed and none are left.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no other process is asked.
 * Memory:   a few hundred bytes until it is closed and has no descendants.
 * Return:   rcOk; rcInvalidArgument (no such notice); rcOutOfMemory; rcQuotaExceeded (handles of the
 *           process).
 * Origin:   KCE 1.1 and 1.3; the moment for a session with unread messages, and the use again: ours.
 */
DCM_API Retcode KnHandleCreateBadge(Notice notice, uintptr_t eventId, void *context,
				    Handle *outBadge);

/**
 * KnHandleCopy() - make another handle on the same resource
 * @handle:    with OCAP_HANDLE_COPY
 * @newRights: of the copy: no more than @handle has
 * @copyBadge: of KnHandleCreateBadge(): the copy and all that descends from it count as given under
 *             it; or INVALID_HANDLE
 * @outHandle: the copy, a descendant of @handle; to be closed
 *
 * A copy of a session is the same channel: calls that were started through one handle can be
 * finished through another, messages loaned through one be sent through another, and the channel
 * ends with the last. A copy of the process's own handle is closed like any other handle. Listeners,
 * badges and the identities of others have no right to be copied.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no other process is asked.
 * Memory:   a few hundred bytes until it is closed.
 * Return:   rcOk; rcInvalidArgument (a right that does not exist; not a badge; @handle is closed or
 *           revoked by another thread meanwhile); rcHandleRevoked; rcNoCapability (@handle lacks
 *           OCAP_HANDLE_COPY, or a right that @newRights names); rcOutOfMemory; rcQuotaExceeded
 *           (handles of the process).
 * Origin:   KCE 1.2; what is shared between copies of a session: ours.
 */
DCM_API Retcode KnHandleCopy(Handle handle, uint32_t newRights, Handle copyBadge,
			     Handle *outHandle);

/**
 * KnHandleClose() - give a handle's number up
 * @handle: a listener: its channels end, and callers get rcNotConnected;
 *          a callable handle: sessions that were made from it stay;
 *          a session: with the last handle on it the channel ends;
 *          a badge: it lasts until nothing that was given under it is left;
 *          an identity: nothing else happens;
 *          the process's own handle: nothing happens at all;
 *          a revoked handle: its number is free
 *
 * A call that is blocked on the handle ends with rcNotConnected, one on a copy of it goes on.
 * Messages on loan stay mapped until they are released. The handle's ancestors and descendants stay
 * valid: its children in the tree become its parent's.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no other process can hold it up.
 * Memory:   frees what the handle stood for as soon as nothing uses it.
 * Return:   rcOk.
 * Origin:   KCE 1.2 and 1.3; blocked calls: ours.
 */
DCM_API Retcode KnHandleClose(Handle handle);

/**
 * KnHandleRevoke() - close a handle and revoke all that descends from it
 * @handle: of any kind; of the process's own handle the descendants alone are revoked, it stays
 *
 * The numbers of descendants stay taken: every use of them, and every call that is blocked on them
 * or on @handle, ends with rcHandleRevoked, and closing them is rcOk. A session that was accepted
 * with @handle or with a copy of it is revoked by the server's side: when the function returns, none of its
 * requests is received any more, not even one that was sent already; the client's calls, blocked and
 * started ones too, end with rcHandleRevoked, also when the server has died since. Requests that
 * were received before are still released, or answered in vain. A client that has been accepted and
 * has not fetched its session yet is refused. What other processes were shown by way of @handle or
 * a descendant (DcmPublishEndpoint(), DcmCreateConnection()) is revoked for each use of it behind the
 * return, also when this process has died since. A descendant that was closed passes what was shown
 * by way of it to its parent as long as a publication or connection that was made with it is open.
 *
 * A message given to DcmCall(), DcmStart() or DcmSend() on a revoked session is consumed.
 *
 * Threads:  any. A copy that another thread makes meanwhile is revoked, too, or is not made.
 * Blocks:   no.
 * Progress: no other process can hold it up.
 * Memory:   as KnHandleClose(); what a revoked handle stood for is mapped until it is closed.
 * Return:   rcOk; rcInvalidArgument (also when another thread closes it meanwhile: what descends from
 *           it is then its parent's, and not revoked); rcHandleRevoked (it is revoked itself: close
 *           it).
 * Origin:   KCE 1.1 and 1.2; sessions, messages and the process's own handle: ours.
 */
DCM_API Retcode KnHandleRevoke(Handle handle);

/**
 * KnHandleRevokeSubtree() - revoke what descends from a handle under one badge
 * @handle: stays as it is
 * @badge:  what was copied or accepted under it, and all that descends from that
 *
 * Else as KnHandleRevoke(). EVENT_BADGE_CLOSED follows when nothing under the badge is left. What
 * other processes were shown by way of a copy is under the copy's badge as long as the copy is
 * open; it does not count for the event, for nobody tells when they close it.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no other process can hold it up.
 * Memory:   as KnHandleRevoke().
 * Return:   rcOk, also when there was none; rcInvalidArgument (a handle, the badge; @handle is
 *           closed by another thread meanwhile); rcHandleRevoked (@handle is).
 * Origin:   KCE 1.2.
 */
DCM_API Retcode KnHandleRevokeSubtree(Handle handle, Handle badge);

/**
 * KnHandleGetSidByHandle() - the identity of the resource behind a handle
 * @handle: with OCAP_HANDLE_GET_SID
 * @outSid: its SID; equal SIDs are the same resource, in every process of the fabric
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no other process is asked.
 * Memory:   nothing to free.
 * Return:   rcOk; rcNoCapability.
 * Origin:   KCE 1.2 and 1.3.
 */
DCM_API Retcode KnHandleGetSidByHandle(Handle handle, Sid *outSid);

DCM_END_DECLS

#endif
