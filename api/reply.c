/* SPDX-License-Identifier: BSD-2-Clause */
/* reply - the end of a received call: its reply, or its release without one */
#include <dcm/fabric.h>
#include <errno.h>

#include "api/fork.h"
#include "api/guard.h"
#include "api/retcode.h"
#include "api/server.h"
#include "shm/process.h"

static struct dcm_server_end *server_of(struct dcm_end *end)
{
	return (struct dcm_server_end *)end;
}

void dcm_server_take_back_reply(struct dcm_server_end *server, uint32_t call)
{
	struct dcm_call_book *book = &server->call[call];

	if (!book->replied)
		return;
	book->replied = false;
	dcm_end_put_room(&server->end, book->reply_offset);
}

/* In a read section: the end of a received request, if the message is one that may still be out. */
static struct dcm_end *end_of_request(const DcmMessage *message)
{
	struct dcm_end *end = dcm_message_end(message);

	if (end != NULL && !dcm_end_calls(end) &&
	    dcm_message_kind(message) == DCM_MESSAGE_REQUEST &&
	    dcm_message_call(message) < DCM_CHANNEL_CALLS)
		return end;
	dcm_fail(rcInvalidArgument, "not a request that this process received");
	return NULL;
}

enum settled { SETTLED_BEFORE, SETTLED_IN_VAIN, SETTLED };

static struct dcm_call call_of(const DcmMessage *request)
{
	return (struct dcm_call){ .index = dcm_message_call(request),
				  .generation = dcm_message_generation(request) };
}

/* Under the lock. */
static void count_reply(struct dcm_server_end *server)
{
	uint32_t before = atomic_load_explicit(&server->replies, memory_order_relaxed);

	atomic_store_explicit(&server->replies, before + 1, memory_order_relaxed);
}

/* Under the lock: end a call that is out. @reply: null: failed. True: its caller waited for it. */
static bool end_call(struct dcm_server_end *server, struct dcm_call call, const DcmMessage *reply)
{
	struct dcm_call_book *book = &server->call[call.index];
	struct dcm_parcel parcel = { .offset = 0 };

	if (reply != NULL)
		parcel = (struct dcm_parcel){ .offset = dcm_message_offset(reply),
					      .size = reply->size,
					      .status = reply->status };
	book->handed = false;
	book->replied = reply != NULL;
	book->reply_offset = parcel.offset;
	if (reply != NULL)
		count_reply(server);
	/* After a hang-up the caller has given it up already. */
	if (!server->end.ended && dcm_channel_answer(&server->end.channel, call, book->flags,
						     reply != NULL ? &parcel : NULL))
		return true;
	dcm_server_take_back_reply(server, call.index);
	return false;
}

/* Under the lock. Then the end is there. */
static bool is_out(const struct dcm_server_end *server, struct dcm_call call)
{
	return server->call[call.index].handed &&
	       server->call[call.index].generation == call.generation;
}

/* Known before this process's keeper has come to end the channel. */
static bool client_left(const struct dcm_end *end)
{
	if (dcm_load(&end->channel.shared->client_gone, acquire) != 0)
		return true;
	/* Of a lost segment nobody can say so; the channel may still have its client. */
	return !dcm_process_sighted(&end->sight) && !dcm_guard_lost();
}

/*
 * Under the lock: end a call; of any threads that try, one does. @reply: claimed; its room is the
 * client's until it has collected it. *@gone: the caller calls dcm_end_gone() when it has left the
 * lock.
 */
static enum settled settle(struct dcm_server_end *server, const DcmMessage *request,
			   const DcmMessage *reply, bool *gone)
{
	struct dcm_call call = call_of(request);
	bool told;

	*gone = false;
	if (!is_out(server, call))
		return SETTLED_BEFORE;
	/* Looked at before: a client that leaves with its reply has got it. */
	told = reply == NULL || !client_left(&server->end);
	told = end_call(server, call, reply) && told;
	*gone = dcm_end_back(&server->end, reply != NULL ? 2 : 1);
	return told ? SETTLED : SETTLED_IN_VAIN;
}

