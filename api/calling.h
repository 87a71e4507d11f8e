/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * calling - what a client's calls on a session begin with: call.c, send.c
 */
#ifndef DCM_API_CALLING_H
#define DCM_API_CALLING_H

#include "api/session.h"

/* One function's work on a session. */
struct calling {
	struct dcm_session *session;
	struct dcm_client_end *client;
	struct dcm_call call;
	enum dcm_call_use use; /* what a slot is taken for */
	uint32_t flags;	       /* of a request */
	bool impatient;	       /* there is one look for room */
	uint32_t looks;	       /* so far, of one wait */
	bool gone;	     /* with the message that was sent, the end */
	size_t size;	     /* of a loan */
	DcmMessage *message; /* of a loan: the result; else the request */
	bool keeps;	     /* a message that is not sent is the caller's, whatever the reason */
	bool any;	     /* finish: whichever is done */
	int64_t deadline_ns; /* for dcm_wait_until() */
};

/*
 * dcm_calling_find() - the session behind a handle, if calls may be made on it
 * The caller drops *@object. A revoked session consumes c->message, as a dead one does.
 */
Retcode dcm_calling_find(Handle handle, struct dcm_object **object, struct calling *c);

/*
 * dcm_calling_begin() - claim a slot for c->message and hand it over
 * The message is consumed as the contract says.
 */
Retcode dcm_calling_begin(struct calling *c, int64_t timeout_ns);

#endif
