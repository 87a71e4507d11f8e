/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the name of an interface to a callable handle in one call.
 *
 *	Handle session;
 *
 *	if (DcmConnectAny("example.Echo", &session) == rcOk) {
 *		...
 *		KnHandleClose(session);
 *	}
 *
 * Neither function may be called from a signal handler.
 */
#ifndef DCM_HELPERS_CONNECT_H
#define DCM_HELPERS_CONNECT_H

#include <dcm/types.h>

DCM_BEGIN_DECLS

/**
 * DcmConnectAny() - connect to whatever server of an interface is found first
 * @endpointType:     name of the interface
 * @outSessionHandle: the callable handle, for dcm/channel.h; to be closed with KnHandleClose()
 *
 * As DcmConnectAnyEx() with nothing else given and INFINITE_TIMEOUT twice: it waits until the
 * interface is published, for ever if need be, and then for that server's decision.
 *
 * Threads:  any.
 * Blocks:   until a server is found and has decided.
 * Progress: as DcmConnectAnyEx().
 * Memory:   maps the channel; keeps no pointer, and no DCM handle.
 * Return:   as DcmConnectAnyEx(), but never rcTimeout.
 * Origin:   KCE 1.4.
 */
DCM_API Retcode DcmConnectAny(const char *endpointType, Handle *outSessionHandle);

/**
 * DcmConnectAnyEx() - find a server of an interface and connect to it
 * @endpointType:     name of the interface
 * @endpointName:     only this qualified endpoint name, or null
 * @serverName:       only servers whose process has this name, or null
 * @serverHandle:     only the server with this handle's SID (OCAP_HANDLE_GET_SID), or
 *                    INVALID_HANDLE
 * @clientHandle:     who the client is, as DcmCreateConnection() takes it; to stay open for the
 *                    call. INVALID_HANDLE: the process itself
 * @findTimeout:      milliseconds to wait until something that matches is published; 0 takes only
 *                    what is published now, INFINITE_TIMEOUT waits for ever
 * @connectTimeout:   milliseconds to wait for the decision of a server that was asked, or
 *                    INFINITE_TIMEOUT; 0 is of little use, since a server takes time to decide
 * @outSessionHandle: the callable handle, for dcm/channel.h; to be closed with KnHandleClose()
 *
 * The same as DcmSetSubscription(), DcmReadPubQueue(), DcmCreateConnection() and DcmConnect(), with
 * everything closed again but the callable handle. The first server found is asked, and no other
 * one when it refuses. If it dies, or withdraws its endpoint, before it has taken the request or has
 * decided it, the search goes on for the rest of @findTimeout; when that is over, with what is
 * published at that moment, and with nothing that comes while that is asked. A server that
 * has revoked the handle it publishes with is asked all the same: the caller never held it.
 *
 * What it waits for has no handle, so DcmInterruptBlockingCall() cannot end it; the last DcmFini()
 * does.
 *
 * Threads:  any.
 * Blocks:   until a server is found, up to @findTimeout; then until it has decided, up to
 *           @connectTimeout for each server that is asked.
 * Progress: the end of the server that was asked, or of its publication, is heard of at once; a
 *           server that is only stopped or busy is waited for until @connectTimeout.
 * Memory:   maps the channel; keeps no pointer, and no DCM handle. What the server stored before
 *           DcmAccept() is visible, as far as it is shared.
 * Return:   rcOk; rcTimeout (nothing found, or no decision: the detail says which; the request is
 *           withdrawn); rcNotConnected (refused; before DcmInit(); the last DcmFini() meanwhile);
 *           rcInvalidArgument (a name, a handle); rcNoCapability; rcHandleRevoked (a handle is);
 *           rcQuotaExceeded and rcSecurityDisallow as the functions named above.
 * Origin:   KCE 1.4, with its parameters and their order; the codes, and that a refusal is final:
 *           ours.
 */
DCM_API Retcode DcmConnectAnyEx(const char *endpointType, const char *endpointName,
				const char *serverName, Handle serverHandle, Handle clientHandle,
				DcmTimeout findTimeout, DcmTimeout connectTimeout,
				Handle *outSessionHandle);

DCM_END_DECLS

#endif
