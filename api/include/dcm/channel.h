/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The channel behind a callable handle: messages that are written and read in place.
 *
 *	client: DcmLoan, write to data, DcmCall, read the reply's data, DcmRelease
 *	server: DcmReceive, read the request's data, DcmLoanReply, write, DcmReply
 *
 * A channel is a piece of memory that client and server both map; the library copies no payload.
 * The peer can change a message while it is read: copy what is checked and then used.
 *
 * Times are nanoseconds on CLOCK_MONOTONIC; 0 does not wait, a negative time waits for ever.
 *
 * A message that DcmLoan, DcmLoanReply, DcmCall, DcmFinish or DcmReceive hands out is the caller's
 * until it is given to DcmCall, DcmStart, DcmSend or DcmReply, or released. These consume it and
 * set data to null, unless they answer rcInvalidArgument, rcNoCapability or rcQuotaExceeded: then
 * it is still the caller's. It stays mapped until then, also after the handle is closed or the peer
 * died.
 *
 * Every function may be called from any thread at any time (but not from a signal handler): any
 * number of threads may call over one session and receive from one listener. One DcmMessage or
 * DcmRequest is used by one thread at a time. None of these functions needs DcmInit(). Handles and
 * file descriptors are not carried inside messages.
 */
#ifndef DCM_CHANNEL_H
#define DCM_CHANNEL_H

#include <dcm/types.h>

DCM_BEGIN_DECLS

typedef struct DcmMessage {
	void *data;	/* in shared memory; null: no message */
	size_t size;	/* bytes; may be made smaller than what was loaned */
	int32_t status; /* a number of the application's, carried along; 0 unless set */
	uint32_t reserved;
	uint64_t opaque[4]; /* the library's */
} DcmMessage;

typedef struct DcmRequest {
	DcmMessage message;
	void *context;	    /* of the callable handle */
	void *badgeContext; /* of the badge, or null */
	uint32_t riid;	    /* of the callable handle */
	uint32_t flags;	    /* DCM_REQUEST_ONE_WAY: no reply is due */
	uint64_t opaque[4]; /* the library's */
} DcmRequest;

#define DCM_REQUEST_ONE_WAY 1u

/* For DcmFinish(): whichever call is done first. */
#define DCM_ANY_CALL UINT64_MAX

/**
 * DcmLoan() - room for a message to the server
 * @session:    the callable handle from DcmConnect()
 * @size:       bytes; 0 up to what the channel can ever give: a quarter of it, 16 MiB by default
 * @timeoutNs:  how long to wait for room in a full channel
 * @outMessage: data is aligned to 64 bytes, and holds anything; size as asked, status 0
 *
 * Threads:  any.
 * Blocks:   only if the channel is full and @timeoutNs is not 0.
 * Progress: lock-free; the server's death ends the wait at once.
 * Memory:   the room is the caller's; the channel grows as far as it must.
 * Return:   rcOk; rcInvalidArgument (more than the channel can ever give); rcNoCapability;
 *           rcQuotaExceeded (full, and @timeoutNs is 0); rcTimeout; rcIpcInterrupt; rcNotConnected
 *           (the channel has ended); rcHandleRevoked; rcOutOfMemory (the system has no page for it).
 * Origin:   ours; the original's messages are copied by its kernel.
 */
DCM_API Retcode DcmLoan(Handle session, size_t size, int64_t timeoutNs, DcmMessage *outMessage);

/**
 * DcmLoanBatch() - room for messages, for as many as there is some, up to a number
 * @session:   as DcmLoan()
 * @size:      bytes of each
 * @timeoutNs: how long to wait for the first; the others are not waited for
 * @messages:  as from DcmLoan(), each to be sent or released
 * @capacity:  how many there is place for in @messages; at least 1
 * @outCount:  how many were loaned; not 0 with rcOk, 0 else
 *
 * For many messages that are sent by one DcmSendBatch(): it costs little more than one DcmLoan().
 *
 * Threads:  any.
 * Blocks:   only if the channel is full and @timeoutNs is not 0.
 * Progress: as DcmLoan().
 * Memory:   as DcmLoan(); elements from *@outCount on may be written to, to no use.
 * Return:   as DcmLoan(); rcInvalidArgument (@capacity is 0; null).
 * Origin:   ours.
 */
DCM_API Retcode DcmLoanBatch(Handle session, size_t size, int64_t timeoutNs, DcmMessage *messages,
			     size_t capacity, size_t *outCount);

