/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * calling - what a client's calls on a session begin with: for call.c, send.c
 */
#ifndef DCM_API_CALLING_H
#define DCM_API_CALLING_H

#include "api/session.h"

/*
 * One function's work on a session. Not held, the session and the end are there as memory alone, in a
 * read section of the table; what the end has mapped is there under its lock, as long as
 * dcm_end_there(), and from the claim of a message on. Before anything that takes time the session is
 * held, and all that with it.
 */
struct calling {
	struct dcm_session *session;
	struct dcm_client_end *client;
	bool held;
	struct dcm_call call;
	enum dcm_call_use use; /* what a slot is taken for */
	uint32_t flags;	       /* of a request */
	bool impatient;	       /* there is one look for room */
	uint32_t looks;	       /* so far, of one wait */
	bool slept;	       /* for many slots, in this wait */
	bool told;	       /* the server knows of what was posted */
	size_t size;	       /* of a loan */
	DcmMessage *message;   /* of a loan: the result; else the request */
	bool keeps;	       /* a message that is not sent is the caller's, whatever the reason */
	bool any;	       /* finish: whichever is done */
	int64_t deadline_ns;   /* for dcm_wait_until() */
};

/* dcm_calling_server_sighted() - under the lock of an end that is there: is the server? */
bool dcm_calling_server_sighted(struct dcm_client_end *client);

/*
 * dcm_calling_peek() - in a read section: the session behind a handle, if calls may be made on it
 * dcm_calling_begin_now() - as much of dcm_calling_begin() as takes no time; returns how many
 * With these two every call is tried first, in one piece of code that is left by success alone. What
 * they do not do, for whatever reason, is for the general functions below, from the start.
 */
bool dcm_calling_peek(Handle handle, struct calling *c);
size_t dcm_calling_begin_now(struct calling *c, DcmMessage *messages, size_t count);

/*
 * dcm_calling_enter() - the session behind a handle, if calls may be made on it; not held
 * Behind it dcm_calling_leave(). A revoked session consumes c->message, as a dead one does.
 */
Retcode dcm_calling_enter(Handle handle, struct calling *c);
void dcm_calling_leave(struct calling *c);

/* dcm_calling_hold() - before anything that takes time; false: the session was closed meanwhile */
bool dcm_calling_hold(struct calling *c);

/* dcm_calling_back() - @count messages are out no more */
DCM_SELDOM void dcm_calling_back(struct calling *c, uint32_t count);

/*
 * dcm_calling_server_there() - is it, as far as the kernel and the server itself say, and the handle
 * of use; with @on, and what else to sleep on
 */
bool dcm_calling_server_there(struct calling *c, struct dcm_wait_on *on);
/* dcm_calling_gone() - if not, why: the code, with the detail set */
DCM_SELDOM Retcode dcm_calling_gone(struct calling *c);

/* dcm_calling_expect_room() - for a look: to be woken when a slot or room comes free */
void dcm_calling_expect_room(struct calling *c, struct dcm_wait_on *on);
/* dcm_calling_wait_for_room() - until the look is final. Return: as it; rcTimeout, rcQuotaExceeded,
   rcIpcInterrupt, rcNotConnected, rcHandleRevoked with the detail set */
DCM_SELDOM Retcode dcm_calling_wait_for_room(struct calling *c, int64_t timeout_ns,
					     dcm_look_fn *look, const char *what);

/*
 * dcm_calling_begin() - claim slots for messages and hand them over, in their order, from *@begun on
 * They are consumed as the contract says. That of a DCM_USE_CALLING stays counted as out, and the end
 * with it, until the call is over.
 * Return: rcOk with all of them begun; else why the one behind *@begun was not.
 */
Retcode dcm_calling_begin(struct calling *c, DcmMessage *messages, size_t count, int64_t timeout_ns,
			  size_t *begun);

#endif
