/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Notices: one receiver for the events of any number of objects.
 *
 *	KnNoticeCreate(&notice);
 *	DcmSubscribeToEvents(notice, publication, DCM_CLIENT_CONNECTED, 1);
 *	DcmSubscribeToEvents(notice, subscription, DCM_PUBLICATION_CHANGED, 2);
 *	while (KnNoticeGetEvent(notice, INFINITE_TIMEOUT, 1, &event, &count) == rcOk)
 *		if (event.eventId == 1)
 *			while (DcmListen(publication, 0, ...) == rcOk)
 *				...
 *
 * What a subscription adds to a notice is an entry: an object, the events of it that are wanted, and
 * a number of the program's, the id, by which it knows what has fired. Several entries may be of one
 * object, and several may have one id.
 *
 * An entry fires when one of its events happens, and at once when one is true already: when the
 * subscription has something to read, for instance. It is then in the notice's queue until a call
 * fetches it; what else happens to it meanwhile is added to the mask of the one event. The queue is
 * in the order in which entries fired. So an event says that something has happened since this id was
 * fetched last, not how often: take all there is, and what comes later fires anew. Nothing is lost
 * between two calls of KnNoticeGetEvent(). What another call has taken meanwhile is not there any
 * more: finding nothing after an event is no error.
 *
 * What has fired before its object was closed can still be fetched. What has been unsubscribed is
 * not fetched any more: when the call is back no event of it comes, and what its id points at may be
 * freed if no other thread holds an event that it fetched before.
 *
 * An event loop takes DcmGetFd() of a notice, which is readable while the queue is not empty.
 *
 * None of these functions needs DcmInit(). All may be called from any thread at any time, but not
 * from a signal handler. fork: a child has none of its parent's notices.
 */
#ifndef DCM_CORESRV_HANDLE_NOTICE_API_H
#define DCM_CORESRV_HANDLE_NOTICE_API_H

#include <dcm/types.h>

DCM_BEGIN_DECLS

/* Events of handles. Those of DCM handles are in dcm/dcm_api.h. */
#define EVENT_OBJECT_DESTROYED (1u << 0) /* the resource is gone */
#define EVENT_BADGE_CLOSED     (1u << 1) /* all descendants of a transfer are closed or revoked */
/* Bits 16 to 31 of a user object mean what its program says: KnNoticeSetObjectEvent(). */

/* What has happened. */
typedef struct EventDesc {
	uintptr_t eventId;  /* of the entry */
	uint32_t eventMask; /* what happened of its events, at least one */
} EventDesc;

/**
 * KnNoticeCreate() - make a notice
 * @outNotice: the notice, to be released
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no other process is asked.
 * Memory:   about a hundred bytes until it is released.
 * Return:   rcOk; rcQuotaExceeded (handles of the process).
 * Origin:   KCE 1.1.
 */
DCM_API Retcode KnNoticeCreate(Notice *outNotice);

/**
 * KnNoticeSubscribeToObject() - add an entry for a handle
 * @notice: the notice
 * @object: a handle with OCAP_HANDLE_GET_EVENT
 * @evMask: which events:
 *          a user object or callable handle: EVENT_OBJECT_DESTROYED (its last handle is closed) and
 *          bits 16 to 31;
 *          a session: EVENT_OBJECT_DESTROYED (the other side has ended the channel, or is dead);
 *          an identity (from DcmListen() or DcmReadPubQueue()): EVENT_OBJECT_DESTROYED (its process is
 *          dead, or has left the fabric; told within a second, while this process is in it);
 *          a badge: EVENT_BADGE_CLOSED, EVENT_OBJECT_DESTROYED
 * @evId:   any number or pointer: EventDesc.eventId of what the entry fires
 *
 * The entry ends with KnNoticeUnsubscribeFromEvent(), with the object, with the notice, or with the
 * revocation of @object, by which the holder is told nothing any more, of the object's end neither;
 * what has fired before can still be fetched. To close @object does not end it: then the entry lasts
 * as long as the object. Who revokes the last handles of an object himself is told of its end by an
 * entry that he made with the handle that he gives KnHandleRevoke().
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no other process is asked.
 * Memory:   about a hundred bytes for each entry.
 * Return:   rcOk; rcInvalidArgument (a mask that is 0 or has events that never come from this
 *           object); rcNoCapability; rcHandleRevoked.
 * Origin:   KCE 1.1 and 1.2; what fires at once, and the codes: ours.
 */
DCM_API Retcode KnNoticeSubscribeToObject(Notice notice, Handle object, uint32_t evMask,
					  uintptr_t evId);

/**
 * KnNoticeUnsubscribeFromEvent() - take all entries with an id out of a notice
 * @notice: the notice
 * @evId:   their id, whatever they are subscribed to, DCM handles included
 *
 * What they have fired and was not fetched yet goes with them.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no other process is asked.
 * Memory:   frees the entries.
 * Return:   rcOk; rcResourceNotFound (there was none).
 * Origin:   KCE 1.4; that there may be none, and the code of it: ours.
 */
DCM_API Retcode KnNoticeUnsubscribeFromEvent(Notice notice, uintptr_t evId);

/**
 * KnNoticeGetEvent() - fetch what has fired, or wait for it
 * @notice:   the notice
 * @msec:     milliseconds to wait for the first event; 0 does not wait, INFINITE_TIMEOUT and more
 *            for ever
 * @countMax: room in @events, at least 1
 * @events:   what has fired, in the order in which it did
 * @outCount: how many there are; 0 unless rcOk
 *
 * Each event goes to one of the threads that wait. The call comes back as soon as there is one, with
 * all there are if they have room.
 *
 * Threads:  any; several may wait on one notice.
 * Blocks:   until an event is there or @msec is over.
 * Progress: no other process is asked.
 * Memory:   what was stored before KnNoticeSetObjectEvent(), or became visible to the call that the
 *           event announces, is visible.
 * Return:   rcOk; rcTimeout; rcNotConnected (the notice was released while waiting);
 *           rcInvalidArgument (countMax 0).
 * Origin:   KCE 1.1; the codes, and several threads: ours.
 */
DCM_API Retcode KnNoticeGetEvent(Notice notice, uint64_t msec, size_t countMax, EventDesc *events,
				 size_t *outCount);

/**
 * KnNoticeSetObjectEvent() - raise events of a user object
 * @object: a user object or callable handle with OCAP_HANDLE_SET_EVENT
 * @evMask: bits 16 to 31
 *
 * Every entry that asks for one of them fires, in this process; who subscribes later is not told.
 *
 * Threads:  any.
 * Blocks:   no; no system call is made unless a thread sleeps in KnNoticeGetEvent(), or a descriptor
 *           becomes readable.
 * Progress: no other process is asked.
 * Memory:   what the caller stored before is visible to who fetches the event.
 * Return:   rcOk; rcInvalidArgument (a mask that is 0 or has other bits, or no user object);
 *           rcNoCapability; rcHandleRevoked.
 * Origin:   that it exists: KCE 1.1; the rest: ours.
 */
DCM_API Retcode KnNoticeSetObjectEvent(Handle object, uint32_t evMask);

/**
 * KnNoticeRelease() - end a notice with all its entries
 * @notice: the notice
 *
 * Threads that wait in KnNoticeGetEvent() get rcNotConnected, and who polls its descriptor wakes
 * (but not from epoll_wait(): DcmGetFd()).
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no other process is asked.
 * Memory:   frees the notice and its entries; closes the descriptor.
 * Return:   rcOk.
 * Origin:   ours.
 */
DCM_API Retcode KnNoticeRelease(Notice notice);

DCM_END_DECLS

#endif