/**
 * DcmCall() - send a request and wait for the reply
 * @session:   the callable handle, with OCAP_IPC_CALL
 * @request:   a loan of this session; consumed
 * @timeoutNs: how long to wait, for room and for the reply together
 * @outReply:  the reply, to be released; null if its contents do not matter
 *
 * When the time runs out the call is given up: the library drops a late reply, and the request's
 * room is used again when the server is done with it. A call runs at most once; after rcTimeout,
 * rcIpcInterrupt and rcNotConnected it may have run.
 *
 * Threads:  any number over one session.
 * Blocks:   until the reply is there or the time is over.
 * Progress: lock-free up to the wait, which the server's death ends at once.
 * Memory:   what the caller stored before is visible to the server's DcmReceive(), and what the
 *           server stored before its DcmReply() is visible to the caller.
 * Return:   rcOk; rcTimeout; rcIpcInterrupt; rcNotConnected (the server died, closed its listener,
 *           or released the request unanswered); rcHandleRevoked (the session is, by its holder or
 *           by the server, also during the call); rcInvalidArgument (not a loan of this session; a
 *           size above what was loaned); rcNoCapability; rcQuotaExceeded (full, @timeoutNs is 0).
 * Origin:   a synchronous call that a server's end breaks off: KCE 1.2. The rest: ours.
 */
DCM_API Retcode DcmCall(Handle session, DcmMessage *request, int64_t timeoutNs,
			DcmMessage *outReply);

/**
 * DcmStart() - send a request; DcmFinish() fetches the reply
 * @session:   the callable handle, with OCAP_IPC_CALL
 * @request:   a loan of this session; consumed
 * @timeoutNs: how long to wait for room
 * @outCall:   the number of the call in this session; needed for DcmFinish()
 *
 * Any number of calls may be under way at once, as far as the channel has room.
 *
 * Threads:  any number over one session.
 * Blocks:   only if the channel is full and @timeoutNs is not 0.
 * Progress: lock-free.
 * Memory:   as DcmCall().
 * Return:   rcOk; rcTimeout; rcIpcInterrupt; rcNotConnected; rcHandleRevoked; rcInvalidArgument;
 *           rcNoCapability; rcQuotaExceeded: as DcmCall().
 * Origin:   ours.
 */
DCM_API Retcode DcmStart(Handle session, DcmMessage *request, int64_t timeoutNs, uint64_t *outCall);

/**
 * DcmFinish() - fetch the reply to a started call
 * @session:   the callable handle
 * @call:      from DcmStart(), or DCM_ANY_CALL
 * @timeoutNs: how long to wait; after rcTimeout and rcIpcInterrupt the call is still under way
 * @outCall:   or null; which call it is that has ended
 * @outReply:  the reply, to be released; null if its contents do not matter
 *
 * Threads:  any; each call is finished once.
 * Blocks:   until the reply is there or the time is over.
 * Progress: the server's death ends it at once.
 * Memory:   as DcmCall().
 * Return:   rcOk; rcTimeout; rcIpcInterrupt; rcNotConnected (that call ended without a reply);
 *           rcHandleRevoked (also of a call that was answered before); rcInvalidArgument (no such
 *           call under way); rcResourceNotFound (DCM_ANY_CALL, and none is under way);
 *           rcNoCapability.
 * Origin:   ours.
 */
DCM_API Retcode DcmFinish(Handle session, uint64_t call, int64_t timeoutNs, uint64_t *outCall,
			  DcmMessage *outReply);

/**
 * DcmSend() - send a message that is not answered
 * @session:   the callable handle, with OCAP_IPC_CALL
 * @message:   a loan of this session; consumed
 * @timeoutNs: how long to wait for room
 *
 * Messages of one thread over one session arrive in their order. rcOk means that the message is in
 * the channel: it is still received if the session is then closed, but not if its client or its
 * server dies first.
 *
 * Threads:  any number over one session.
 * Blocks:   only if the channel is full and @timeoutNs is not 0.
 * Progress: lock-free.
 * Memory:   what the caller stored before is visible to the server's DcmReceive().
 * Return:   rcOk; rcTimeout; rcIpcInterrupt; rcNotConnected; rcHandleRevoked; rcInvalidArgument;
 *           rcNoCapability; rcQuotaExceeded: as DcmCall().
 * Origin:   ours.
 */
DCM_API Retcode DcmSend(Handle session, DcmMessage *message, int64_t timeoutNs);

/**
 * DcmSendBatch() - send many messages that are not answered
 * @session:   the callable handle, with OCAP_IPC_CALL
 * @messages:  loans of this session, in the order in which they are to arrive
 * @count:     of them; 0 sends nothing
 * @timeoutNs: how long to wait for room, for all of them together
 * @outSent:   or null; how many were sent, also on an error
 *
 * As many calls of DcmSend(), but that those which were not sent, @messages[*@outSent] and all behind
 * it, are still the caller's, whatever the answer: to be sent again, or released. The server may
 * receive the first while the last waits for room. Messages that other threads send over the
 * session may come between.
 *
 * Threads:  any number over one session.
 * Blocks:   only if the channel is full and @timeoutNs is not 0.
 * Progress: lock-free.
 * Memory:   what the caller stored before is visible to the server's DcmReceive().
 * Return:   rcOk (all are sent); else why @messages[*@outSent] was not: rcTimeout; rcIpcInterrupt;
 *           rcNotConnected; rcHandleRevoked; rcInvalidArgument; rcNoCapability; rcQuotaExceeded: as
 *           DcmCall().
 * Origin:   ours.
 */
