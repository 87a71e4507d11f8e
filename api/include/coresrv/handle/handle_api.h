/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Handles: user objects, callable handles, listeners.
 *
 * A handle names a resource and carries rights to it. Rights are checked on every call, and what is
 * handed to another process is a descendant with the same SID and fewer rights. The holder's
 * library enforces the mask, in the holder's process: it guards against mistakes, not against
 * a process that means harm.
 *
 * None of these functions needs DcmInit(). All may be called from any thread at any time, but not
 * from a signal handler. fork: in a child the parent's sessions are rcInvalidArgument.
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
 * Memory:   a few dozen bytes until it is closed.
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
 * Memory:   a few dozen bytes until it is closed.
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
 * KnHandleClose() - give a handle's number up
 * @handle: a listener: its channels end, and callers get rcNotConnected;
 *          a callable handle: sessions that were made from it stay;
 *          a session: with its last descendant the channel ends;
 *          an identity: nothing else happens;
 *          the process's own handle: nothing happens at all
 *
 * A call that is blocked on the handle ends with rcNotConnected. Messages on loan stay mapped until
 * they are released. The handle's ancestors and descendants stay valid.
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
