/* SPDX-License-Identifier: BSD-2-Clause */
/* call - requests that are answered: call, start, finish */
#include <coresrv/handle/handle_api.h>
#include <errno.h>

#include "api/calling.h"
#include "api/fork.h"
#include "api/guard.h"
#include "api/retcode.h"
#include "api/server.h"

/* One look in so many is at all there is to see, the others at what comes first most often. */
enum { LOOKS_AT_ALL = 8 };

/* Nobody waits for the call any more: true, or false when its end came first. */
static DCM_SELDOM bool give_up(struct calling *c)
{
	bool gave_up;

	/* In one step for the collectors: what is marked so was given up before it was ended. */
	dcm_lock_enter(&c->client->end.lock);
	gave_up = dcm_channel_abandon(&c->client->end.channel, c->call);
	if (gave_up)
		dcm_books_let_go(&c->client->books, c->call.index, DCM_USE_ABANDONED);
	dcm_lock_leave(&c->client->end.lock);
	return gave_up;
}

/* The request's room is free, and with it the slot, unless the program keeps the reply: what is out
   is that then. True: the caller calls dcm_end_gone(). */
static bool settle(struct calling *c, bool keeps)
{
	struct dcm_end *end = &c->client->end;
	struct dcm_books *books = &c->client->books;
	bool gone = false;

	dcm_lock_enter(&end->lock);
	dcm_end_put_room(end, books->call[c->call.index].offset);
	if (keeps) {
		books->call[c->call.index].use = DCM_USE_REPLY;
	} else {
		dcm_channel_return(&end->channel, c->call);
		dcm_books_give(books, c->call.index);
	}
	DCM_LINE(freed_call_wakes) dcm_park_wake_all(&end->channel.shared->room);
	if (!keeps)
		gone = dcm_end_back(end, 1);
	dcm_lock_leave(&end->lock);
	return gone;
}

static DCM_SELDOM Retcode no_reply(struct calling *c, enum dcm_call_state state)
{
	if (state == DCM_CALL_FAILED && dcm_channel_hung_up(&c->client->end.channel))
		return dcm_calling_gone(c);
	if (state == DCM_CALL_ANSWERED)
		return dcm_fail(rcNotConnected, "the server wrote a reply that cannot be");
	return dcm_fail(rcNotConnected, "the server released the request without a reply");
}

/* What became of a call: its reply with the program, or nothing. */
static Retcode collect(struct calling *c, enum dcm_call_state state, DcmMessage *out)
{
	struct dcm_end *end = &c->client->end;
	struct dcm_parcel parcel;
	bool valid =
		state == DCM_CALL_ANSWERED && dcm_channel_reply(&end->channel, c->call, &parcel);
	Retcode rc = valid ? rcOk : no_reply(c, state);

	if (valid && out != NULL) {
		*out = (DcmMessage){ .data = end->channel.replies + parcel.offset,
				     .size = parcel.size,
				     .status = parcel.status };
		dcm_message_mark(out, end, DCM_MESSAGE_REPLY, c->call.index, c->call.generation,
				 parcel.offset);
	}
	if (settle(c, valid && out != NULL))
		dcm_end_gone(end);
	return rc;
}

static enum dcm_call_state state_of(const struct calling *c)
{
	return dcm_channel_state(&c->client->end.channel, c->call, NULL);
}

static bool is_over(enum dcm_call_state state)
{
	return state == DCM_CALL_ANSWERED || state == DCM_CALL_FAILED;
}

static Retcode look_for_end(void *arg, struct dcm_wait_on *on)
{
	struct calling *c = arg;
	struct dcm_channel *ch = &c->client->end.channel;
	uint32_t word;

	for (int looks = 0; looks < 4; looks++) {
		if (is_over(dcm_channel_state(ch, c->call, &word)))
			return rcOk;
		/* The first look may be the only one. */
		if (on == NULL && c->looks++ % LOOKS_AT_ALL != 0)
			return DCM_LOOK_AGAIN;
		if (on == NULL || dcm_channel_wait(ch, c->call, &word))
			break;
	}
	if (!dcm_calling_server_there(c, on))
		/* Its last word may have come just before. */
		return is_over(state_of(c)) ? rcOk : rcNotConnected;
	if (on != NULL) {
		on->word = &ch->shared->replies[c->call.index].word;
		on->key = word;
	}
	return DCM_LOOK_AGAIN;
}

