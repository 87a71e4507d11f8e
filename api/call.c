/* SPDX-License-Identifier: BSD-2-Clause */
/* call - what a client does with a session: loan, call, start, finish, send */
#include <coresrv/handle/handle_api.h>
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>
#include <errno.h>

#include "api/fork.h"
#include "api/guard.h"
#include "api/retcode.h"
#include "api/server.h"
#include "api/session.h"
#include "shm/listener.h"
#include "shm/process.h"

#define SPIN_NS (10 * 1000)
#define GENERATION_MAX (UINT32_MAX >> 4)

/* One function's work on a session. */
struct calling {
	struct dcm_session *session;
	struct dcm_client_end *client;
	uint32_t call;
	uint32_t generation;
	enum dcm_call_use use; /* what a slot is for once its call is posted */
	size_t size;	       /* of a loan */
	DcmMessage *message;   /* of a loan: the result; else the request */
	bool any;	       /* finish: whichever is done */
};

/* The message is not sent, and the caller's no more. */
static void consume(struct calling *c)
{
	dcm_end_give_room(&c->client->end, dcm_message_offset(c->message));
	dcm_message_consumed(c->message);
	dcm_park_wake_all(&c->client->end.channel.shared->room);
	dcm_end_back(&c->client->end);
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

/* The session behind a handle, if calls may be made on it. The caller drops *@object. */
static Retcode find_session(Handle handle, struct dcm_object **object, struct calling *c)
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

/* Waits for room are back-pressure: that there is none is not a matter of time at timeout 0. */
static Retcode wait_for_room(struct calling *c, int64_t timeout_ns, dcm_look_fn *look,
			     const char *what)
{
	Retcode rc = dcm_wait_for(&c->client->blocker, timeout_ns, 0, look, c);

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

static Retcode look_for_loan(void *arg, struct dcm_wait_on *on)
{
	struct calling *c = arg;
	struct dcm_end *end = &c->client->end;
	int r;

	dcm_wait_on_count(on, &end->channel.shared->room);
	if (!server_there(c, on))
		return rcNotConnected;
	r = dcm_end_take_room(end, c->size, DCM_MESSAGE_LOAN, c->message);
	if (r == -ENOSPC) {
		/* What another collected since wakes nobody: look again, whoever it was. */
		dcm_session_collect(c->client);
		DCM_LINE(room_is_looked_for_again)
		r = dcm_end_take_room(end, c->size, DCM_MESSAGE_LOAN, c->message);
	}
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
	rc = find_session(session, &object, &c);
	if (rc != rcOk)
		return rc;
	rc = wait_for_room(&c, timeoutNs, look_for_loan, "room");
	dcm_object_drop(object);
	errno = saved;
	return rc;
}

static Retcode look_for_call(void *arg, struct dcm_wait_on *on)
{
	struct calling *c = arg;
	struct dcm_client_end *client = c->client;
	Retcode rc = DCM_LOOK_AGAIN;

	dcm_wait_on_count(on, &client->end.channel.shared->room);
	if (!server_there(c, on))
		return rcNotConnected;
	pthread_mutex_lock(&client->end.lock);
	/* The lowest: what was used last is used again, and with it the room of its reply. */
	for (uint32_t i = 0; i < DCM_CHANNEL_CALLS && rc == DCM_LOOK_AGAIN; i++) {
		struct dcm_client_book *book = &client->call[i];

		dcm_session_collect_call(client, i);
		if (book->use != DCM_USE_FREE)
			continue;
		c->call = i;
		book->use = DCM_USE_CALLING; /* nobody else's until it is posted */
		book->generation = book->generation % GENERATION_MAX + 1;
		book->offset = dcm_message_offset(c->message);
		c->generation = book->generation;
		rc = rcOk;
	}
	pthread_mutex_unlock(&client->end.lock);
	return rc;
}

static void set_use(struct calling *c, enum dcm_call_use use)
{
	pthread_mutex_lock(&c->client->end.lock);
	c->client->call[c->call].use = use;
	pthread_mutex_unlock(&c->client->end.lock);
}

/* The slot is free again, its request's room too; whoever waits for either is told. */
static void free_call(struct calling *c)
{
	struct dcm_end *end = &c->client->end;

	pthread_mutex_lock(&end->lock);
	dcm_arena_give(end->arena, c->client->call[c->call].offset);
	c->client->call[c->call].use = DCM_USE_FREE;
	pthread_mutex_unlock(&end->lock);
	DCM_LINE(freed_call_wakes) dcm_park_wake_all(&end->channel.shared->room);
}

/* Nobody waits for the call any more: true, or false when its end came first. */
static bool give_up(struct calling *c)
{
	bool gave_up;

	/* In one step for the collectors: what is marked so was given up before it was ended. */
	pthread_mutex_lock(&c->client->end.lock);
	gave_up = dcm_channel_abandon(&c->client->end.channel, c->call);
	if (gave_up)
		c->client->call[c->call].use = DCM_USE_ABANDONED;
	pthread_mutex_unlock(&c->client->end.lock);
	return gave_up;
}

/* Let go of a posted call: whoever finishes or collects it may have it from here on. */
static void publish_use(struct calling *c)
{
	struct dcm_channel *ch = &c->client->end.channel;

	set_use(c, c->use);
	/* Who waits for any call may have looked before this one was to be seen; */
	if (c->use == DCM_USE_STARTED)
		dcm_park_wake_all(&ch->shared->done);
	if (dcm_channel_state(ch, c->call, c->generation, NULL) == DCM_CALL_POSTED)
		return;
	/* who waits for room, too, if the server has had it already and woken them too early; and who
	   polls the descriptor, if the keeper was rung and passed over it. */
	if (c->use == DCM_USE_STARTED)
		dcm_source_check(&c->client->source);
	else
		dcm_park_wake_all(&ch->shared->room);
}

/* Claim a slot and hand the request over. The message is consumed as the contract says. */
static Retcode begin(struct calling *c, uint32_t flags, int64_t timeout_ns)
{
	struct dcm_end *end = &c->client->end;
	struct dcm_parcel parcel = { .flags = flags };
	Retcode rc;

	if (c->message == NULL)
		return dcm_fail(rcInvalidArgument, "the message is null");
	rc = dcm_message_claim(end, c->message, DCM_MESSAGE_LOAN);
	if (rc != rcOk)
		return rc;
	rc = wait_for_room(c, timeout_ns, look_for_call, "call slot");
	if (rc == rcQuotaExceeded)
		dcm_message_unclaim(end, c->message);
	else if (rc != rcOk)
		consume(c);
	if (rc != rcOk)
		return rc;
	parcel.offset = dcm_message_offset(c->message);
	parcel.size = c->message->size;
	parcel.status = c->message->status;
	dcm_message_consumed(c->message);
	dcm_end_back(end); /* the books hold the room now */
	if (!dcm_channel_post(&end->channel, c->call, c->generation, &parcel)) {
		free_call(c);
		return dcm_fail(rcFail, "the channel's ring is damaged");
	}
	if (c->use != DCM_USE_CALLING)
		publish_use(c);
	dcm_listener_signal(segment_of(c->client), c->client->listener, end->connection.index);
	return rcOk;
}

/* What became of a call: its reply with the program, or nothing. */
static Retcode collect(struct calling *c, enum dcm_call_state state, DcmMessage *out)
{
	struct dcm_end *end = &c->client->end;
	struct dcm_parcel parcel;
	bool valid = state == DCM_CALL_ANSWERED &&
		     dcm_channel_reply(&end->channel, c->call, &parcel);

	if (valid && out != NULL && !dcm_end_out(end)) {
		dcm_channel_collect(&end->channel, c->call, c->generation);
		free_call(c);
		return dcm_fail(rcNotConnected, "the session was closed");
	}
	if (!valid || out == NULL) {
		dcm_channel_collect(&end->channel, c->call, c->generation);
		free_call(c);
		if (valid)
			return rcOk;
		if (state == DCM_CALL_FAILED && dcm_channel_hung_up(&end->channel))
			return gone(c);
		return dcm_fail(rcNotConnected,
				state == DCM_CALL_ANSWERED
					? "the server wrote a reply that cannot be"
					: "the server released the request without a reply");
	}
	pthread_mutex_lock(&end->lock);
	dcm_arena_give(end->arena, c->client->call[c->call].offset);
	c->client->call[c->call].use = DCM_USE_REPLY;
	pthread_mutex_unlock(&end->lock);
	dcm_park_wake_all(&end->channel.shared->room);
	*out = (DcmMessage){ .data = end->channel.replies + parcel.offset,
			     .size = parcel.size,
			     .status = parcel.status };
	dcm_message_mark(out, end, DCM_MESSAGE_REPLY, c->call, c->generation, parcel.offset);
	return rcOk;
}

static enum dcm_call_state state_of(const struct calling *c)
{
	return dcm_channel_state(&c->client->end.channel, c->call, c->generation, NULL);
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
		if (is_over(dcm_channel_state(ch, c->call, c->generation, &word)))
			return rcOk;
		if (on == NULL || dcm_channel_wait(ch, c->call, &word))
			break;
	}
	if (!server_there(c, on))
		/* Its last word may have come just before. */
		return is_over(state_of(c)) ? rcOk : rcNotConnected;
	if (on != NULL) {
		on->word = &ch->shared->call[c->call].word;
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
	int64_t deadline = dcm_park_deadline(timeoutNs);
	struct calling c = { .message = request, .use = DCM_USE_CALLING };
	struct dcm_object *object;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	rc = find_session(session, &object, &c);
	if (rc != rcOk)
		return rc;
	if (outReply != NULL && outReply != request)
		*outReply = (DcmMessage){ .data = NULL };
	rc = begin(&c, 0, timeoutNs);
	if (rc == rcOk) {
		if (timeoutNs > 0) {
			timeoutNs = deadline - dcm_park_now();
			timeoutNs = timeoutNs > 0 ? timeoutNs : 0;
		}
		rc = dcm_wait_for(&c.client->blocker, timeoutNs, SPIN_NS, look_for_end, &c);
		rc = finish_or_give_up(&c, rc, outReply);
	}
	dcm_object_drop(object);
	errno = saved;
	return rc;
}

/* A started call's name: never DCM_ANY_CALL, since a call is below DCM_CHANNEL_CALLS. */
static uint64_t name_of(const struct calling *c)
{
	return (uint64_t)c->generation << 32 | c->call;
}

Retcode DcmStart(Handle session, DcmMessage *request, int64_t timeoutNs, uint64_t *outCall)
{
	struct calling c = { .message = request, .use = DCM_USE_STARTED };
	struct dcm_object *object;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	if (outCall == NULL)
		return dcm_fail(rcInvalidArgument, "outCall is null");
	*outCall = DCM_ANY_CALL;
	rc = find_session(session, &object, &c);
	if (rc != rcOk)
		return rc;
	rc = begin(&c, DCM_CALL_ASYNC, timeoutNs);
	if (rc == rcOk)
		*outCall = name_of(&c);
	dcm_object_drop(object);
	errno = saved;
	return rc;
}

Retcode DcmSend(Handle session, DcmMessage *message, int64_t timeoutNs)
{
	struct calling c = { .message = message, .use = DCM_USE_ABANDONED };
	struct dcm_object *object;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	rc = find_session(session, &object, &c);
	if (rc != rcOk)
		return rc;
	rc = begin(&c, DCM_CALL_ONE_WAY, timeoutNs);
	dcm_object_drop(object);
	errno = saved;
	return rc;
}

/* Make a started call this thread's own. */
static bool claim_started(struct calling *c, uint32_t call, uint32_t generation)
{
	struct dcm_client_book *book = &c->client->call[call];
	bool mine = book->use == DCM_USE_STARTED && book->generation == generation;

	if (mine) {
		book->use = DCM_USE_CALLING;
		c->call = call;
		c->generation = generation;
	}
	return mine;
}

static Retcode look_for_any(void *arg, struct dcm_wait_on *on)
{
	struct calling *c = arg;
	struct dcm_client_end *client = c->client;
	bool there, started = false, claimed = false;

	dcm_wait_on_count(on, &client->end.channel.shared->done);
	/* What was started can be finished through the session's other handles. */
	if (dcm_kernel_gone(&c->session->kernel) != 0)
		return rcNotConnected;
	there = server_there(c, on);
	pthread_mutex_lock(&client->end.lock);
	for (uint32_t i = 0; i < DCM_CHANNEL_CALLS && !claimed; i++) {
		uint32_t generation = client->call[i].generation;

		if (client->call[i].use != DCM_USE_STARTED)
			continue;
		started = true;
		if (!there ||
		    is_over(dcm_channel_state(&client->end.channel, i, generation, NULL)))
			claimed = claim_started(c, i, generation);
	}
	pthread_mutex_unlock(&client->end.lock);
	if (claimed)
		return rcOk;
	if (!started)
		return dcm_fail(rcResourceNotFound, "no started call is left to finish");
	return DCM_LOOK_AGAIN;
}

static Retcode finish_any(struct calling *c, int64_t timeout_ns, DcmMessage *out)
{
	Retcode rc = dcm_wait_for(&c->client->blocker, timeout_ns, SPIN_NS, look_for_any, c);

	if (rc == rcResourceNotFound)
		return rc;
	if (rc != rcOk)
		return say_why(c, rc);
	rc = is_over(state_of(c)) ? rcOk : rcNotConnected;
	return finish_or_give_up(c, rc, out);
}

static Retcode finish_one(struct calling *c, uint64_t call, int64_t timeout_ns, DcmMessage *out)
{
	struct dcm_end *end = &c->client->end;
	bool mine;
	Retcode rc;

	pthread_mutex_lock(&end->lock);
	mine = (uint32_t)call < DCM_CHANNEL_CALLS &&
	       claim_started(c, (uint32_t)call, (uint32_t)(call >> 32));
	pthread_mutex_unlock(&end->lock);
	if (!mine)
		return dcm_fail(rcInvalidArgument,
				"not a started call of this session, or finished before, or another "
				"thread is finishing it");
	rc = dcm_wait_for(&c->client->blocker, timeout_ns, SPIN_NS, look_for_end, c);
	if (rc != rcTimeout && rc != rcIpcInterrupt &&
	    (rc == rcOk || dcm_kernel_gone(&c->session->kernel) == 0))
		return finish_or_give_up(c, rc, out);
	/* It goes on; a further DcmFinish, perhaps through another handle, may come for it. */
	set_use(c, DCM_USE_STARTED);
	dcm_park_wake_all(&end->channel.shared->done);
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
	rc = find_session(session, &object, &c);
	if (rc != rcOk)
		return rc;
	pulses = dcm_source_pulses(&c.client->source);
	rc = c.any ? finish_any(&c, timeoutNs, outReply)
		   : finish_one(&c, call, timeoutNs, outReply);
	if (rc == rcTimeout || rc == rcResourceNotFound)
		dcm_source_drained(&c.client->source, pulses);
	if (outCall != NULL && c.generation != 0)
		*outCall = name_of(&c);
	dcm_object_drop(object);
	errno = saved;
	return rc;
}

Retcode DcmInterruptCall(Handle handle)
{
	struct dcm_kernel_object *object;
	struct dcm_source *source;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	rc = dcm_kernel_find(handle, 1u << DCM_KIND_SESSION | 1u << DCM_KIND_LISTENER, 0, &object);
	if (rc != rcOk)
		return rc;
	if (object->object.type->kind == DCM_KIND_SESSION)
		dcm_wait_interrupt(&((struct dcm_session *)object)->client->blocker);
	else
		dcm_wait_interrupt(&((struct dcm_listener_object *)object)->blocker);
	source = dcm_source_of(&object->object);
	if (source != NULL)
		dcm_source_fire(source, DCM_BLOCKING_CALL_INTERRUPTED);
	dcm_object_drop(&object->object);
	errno = saved;
	return rcOk;
}