bool dcm_server_give_back_one(struct dcm_end *end, const DcmMessage *message, bool *gone)
{
	return dcm_message_kind(message) == DCM_MESSAGE_REQUEST &&
	       message->opaque[0] == end->object.number && message->data != NULL &&
	       dcm_message_call(message) < DCM_CHANNEL_CALLS &&
	       settle(server_of(end), message, NULL, gone) != SETTLED_BEFORE;
}

Retcode dcm_server_give_back(struct dcm_end *end, const DcmMessage *message)
{
	bool given, gone = false;

	dcm_lock_enter(&end->lock);
	given = dcm_server_give_back_one(end, message, &gone);
	dcm_lock_leave(&end->lock);
	if (gone)
		dcm_end_gone(end);
	return given ? rcOk
		     : dcm_fail(rcInvalidArgument, "the request was answered or released before");
}

/* Under the lock. Return: has the client collected all replies? */
static bool reclaim(struct dcm_server_end *server)
{
	bool all = true;

	for (uint32_t i = 0; i < DCM_CHANNEL_CALLS; i++) {
		const struct dcm_call_book *book = &server->call[i];
		struct dcm_call call = { .index = i, .generation = book->generation };

		if (!book->replied || book->handed)
			continue;
		if (dcm_channel_returned(&server->end.channel, call))
			dcm_server_take_back_reply(server, i);
		else
			all = false;
	}
	return all;
}

bool dcm_server_reclaim(struct dcm_server_end *server)
{
	bool all;

	dcm_lock_visit(&server->end.lock);
	all = reclaim(server);
	dcm_lock_leave(&server->end.lock);
	return all;
}

/*
 * As the client's collect_from(): who goes on replying takes back by itself, with each call that is
 * used anew, and nobody else is to take its lock from it. But where more pages are out than are kept
 * that may take too long; and then they are looked at under the lock anyhow.
 */
void dcm_server_each_second(struct dcm_server_end *server)
{
	uint32_t replies = atomic_load_explicit(&server->replies, memory_order_relaxed);
	bool due = replies == server->replies_seen ||
		   atomic_load_explicit(&server->end.watched, memory_order_relaxed);

	if (due && replies != server->replies_back && dcm_server_reclaim(server))
		server->replies_back = replies;
	server->replies_seen = replies;
	dcm_end_look(&server->end, replies != server->replies_back);
}

static DCM_SELDOM int take_reply_room_again(struct dcm_server_end *server, struct dcm_call call,
					    size_t size, DcmMessage *out)
{
	reclaim(server);
	return dcm_end_take_room(&server->end, size, DCM_MESSAGE_REPLY_LOAN, call.index, out);
}

/* Under the lock. Return: as dcm_end_take_room(); -EINVAL: the request is not out. */
static int take_reply_room(struct dcm_server_end *server, struct dcm_call call, size_t size,
			   DcmMessage *out)
{
	struct dcm_end *end = &server->end;
	int r;

	if (!is_out(server, call))
		return -EINVAL;
	if (client_left(end))
		return -ENOTCONN;
	dcm_channel_will_answer(&end->channel, call);
	r = dcm_end_take_room(end, size, DCM_MESSAGE_REPLY_LOAN, call.index, out);
	return r == -ENOSPC ? take_reply_room_again(server, call, size, out) : r;
}

