/* SPDX-License-Identifier: BSD-2-Clause */
/* call - what a client does with a session: loan, call, start, finish */
#include <coresrv/handle/handle_api.h>
#include <errno.h>

#include "api/calling.h"
#include "api/fork.h"
#include "api/guard.h"
#include "api/retcode.h"
#include "api/server.h"
#include "api/session.h"
#include "shm/barrier.h"
#include "shm/listener.h"
#include "shm/process.h"

/* One look in so many is at all there is to see, the others at what comes first most often. */
enum { LOOKS_AT_ALL = 8 };

/* One-way messages in a row that the server had to be told nothing of, before they are a stream. */
#ifdef DCM_HOOKS
enum { STREAM_AFTER = 1 };
#else
enum { STREAM_AFTER = 32 };
#endif

/* The message is not sent, and the caller's no more. */
static void consume(struct calling *c)
{
	dcm_message_drop(&c->client->end, c->message);
	dcm_message_consumed(c->message);
}

/* A revoked session takes the message all the same, as a dead one does. */
static Retcode consume_in_vain(struct calling *c)
{
	if (c->message != NULL &&
	    dcm_message_claim(&c->client->end, c->message, DCM_MESSAGE_LOAN) == rcOk)
		consume(c);
	/* Again, for the detail. */
	return dcm_kernel_check(&c->session->kernel, OCAP_IPC_CALL, "the session");
}

Retcode dcm_calling_find(Handle handle, struct dcm_object **object, struct calling *c)
{
	Retcode rc;

	*object = dcm_handle_find(handle, 1u << DCM_KIND_SESSION);
	if (*object == NULL)
		return dcm_fail(rcInvalidArgument, "not an open session of this process");
	c->session = (struct dcm_session *)*object;
	c->client = c->session->client;
	rc = dcm_kernel_check(&c->session->kernel, OCAP_IPC_CALL, "the session");
	if (rc == rcOk)
		return rcOk;
	if (rc == rcHandleRevoked && c->use != DCM_USE_FREE)
		rc = consume_in_vain(c);
	dcm_object_drop(*object);
	return rc;
}

static const struct dcm_segment *segment_of(const struct dcm_client_end *client)
{
	return &client->end.fabric->seg;
}

/* Is the server there, as far as the kernel and the server itself say, and the handle of use; and
   what to sleep on. */
static bool server_there(struct calling *c, struct dcm_wait_on *on)
{
	struct dcm_client_end *client = c->client;

	return dcm_kernel_gone(&c->session->kernel) == 0 &&
	       dcm_process_guard(segment_of(client), client->end.peer,
				 client->end.fabric->self.index,
				 on != NULL ? &on->guard.alive[0] : NULL) &&
	       !dcm_channel_hung_up(&client->end.channel);
}

/* Whatever ended first: a revocation is what is told, also when the server has died since. */
static Retcode gone(struct calling *c)
{
	uint32_t handle = dcm_kernel_gone(&c->session->kernel);

	if ((handle & DCM_HANDLE_REVOKED) != 0)
		return dcm_fail(rcHandleRevoked, "the session was revoked");
	if (dcm_channel_revoked(&c->client->end.channel))
		return dcm_fail(rcHandleRevoked, "the server has revoked the session");
	if (handle != 0)
		return dcm_fail(rcNotConnected, "the session was closed");
	return dcm_fail(rcNotConnected, "the server is gone, or closed the session's listener");
}

/* To be woken when a slot or room comes free, also one of a stream: K5 of shm/channel.h. */
static void expect_room(struct calling *c, struct dcm_wait_on *on)
{
	dcm_wait_on_count(on, &c->client->end.channel.shared->room);
	/* seq, pairs stream_flag(): behind the prepare. */
	if (on != NULL && dcm_load(&c->client->streamed, seq) != 0)
		DCM_LINE(sleeper_for_room_bars) dcm_barrier();
}

/* Waits for room are back-pressure: that there is none is not a matter of time at timeout 0. */
static Retcode wait_for_room(struct calling *c, int64_t timeout_ns, dcm_look_fn *look,
			     const char *what)
{
	Retcode rc = dcm_wait_until(&c->client->blocker, timeout_ns, &c->deadline_ns, true, look,
				    c);

	if (rc == rcTimeout && timeout_ns == 0)
		return dcm_fail(rcQuotaExceeded, "the channel is full: no free %s", what);
	if (rc == rcTimeout)
		return dcm_fail(rc, "the channel stayed full: no free %s in time", what);
	if (rc == rcIpcInterrupt)
		return dcm_fail(rc, "interrupted by DcmInterruptCall");
	if (rc == rcNotConnected)
		return gone(c);
	return rc;
}

