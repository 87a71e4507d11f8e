/* SPDX-License-Identifier: BSD-2-Clause */
/* loan - room for what a client sends */
#include <errno.h>

#include "api/calling.h"
#include "api/fork.h"
#include "api/retcode.h"

/* Bytes that are loaned between two looks for what is back, while more is taken than is kept. */
enum { LOANED_EACH = 1 << 20 };

/*
 * Under the lock. Beyond what is kept, room that is back is used again before more is taken: it has
 * its pages, and the cache that both sides share holds it. A stream whose server keeps up would else
 * go round through all of the channel.
 */
static void look_for_room(struct dcm_client_end *client, size_t size)
{
	client->loaned += size;
	if (client->loaned < LOANED_EACH || dcm_arena_taken(client->end.arena) < DCM_ARENA_KEEP)
		return;
	client->loaned = 0;
	dcm_books_collect(client, false);
}

/* Under the lock: room for the loan, as far as there is some without a look at what is back. */
static int take_loan(struct dcm_client_end *client, size_t size, DcmMessage *out)
{
	if (size > DCM_CHANNEL_SMALL)
		look_for_room(client, size);
	dcm_channel_will_post(&client->end.channel);
	return dcm_end_take_room(&client->end, size, DCM_MESSAGE_LOAN, 0, out);
}

/* The same with what the server is done with. */
static int take_loan_again(struct calling *c)
{
	int r = take_loan(c->client, c->size, c->message);

	if (r != -ENOSPC)
		return r;
	/* What another collected since wakes nobody: look again, whoever it was. */
	dcm_books_collect(c->client, true);
	DCM_LINE(room_is_looked_for_again)
	r = dcm_end_take_room(&c->client->end, c->size, DCM_MESSAGE_LOAN, 0, c->message);
	return r;
}

static Retcode look_for_loan(void *arg, struct dcm_wait_on *on)
{
	struct calling *c = arg;
	struct dcm_end *end = &c->client->end;
	int r = -ESHUTDOWN;

	dcm_calling_expect_room(c, on);
	dcm_lock_enter(&end->lock);
	if (dcm_end_there(end) && dcm_calling_server_there(c, on))
		r = take_loan_again(c);
	dcm_lock_leave(&end->lock);
	if (r == 0)
		return rcOk;
	if (r == -ENOSPC)
		return DCM_LOOK_AGAIN;
	if (r == -ESHUTDOWN)
		return rcNotConnected;
	if (r == -E2BIG)
		return dcm_fail(
			rcInvalidArgument,
			"%zu bytes never fit: the channel's largest loan is %llu; the server "
			"sets DCM_MAX_CHANNEL_BYTES",
			c->size, (unsigned long long)end->largest);
	return dcm_fail_errno(r, "no memory for a loan of %zu bytes", c->size);
}

/* What takes no time. Return: how many. */
static size_t loan_now(Handle session, size_t size, DcmMessage *messages, size_t count)
{
	struct calling c = { .size = size };
	size_t loaned = 0;

	dcm_handle_enter();
	if (dcm_calling_peek(session, &c) && dcm_lock_try(&c.client->end.lock)) {
		if (dcm_end_there(&c.client->end) && dcm_calling_server_sighted(c.client))
			while (loaned < count && take_loan(c.client, size, &messages[loaned]) == 0)
				loaned++;
		dcm_lock_leave(&c.client->end.lock);
	}
	dcm_handle_leave();
	return loaned;
}

static DCM_SELDOM Retcode loan_later(Handle session, size_t size, int64_t timeout_ns,
				     DcmMessage *out)
{
	struct calling c = { .size = size, .message = out };
	int saved = errno;
	Retcode rc;

	*out = (DcmMessage){ .data = NULL };
	rc = dcm_calling_enter(session, &c);
	if (rc != rcOk)
		return rc;
	rc = look_for_loan(&c, NULL);
	if (rc != rcOk)
		rc = dcm_calling_wait_for_room(&c, timeout_ns, look_for_loan, "room");
	dcm_calling_leave(&c);
	errno = saved;
	return rc;
}

DCM_HOT Retcode DcmLoan(Handle session, size_t size, int64_t timeoutNs, DcmMessage *outMessage)
{
	dcm_fork_check();
	if (outMessage == NULL)
		return dcm_fail(rcInvalidArgument, "outMessage is null");
	return loan_now(session, size, outMessage, 1) == 1
		       ? rcOk
		       : loan_later(session, size, timeoutNs, outMessage);
}

DCM_HOT Retcode DcmLoanBatch(Handle session, size_t size, int64_t timeoutNs, DcmMessage *messages,
			     size_t capacity, size_t *outCount)
{
	Retcode rc = rcOk;

	dcm_fork_check();
	if (outCount != NULL)
		*outCount = 0;
	if (capacity == 0 || messages == NULL || outCount == NULL)
		return dcm_fail(rcInvalidArgument, "%s",
				capacity == 0	   ? "capacity is 0"
				: messages == NULL ? "messages is null"
						   : "outCount is null");
	*outCount = loan_now(session, size, messages, capacity);
	if (*outCount == 0) {
		rc = loan_later(session, size, timeoutNs, messages);
		*outCount = rc == rcOk;
	}
	return rc;
}