static DCM_SELDOM Retcode say_why(struct calling *c, Retcode rc)
{
	if (dcm_guard_lost())
		return dcm_guard_fail();
	if (rc == rcTimeout)
		return dcm_fail(rc, "no reply came in time");
	if (rc == rcIpcInterrupt)
		return dcm_fail(rc, "interrupted by DcmInterruptCall");
	return dcm_calling_gone(c);
}

static Retcode finish_or_give_up(struct calling *c, Retcode rc, DcmMessage *out)
{
	if (rc == rcOk || !give_up(c))
		return collect(c, state_of(c), out);
	rc = say_why(c, rc);
	dcm_calling_back(c, 1);
	return rc;
}

/* The end is there while the call's message is out, but the session while it is held alone. */
static Retcode wait_longer(struct calling *c, int64_t timeout_ns)
{
	return dcm_calling_hold(c) ? dcm_wait_until(&c->client->blocker, timeout_ns,
						    &c->deadline_ns, true, look_for_end, c)
				   : rcNotConnected;
}

/* The end of a call that did not come at once, or not the usual one. */
static DCM_SELDOM Retcode finish_later(struct calling c, Retcode rc, int64_t timeout_ns,
				       DcmMessage *out)
{
	int saved = errno;

	if (rc == DCM_LOOK_AGAIN)
		rc = wait_longer(&c, timeout_ns);
	rc = finish_or_give_up(&c, rc, out);
	dcm_calling_leave(&c);
	errno = saved;
	return rc;
}

static DCM_SELDOM Retcode call_later(Handle session, DcmMessage *request, int64_t timeout_ns,
				     DcmMessage *out)
{
	struct calling c = { .message = request, .use = DCM_USE_CALLING };
	int saved = errno;
	size_t begun = 0;
	Retcode rc = dcm_calling_enter(session, &c);

	if (rc != rcOk)
		return rc;
	rc = dcm_calling_begin(&c, request, 1, timeout_ns, &begun);
	if (rc == rcOk)
		return finish_later(c, DCM_LOOK_AGAIN, timeout_ns, out);
	dcm_calling_leave(&c);
	errno = saved;
	return rc;
}

/* False: nothing was done. Else *@rc is all that came of it. */
static bool call_now(Handle session, DcmMessage *request, int64_t timeout_ns, DcmMessage *out,
		     Retcode *rc)
{
	struct calling c = { .use = DCM_USE_CALLING };

	dcm_handle_enter();
	if (!dcm_calling_peek(session, &c) || dcm_calling_begin_now(&c, request, 1) == 0) {
		dcm_handle_leave();
		return false;
	}
	*rc = dcm_wait_first(&c.client->blocker, timeout_ns, look_for_end, &c);
	if (*rc != rcOk) {
		*rc = finish_later(c, *rc, timeout_ns, out);
		return true;
	}
	*rc = collect(&c, state_of(&c), out);
	dcm_handle_leave();
	return true;
}

DCM_HOT Retcode DcmCall(Handle session, DcmMessage *request, int64_t timeoutNs,
			DcmMessage *outReply)
{
	Retcode rc;

	dcm_fork_check();
	if (!call_now(session, request, timeoutNs, outReply, &rc))
		rc = call_later(session, request, timeoutNs, outReply);
	if (rc != rcOk && outReply != NULL && outReply != request)
		*outReply = (DcmMessage){ .data = NULL };
	return rc;
}

/* A started call's name: never DCM_ANY_CALL, since a call is below DCM_CHANNEL_CALLS. */
static uint64_t name_of(const struct calling *c)
{
	return (uint64_t)c->call.generation << 32 | c->call.index;
}

DCM_HOT Retcode DcmStart(Handle session, DcmMessage *request, int64_t timeoutNs, uint64_t *outCall)
{
	struct calling c = { .message = request, .use = DCM_USE_STARTED, .flags = DCM_CALL_ASYNC };
	size_t begun = 0;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	if (outCall == NULL)
		return dcm_fail(rcInvalidArgument, "outCall is null");
	*outCall = DCM_ANY_CALL;
	rc = dcm_calling_enter(session, &c);
	if (rc != rcOk)
		return rc;
	rc = dcm_calling_begin(&c, request, 1, timeoutNs, &begun);
	if (rc == rcOk)
		*outCall = name_of(&c);
	dcm_calling_leave(&c);
	errno = saved;
	return rc;
}

/* Under the lock: make a started call this thread's own, as if its message were out. */
static bool claim_started(struct calling *c, struct dcm_call call)
{
	struct dcm_client_book *book = &c->client->books.call[call.index];
	bool mine = book->use == DCM_USE_STARTED && book->generation == call.generation &&
		    dcm_end_out(&c->client->end);

	if (mine) {
		book->use = DCM_USE_CALLING;
		c->call = call;
	}
	return mine;
}