/* Room for the loan; with what the server is done with, if there is none without. */
static int take_loan(struct calling *c)
{
	struct dcm_end *end = &c->client->end;
	int r;

	dcm_lock_enter(&end->lock);
	r = dcm_end_take_room(end, c->size, DCM_MESSAGE_LOAN, 0, c->message);
	if (r == -ENOSPC) {
		/* What another collected since wakes nobody: look again, whoever it was. */
		dcm_books_collect(c->client, true);
		DCM_LINE(room_is_looked_for_again)
		r = dcm_end_take_room(end, c->size, DCM_MESSAGE_LOAN, 0, c->message);
	}
	dcm_channel_will_post(&end->channel);
	dcm_lock_leave(&end->lock);
	return r;
}

static Retcode look_for_loan(void *arg, struct dcm_wait_on *on)
{
	struct calling *c = arg;
	struct dcm_end *end = &c->client->end;
	int r;

	expect_room(c, on);
	if (!server_there(c, on))
		return rcNotConnected;
	r = take_loan(c);
	if (r == 0)
		return rcOk;
	if (r == -ENOSPC)
		return DCM_LOOK_AGAIN;
	if (r == -ESHUTDOWN)
		return rcNotConnected;
	if (r == -E2BIG)
		return dcm_fail(rcInvalidArgument,
				"%zu bytes never fit: the channel's largest loan is %llu; the server "
				"sets DCM_MAX_CHANNEL_BYTES",
				c->size, (unsigned long long)dcm_arena_largest(end->arena));
	return dcm_fail_errno(r, "no memory for a loan of %zu bytes", c->size);
}

Retcode DcmLoan(Handle session, size_t size, int64_t timeoutNs, DcmMessage *outMessage)
{
	struct calling c = { .size = size, .message = outMessage };
	struct dcm_object *object;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	if (outMessage == NULL)
		return dcm_fail(rcInvalidArgument, "outMessage is null");
	*outMessage = (DcmMessage){ .data = NULL };
	rc = dcm_calling_find(session, &object, &c);
	if (rc != rcOk)
		return rc;
	rc = wait_for_room(&c, timeoutNs, look_for_loan, "room");
	dcm_object_drop(object);
	errno = saved;
	return rc;
}

/* A slot that is free, or can be. @last: perhaps the last look before a sleep, or of all. */
static bool take_call(struct calling *c, bool last)
{
	bool all = last || ++c->looks % LOOKS_AT_ALL == 0;
	struct dcm_books *books = &c->client->books;
	uint64_t offset = dcm_message_offset(c->message);

	return dcm_books_take(books, c->use, offset, &c->call) ||
	       (dcm_books_collect(c->client, all) &&
		dcm_books_take(books, c->use, offset, &c->call));
}

/* Has the server kept up for so long that it need not be asked each time whether it sleeps? */
static uint32_t stream_flag(struct calling *c)
{
	struct dcm_client_end *client = c->client;

	if (c->use != DCM_USE_ONE_WAY || !client->end.channel.barriers ||
	    dcm_load(&client->told_nobody, relaxed) < STREAM_AFTER)
		return 0;
	if (dcm_load(&client->streamed, relaxed) == 0)
		dcm_store(&client->streamed, 1u, seq);
	return DCM_CALL_STREAM;
}

/* Claim a slot and hand the request over, in one step for whoever looks into the books. */
static Retcode look_for_call(void *arg, struct dcm_wait_on *on)
{
	struct calling *c = arg;
	struct dcm_end *end = &c->client->end;
	bool posted;

	expect_room(c, on);
	if (!server_there(c, on))
		return rcNotConnected;
	dcm_lock_enter(&end->lock);
	posted = take_call(c, on != NULL || c->impatient);
	if (posted) {
		struct dcm_parcel parcel = { .offset = dcm_message_offset(c->message),
					     .size = c->message->size,
					     .status = c->message->status,
					     .flags = c->flags | stream_flag(c) };

		if (c->use == DCM_USE_ONE_WAY)
			dcm_books_let_go(&c->client->books, c->call.index, c->use);
		dcm_channel_post(&end->channel, c->call, &parcel);
		/* The books hold the room now; the number stays while this call has the handle. */
		c->gone = dcm_end_back(end, 1);
	}
	dcm_lock_leave(&end->lock);
	return posted ? rcOk : DCM_LOOK_AGAIN;
}