static DCM_SELDOM Retcode no_loan(const struct dcm_end *end, size_t size, int r)
{
	if (r == -EINVAL)
		return dcm_fail(rcInvalidArgument, "the request was answered or released before");
	if (r == -ENOTCONN)
		return dcm_fail(rcNotConnected, "the caller is gone: release the request");
	if (r == -E2BIG)
		return dcm_fail(
			rcInvalidArgument,
			"a reply of %zu bytes never fits: the channel's largest is %llu; the "
			"server sets DCM_MAX_CHANNEL_BYTES",
			size, (unsigned long long)end->largest);
	if (r == -ENOSPC)
		return dcm_fail(
			rcQuotaExceeded,
			"no room for a reply of %zu bytes: the client holds on to its replies",
			size);
	return dcm_fail_errno(r, "no memory for a reply of %zu bytes", size);
}

static Retcode loan_reply(struct dcm_end *end, const DcmMessage *request, size_t size,
			  DcmMessage *out)
{
	int r;

	dcm_lock_enter(&end->lock);
	r = take_reply_room(server_of(end), call_of(request), size, out);
	dcm_lock_leave(&end->lock);
	return r == 0 ? rcOk : no_loan(end, size, r);
}

DCM_HOT Retcode DcmLoanReply(DcmRequest *request, size_t size, DcmMessage *outReply)
{
	struct dcm_end *end;
	Retcode rc;

	dcm_fork_check();
	if (outReply == NULL)
		return dcm_fail(rcInvalidArgument, "outReply is null");
	*outReply = (DcmMessage){ .data = NULL };
	if (request == NULL || request->message.data == NULL)
		return dcm_fail(rcInvalidArgument, "the request is null, answered or released");
	dcm_handle_enter();
	end = end_of_request(&request->message);
	if (end == NULL)
		rc = rcInvalidArgument;
	else if (request->flags & DCM_REQUEST_ONE_WAY)
		rc = dcm_fail(rcInvalidArgument, "a one-way message has no reply");
	else
		rc = loan_reply(end, &request->message, size, outReply);
	dcm_handle_leave();
	return rc;
}

/* Under the lock: why it was not delivered. A reply that nobody waits for is gone all the same. */
static DCM_SELDOM Retcode undelivered(struct dcm_end *end, const DcmMessage *reply, bool in_vain)
{
	if (in_vain)
		return dcm_fail(rcNotConnected, "the caller is gone or gave up");
	dcm_message_unclaim(end, reply);
	return dcm_fail(rcInvalidArgument, "the request was answered or released before");
}

/* Under the lock; *@gone as of settle(). */
static Retcode answer(struct dcm_end *end, const DcmMessage *request, const DcmMessage *reply,
		      bool *gone)
{
	enum settled how = settle(server_of(end), request, reply, gone);

	return how == SETTLED ? rcOk : undelivered(end, reply, how == SETTLED_IN_VAIN);
}

static Retcode reply_to(struct dcm_end *end, DcmRequest *request, DcmMessage *reply)
{
	bool gone = false;
	Retcode rc;

	if (request->flags & DCM_REQUEST_ONE_WAY)
		return dcm_fail(rcInvalidArgument, "a one-way message is only released");
	dcm_lock_enter(&end->lock);
	rc = dcm_message_claim(end, reply, DCM_MESSAGE_REPLY_LOAN)
		     ? answer(end, &request->message, reply, &gone)
		     : dcm_message_refuse(end, reply, DCM_MESSAGE_REPLY_LOAN);
	dcm_lock_leave(&end->lock);
	if (gone)
		dcm_end_gone(end);
	return rc;
}

DCM_HOT Retcode DcmReply(DcmRequest *request, DcmMessage *reply)
{
	struct dcm_end *end;
	Retcode rc;

	dcm_fork_check();
	if (request == NULL || reply == NULL || request->message.data == NULL)
		return dcm_fail(rcInvalidArgument,
				"request or reply is null, or the request is answered or released");
	dcm_handle_enter();
	end = end_of_request(&request->message);
	rc = end != NULL ? reply_to(end, request, reply) : rcInvalidArgument;
	dcm_handle_leave();
	if (rc != rcInvalidArgument) {
		dcm_message_consumed(&request->message);
		dcm_message_consumed(reply);
	}
	return rc;
}