static Retcode look_for_any(void *arg, struct dcm_wait_on *on)
{
	struct calling *c = arg;
	struct dcm_client_end *client = c->client;
	bool there, started = false, claimed = false;

	dcm_wait_on_count(on, &client->end.channel.shared->any);
	/* What was started can be finished through the session's other handles. */
	if (dcm_kernel_gone(&c->session->kernel) != 0)
		return rcNotConnected;
	there = dcm_calling_server_there(c, on);
	dcm_lock_enter(&client->end.lock);
	for (uint32_t i = 0; i < DCM_CHANNEL_CALLS && !claimed; i++) {
		const struct dcm_client_book *book = &client->books.call[i];
		struct dcm_call call = { .index = i, .generation = book->generation };

		if (book->use != DCM_USE_STARTED)
			continue;
		started = true;
		if (!there || is_over(dcm_channel_state(&client->end.channel, call, NULL)))
			claimed = claim_started(c, call);
	}
	dcm_lock_leave(&client->end.lock);
	if (claimed)
		return rcOk;
	if (!started)
		return dcm_fail(rcResourceNotFound, "no started call is left to finish");
	return DCM_LOOK_AGAIN;
}

static Retcode finish_any(struct calling *c, int64_t timeout_ns, DcmMessage *out)
{
	Retcode rc = dcm_wait_for(&c->client->blocker, timeout_ns, true, look_for_any, c);

	if (rc == rcResourceNotFound)
		return rc;
	if (rc != rcOk)
		return say_why(c, rc);
	rc = is_over(state_of(c)) ? rcOk : rcNotConnected;
	return finish_or_give_up(c, rc, out);
}

static Retcode finish_one(struct calling *c, uint64_t name, int64_t timeout_ns, DcmMessage *out)
{
	struct dcm_call call = { .index = (uint32_t)name, .generation = (uint32_t)(name >> 32) };
	struct dcm_end *end = &c->client->end;
	bool mine;
	Retcode rc;

	dcm_lock_enter(&end->lock);
	mine = call.index < DCM_CHANNEL_CALLS && claim_started(c, call);
	dcm_lock_leave(&end->lock);
	if (!mine)
		return dcm_fail(
			rcInvalidArgument,
			"not a started call of this session, or finished before, or another "
			"thread is finishing it");
	rc = dcm_wait_for(&c->client->blocker, timeout_ns, true, look_for_end, c);
	if (rc != rcTimeout && rc != rcIpcInterrupt &&
	    (rc == rcOk || dcm_kernel_gone(&c->session->kernel) == 0))
		return finish_or_give_up(c, rc, out);
	/* It goes on; a further DcmFinish, perhaps through another handle, may come for it. */
	rc = say_why(c, rc);
	dcm_lock_enter(&end->lock);
	c->client->books.call[call.index].use = DCM_USE_STARTED;
	dcm_park_wake_all(&end->channel.shared->any);
	dcm_lock_leave(&end->lock);
	dcm_calling_back(c, 1);
	/* Answered while it was ours, it was nothing that the descriptor would tell of. */
	dcm_source_check(&c->client->source);
	return rc;
}

Retcode DcmFinish(Handle session, uint64_t call, int64_t timeoutNs, uint64_t *outCall,
		  DcmMessage *outReply)
{
	struct calling c = { .any = call == DCM_ANY_CALL };
	uint32_t pulses;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	if (outReply != NULL)
		*outReply = (DcmMessage){ .data = NULL };
	if (outCall != NULL)
		*outCall = DCM_ANY_CALL;
	rc = dcm_calling_enter(session, &c);
	if (rc != rcOk)
		return rc;
	rc = dcm_calling_hold(&c)
		     ? dcm_kernel_check(&c.session->kernel, OCAP_IPC_CALL, "the session")
		     : dcm_fail(rcNotConnected, "the session was closed");
	if (rc != rcOk) {
		dcm_calling_leave(&c);
		return rc;
	}
	pulses = dcm_source_pulses(&c.client->source);
	rc = c.any ? finish_any(&c, timeoutNs, outReply)
		   : finish_one(&c, call, timeoutNs, outReply);
	if (rc == rcTimeout || rc == rcResourceNotFound)
		dcm_source_drained(&c.client->source, pulses);
	if (outCall != NULL && c.call.generation != 0)
		*outCall = name_of(&c);
	dcm_calling_leave(&c);
	errno = saved;
	return rc;
}