static void set_use(struct calling *c, enum dcm_call_use use)
{
	dcm_lock_enter(&c->client->end.lock);
	c->client->books.call[c->call.index].use = use;
	dcm_lock_leave(&c->client->end.lock);
}

/* Nobody waits for the call any more: true, or false when its end came first. */
static bool give_up(struct calling *c)
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

static void signal(struct calling *c)
{
	struct dcm_client_end *client = c->client;
	bool known = dcm_listener_signal(segment_of(client), client->listener,
					 client->end.connection.index);
	uint32_t before = dcm_load(&client->told_nobody, relaxed);

	/* relaxed, and lost by the way: a matter of cost alone. */
	if (known ? before < STREAM_AFTER : before != 0)
		dcm_store(&client->told_nobody, known ? before + 1 : 0u, relaxed);
}

Retcode dcm_calling_begin(struct calling *c, int64_t timeout_ns)
{
	struct dcm_end *end = &c->client->end;
	Retcode rc;

	if (c->message == NULL)
		return dcm_fail(rcInvalidArgument, "the message is null");
	rc = dcm_message_claim(end, c->message, DCM_MESSAGE_LOAN);
	if (rc != rcOk)
		return rc;
	c->impatient = timeout_ns == 0;
	rc = wait_for_room(c, timeout_ns, look_for_call, "call slot");
	if (rc == rcQuotaExceeded || (rc != rcOk && c->keeps))
		dcm_message_unclaim(end, c->message);
	else if (rc != rcOk)
		consume(c);
	if (rc != rcOk)
		return rc;
	dcm_message_consumed(c->message);
	signal(c);
	c->looks = 0;
	if (c->gone)
		dcm_end_gone(end);
	return rcOk;
}

/* The request's room is free, and with it the slot, unless the program keeps the reply. */
static bool settle(struct calling *c, bool keeps)
{
	struct dcm_end *end = &c->client->end;
	struct dcm_books *books = &c->client->books;

	dcm_lock_enter(&end->lock);
	dcm_end_put_room(end, books->call[c->call.index].offset);
	keeps = keeps && dcm_end_out(end);
	if (keeps) {
		books->call[c->call.index].use = DCM_USE_REPLY;
	} else {
		dcm_channel_return(&end->channel, c->call);
		dcm_books_give(books, c->call.index);
	}
	dcm_lock_leave(&end->lock);
	DCM_LINE(freed_call_wakes) dcm_park_wake_all(&end->channel.shared->room);
	return keeps;
}

static Retcode no_reply(struct calling *c, enum dcm_call_state state)
{
	if (state == DCM_CALL_FAILED && dcm_channel_hung_up(&c->client->end.channel))
		return gone(c);
	if (state == DCM_CALL_ANSWERED)
		return dcm_fail(rcNotConnected, "the server wrote a reply that cannot be");
	return dcm_fail(rcNotConnected, "the server released the request without a reply");
}

/* What became of a call: its reply with the program, or nothing. */
static Retcode collect(struct calling *c, enum dcm_call_state state, DcmMessage *out)
{
	struct dcm_end *end = &c->client->end;
	struct dcm_parcel parcel;
	bool valid = state == DCM_CALL_ANSWERED &&
		     dcm_channel_reply(&end->channel, c->call, &parcel);
	bool kept = settle(c, valid && out != NULL);

	if (!valid)
		return no_reply(c, state);
	if (out == NULL)
		return rcOk;
	if (!kept)
		return dcm_fail(rcNotConnected, "the session was closed");
	*out = (DcmMessage){ .data = end->channel.replies + parcel.offset,
			     .size = parcel.size,
			     .status = parcel.status };
	dcm_message_mark(out, end, DCM_MESSAGE_REPLY, c->call.index, c->call.generation,
			 parcel.offset);
	return rcOk;
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
	if (!server_there(c, on))
		/* Its last word may have come just before. */
		return is_over(state_of(c)) ? rcOk : rcNotConnected;
	if (on != NULL) {
		on->word = &ch->shared->replies[c->call.index].word;
		on->key = word;
	}
	return DCM_LOOK_AGAIN;
}