DCM_API Retcode DcmSendBatch(Handle session, DcmMessage *messages, size_t count, int64_t timeoutNs,
			     size_t *outSent);

/**
 * DcmReceive() - take one request from any channel of a listener
 * @listener:   from KnHandleCreateListener()
 * @timeoutNs:  how long to wait for one
 * @outRequest: the request; to be answered with DcmReply(), or released with
 *              DcmRelease(&outRequest->message), after which its caller gets rcNotConnected. One
 *              that is one-way is only released
 *
 * Threads:  any number on one listener; each request goes to one of them.
 * Blocks:   until a request is there or the time is over.
 * Progress: no client, stopped or dead, can hold it up or keep it from the others' requests.
 * Memory:   the data is readable until the reply or release; the client may still change it.
 * Return:   rcOk; rcTimeout; rcIpcInterrupt; rcNotConnected (the listener was closed meanwhile);
 *           rcHandleRevoked (it was revoked meanwhile).
 * Origin:   a blocking receive at the server's handle: KCE 1.2. The rest: ours.
 */
DCM_API Retcode DcmReceive(Handle listener, int64_t timeoutNs, DcmRequest *outRequest);

/**
 * DcmReceiveBatch() - take all requests that are there, up to a number
 * @listener:  from KnHandleCreateListener()
 * @timeoutNs: how long to wait for the first; the others are not waited for
 * @requests:  as from DcmReceive(), each to be answered or released by itself
 * @capacity:  how many there is room for in @requests; at least 1
 * @outCount:  how many were received; not 0 with rcOk, 0 else
 *
 * Clients have their turns as with DcmReceive(); what one thread of a client sent comes in its order.
 *
 * Threads:  any number on one listener; each request goes to one of them.
 * Blocks:   until a request is there or the time is over.
 * Progress: as DcmReceive().
 * Memory:   as DcmReceive(); elements from *@outCount on may be written to, to no use.
 * Return:   as DcmReceive(); rcInvalidArgument (@capacity is 0; null).
 * Origin:   ours.
 */
DCM_API Retcode DcmReceiveBatch(Handle listener, int64_t timeoutNs, DcmRequest *requests,
				size_t capacity, size_t *outCount);

/**
 * DcmLoanReply() - room for the reply to a request
 * @request:  from DcmReceive(), not yet answered
 * @size:     bytes; 0 up to what the channel can ever give
 * @outReply: as DcmLoan()
 *
 * It never waits: a client that keeps its replies stops only itself.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: lock-free.
 * Memory:   the room is the caller's; it comes out of the client's channel.
 * Return:   rcOk; rcInvalidArgument (answered, one-way, or more than the channel can ever give);
 *           rcQuotaExceeded (the channel is full); rcNotConnected (the client has left);
 *           rcOutOfMemory (the system has no page for it).
 * Origin:   ours.
 */
DCM_API Retcode DcmLoanReply(DcmRequest *request, size_t size, DcmMessage *outReply);

/**
 * DcmReply() - answer a request
 * @request: from DcmReceive(); afterwards it is done with, and its message's data is null
 * @reply:   from DcmLoanReply() for this request; consumed
 *
 * Threads:  any, also another than the one that received.
 * Blocks:   no; it wakes the caller.
 * Progress: lock-free; a stopped or dead client cannot hold it up.
 * Memory:   what the caller stored before is visible to the client.
 * Return:   rcOk; rcNotConnected (the client has left or gave the call up: nothing to be done);
 *           rcInvalidArgument (answered, one-way, not a reply of this request, a size above what
 *           was loaned).
 * Origin:   KCE 1.2 has a synchronous reply; the rest: ours.
 */
DCM_API Retcode DcmReply(DcmRequest *request, DcmMessage *reply);

/**
 * DcmRelease() - give a message's room back
 * @message: whatever was handed out and not consumed; data is null afterwards
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: lock-free.
 * Memory:   the data must not be touched any more.
 * Return:   rcOk, also if data is null already; rcInvalidArgument (not a message of the library's).
 * Origin:   ours.
 */
DCM_API Retcode DcmRelease(DcmMessage *message);

/**
 * DcmReleaseBatch() - DcmRelease() of the messages of many requests
 * @requests: as from DcmReceiveBatch(); their messages' data is null afterwards
 * @count:    how many; 0 does nothing
 *
 * Requests of one client that lie in a row cost little more than one does. All that are to be released
 * are, whatever is returned.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: lock-free.
 * Memory:   the data must not be touched any more.
 * Return:   rcOk; rcInvalidArgument (null, or not all were messages of the library's).
 * Origin:   ours.
 */
DCM_API Retcode DcmReleaseBatch(DcmRequest *requests, size_t count);

DCM_END_DECLS

#endif