static Retcode say_why(struct calling *c, Retcode rc)
{
	if (dcm_guard_lost())
		return dcm_guard_fail();
	if (rc == rcTimeout)
		return dcm_fail(rc, "no reply came in time");
	if (rc == rcIpcInterrupt)
		return dcm_fail(rc, "interrupted by DcmInterruptCall");
	return gone(c);
}

static Retcode finish_or_give_up(struct calling *c, Retcode rc, DcmMessage *out)
{
	if (rc != rcOk && give_up(c))
		return say_why(c, rc);
	return collect(c, state_of(c), out);
}

Retcode DcmCall(Handle session, DcmMessage *request, int64_t timeoutNs, DcmMessage *outReply)
{
	struct calling c = { .message = request, .use = DCM_USE_CALLING };
	struct dcm_object *object;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	rc = dcm_calling_find(session, &object, &c);
	if (rc != rcOk)
		return rc;
	if (outReply != NULL && outReply != request)
		*outReply = (DcmMessage){ .data = NULL };
	rc = dcm_calling_begin(&c, timeoutNs);
	if (rc == rcOk) {
		rc = dcm_wait_until(&c.client->blocker, timeoutNs, &c.deadline_ns, true,
				    look_for_end, &c);
		rc = finish_or_give_up(&c, rc, outReply);
	}
	dcm_object_drop(object);
	errno = saved;
	return rc;
}

/* A started call's name: never DCM_ANY_CALL, since a call is below DCM_CHANNEL_CALLS. */
static uint64_t name_of(const struct calling *c)
{
	return (uint64_t)c->call.generation << 32 | c->call.index;
}

Retcode DcmStart(Handle session, DcmMessage *request, int64_t timeoutNs, uint64_t *outCall)
{
	struct calling c = { .message = request, .use = DCM_USE_STARTED, .flags = DCM_CALL_ASYNC };
	struct dcm_object *object;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	if (outCall == NULL)
		return dcm_fail(rcInvalidArgument, "outCall is null");
	*outCall = DCM_ANY_CALL;
	rc = dcm_calling_find(session, &object, &c);
	if (rc != rcOk)
		return rc;
	rc = dcm_calling_begin(&c, timeoutNs);
	if (rc == rcOk)
		*outCall = name_of(&c);
	dcm_object_drop(object);
	errno = saved;
	return rc;
}

/* Make a started call this thread's own. */
static bool claim_started(struct calling *c, struct dcm_call call)
{
	struct dcm_client_book *book = &c->client->books.call[call.index];
	bool mine = book->use == DCM_USE_STARTED && book->generation == call.generation;

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
	there = server_there(c, on);
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
		return dcm_fail(rcInvalidArgument,
				"not a started call of this session, or finished before, or another "
				"thread is finishing it");
	rc = dcm_wait_for(&c->client->blocker, timeout_ns, true, look_for_end, c);
	if (rc != rcTimeout && rc != rcIpcInterrupt &&
	    (rc == rcOk || dcm_kernel_gone(&c->session->kernel) == 0))
		return finish_or_give_up(c, rc, out);
	/* It goes on; a further DcmFinish, perhaps through another handle, may come for it. */
	set_use(c, DCM_USE_STARTED);
	dcm_park_wake_all(&end->channel.shared->any);
	/* Answered while it was ours, it was nothing that the descriptor would tell of. */
	dcm_source_check(&c->client->source);
	return say_why(c, rc);
}

Retcode DcmFinish(Handle session, uint64_t call, int64_t timeoutNs, uint64_t *outCall,
		  DcmMessage *outReply)
{
	struct calling c = { .any = call == DCM_ANY_CALL };
	struct dcm_object *object;
	uint32_t pulses;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	if (outReply != NULL)
		*outReply = (DcmMessage){ .data = NULL };
	if (outCall != NULL)
		*outCall = DCM_ANY_CALL;
	rc = dcm_calling_find(session, &object, &c);
	if (rc != rcOk)
		return rc;
	pulses = dcm_source_pulses(&c.client->source);
	rc = c.any ? finish_any(&c, timeoutNs, outReply)
		   : finish_one(&c, call, timeoutNs, outReply);
	if (rc == rcTimeout || rc == rcResourceNotFound)
		dcm_source_drained(&c.client->source, pulses);
	if (outCall != NULL && c.call.generation != 0)
		*outCall = name_of(&c);
	dcm_object_drop(object);
	errno = saved;
	return rc;
}
