/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/calling.h"

#include <coresrv/handle/handle_api.h>

#include "api/retcode.h"
#include "shm/barrier.h"
#include "shm/listener.h"
#include "shm/process.h"

#define KIND_SESSION (1u << DCM_KIND_SESSION)

/* One look in so many is at all there is to see, the others at what comes first most often. */
enum { LOOKS_AT_ALL = 8 };

/* For how long a sender sleeps for many slots, before it does for any. */
#define MANY_NS (1000 * 1000)

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
	struct dcm_end *end = &c->client->end;
	bool claimed;

	dcm_lock_enter(&end->lock);
	claimed = c->message != NULL && dcm_message_claim(end, c->message, DCM_MESSAGE_LOAN);
	dcm_lock_leave(&end->lock);
	if (claimed)
		consume(c);
	/* Again, for the detail. */
	return dcm_kernel_check(&c->session->kernel, OCAP_IPC_CALL, "the session");
}

static Retcode closed(void)
{
	return dcm_fail(rcInvalidArgument, "not an open session of this process");
}

static void set_session(struct calling *c, struct dcm_object *object)
{
	c->session = (struct dcm_session *)object;
	c->client = c->session->client;
}

/* The same held: why it may not, or, when the look before was too early, that it may. */
static Retcode enter_held(Handle handle, struct calling *c)
{
	struct dcm_object *object = dcm_handle_find(handle, KIND_SESSION);
	Retcode rc;

	if (object == NULL)
		return closed();
	set_session(c, object);
	c->held = true;
	rc = dcm_kernel_check(&c->session->kernel, OCAP_IPC_CALL, "the session");
	if (rc == rcHandleRevoked && c->use != DCM_USE_FREE)
		rc = consume_in_vain(c);
	if (rc != rcOk)
		dcm_object_drop(object);
	return rc;
}

/* What the server has revoked is found with what else it says: dcm_calling_server_there(). */
static bool may_call(const struct dcm_session *session)
{
	return dcm_kernel_gone(&session->kernel) == 0 &&
	       (session->kernel.rights & OCAP_IPC_CALL) != 0;
}

bool dcm_calling_peek(Handle handle, struct calling *c)
{
	struct dcm_object *object = dcm_handle_peek(handle, KIND_SESSION);

	if (object == NULL || !may_call((struct dcm_session *)object))
		return false;
	set_session(c, object);
	return true;
}

Retcode dcm_calling_enter(Handle handle, struct calling *c)
{
	dcm_handle_enter();
	if (dcm_calling_peek(handle, c))
		return rcOk;
	dcm_handle_leave();
	return enter_held(handle, c);
}

void dcm_calling_leave(struct calling *c)
{
	if (c->held)
		dcm_object_drop(&c->session->kernel.object);
	else
		dcm_handle_leave();
}

bool dcm_calling_hold(struct calling *c)
{
	if (c->held)
		return true;
	c->held = dcm_object_keep(&c->session->kernel.object);
	if (c->held)
		dcm_handle_leave();
	return c->held;
}

static void back(struct dcm_client_end *client, uint32_t count)
{
	struct dcm_end *end = &client->end;
	bool gone;

	if (count == 0)
		return;
	dcm_lock_enter(&end->lock);
	gone = dcm_end_back(end, count);
	dcm_lock_leave(&end->lock);
	if (gone)
		dcm_end_gone(end);
}

void dcm_calling_back(struct calling *c, uint32_t count)
{
	back(c->client, count);
}

static const struct dcm_segment *segment_of(const struct dcm_client_end *client)
{
	return &client->end.fabric->seg;
}

bool dcm_calling_server_sighted(struct dcm_client_end *client)
{
	return dcm_process_sighted(&client->end.sight) &&
	       !dcm_channel_hung_up(&client->end.channel);
}

bool dcm_calling_server_there(struct calling *c, struct dcm_wait_on *on)
{
	struct dcm_client_end *client = c->client;

	if (dcm_kernel_gone(&c->session->kernel) != 0)
		return false;
	if (on == NULL)
		return dcm_calling_server_sighted(client);
	return dcm_process_guard(segment_of(client), client->end.peer,
				 client->end.fabric->self.index, &on->guard.alive[0]) &&
	       !dcm_channel_hung_up(&client->end.channel);
}

/* Whatever ended first: a revocation is what is told, also when the server has died since. */
Retcode dcm_calling_gone(struct calling *c)
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

/* Also when one of a stream does: K5 of shm/channel.h. */
void dcm_calling_expect_room(struct calling *c, struct dcm_wait_on *on)
{
	dcm_wait_on_count(on, &c->client->end.channel.shared->room);
	/* seq, pairs stream_flag(): behind the prepare. */
	if (on != NULL && dcm_load(&c->client->streamed, seq) != 0)
		DCM_LINE(sleeper_for_room_bars) dcm_barrier();
}

/* Waits for room are back-pressure: that there is none is not a matter of time at timeout 0. */
Retcode dcm_calling_wait_for_room(struct calling *c, int64_t timeout_ns, dcm_look_fn *look,
				  const char *what)
{
	Retcode rc;

	if (!dcm_calling_hold(c))
		return dcm_fail(rcNotConnected, "the session was closed");
	rc = dcm_wait_until(&c->client->blocker, timeout_ns, &c->deadline_ns, true, look, c);
	if (rc == rcTimeout && timeout_ns == 0)
		return dcm_fail(rcQuotaExceeded, "the channel is full: no free %s", what);
	if (rc == rcTimeout)
		return dcm_fail(rc, "the channel stayed full: no free %s in time", what);
	if (rc == rcIpcInterrupt)
		return dcm_fail(rc, "interrupted by DcmInterruptCall");
	if (rc == rcNotConnected)
		return dcm_calling_gone(c);
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

/* Under the lock: claim a slot and hand the request over, in one step for whoever looks into the
   books, which hold its room from here on. False: no slot. */
static bool post(struct calling *c, bool last)
{
	struct dcm_parcel parcel = { .offset = dcm_message_offset(c->message),
				     .size = c->message->size,
				     .status = c->message->status };

	if (!take_call(c, last))
		return false;
	parcel.flags = c->flags | stream_flag(c);
	if (c->use == DCM_USE_ONE_WAY)
		dcm_books_let_go(&c->client->books, c->call.index, c->use);
	dcm_channel_post(&c->client->end.channel, c->call, &parcel);
	return true;
}

/* Of one-way messages there are many: the first sleep is for many slots, and short. */
static void expect_many(struct calling *c, struct dcm_wait_on *on)
{
	dcm_wait_on_count(on, &c->client->end.channel.shared->much);
	on->most_ns = MANY_NS;
	c->slept = true;
}

static Retcode look_for_call(void *arg, struct dcm_wait_on *on)
{
	struct calling *c = arg;
	struct dcm_end *end = &c->client->end;
	Retcode rc = DCM_LOOK_AGAIN;

	if (on != NULL && c->use == DCM_USE_ONE_WAY && !c->slept)
		expect_many(c, on);
	else
		dcm_calling_expect_room(c, on);
	dcm_lock_enter(&end->lock);
	if (!dcm_calling_server_there(c, on))
		rc = rcNotConnected;
	else if (post(c, on != NULL || c->impatient))
		rc = rcOk;
	dcm_lock_leave(&end->lock);
	return rc;
}

/* Relaxed, and lost by the way: a matter of cost alone. */
static void note_known(struct dcm_client_end *client, bool known, size_t count)
{
	uint32_t before = dcm_load(&client->told_nobody, relaxed);

	if (known ? before < STREAM_AFTER : before != 0)
		dcm_store(&client->told_nobody, known ? before + (uint32_t)count : 0u, relaxed);
}

static void signal(struct dcm_client_end *client)
{
	note_known(client,
		   dcm_listener_signal(segment_of(client), client->listener,
				       client->end.connection.index),
		   1);
}

/* Of a call's own message that is not all: it stays out until the call is over. */
static uint32_t to_give_back(enum dcm_call_use use, size_t posted)
{
	return use == DCM_USE_CALLING ? 0 : (uint32_t)posted;
}

/* Under the lock, behind the posts. True: the server knows of them anyway. */
static bool is_known(struct dcm_client_end *client, size_t posted)
{
	if (!dcm_listener_knows(&client->listens))
		return false;
	note_known(client, true, posted);
	return true;
}

/* What was posted to a server that may have to be told of it. */
static DCM_SELDOM void tell(struct dcm_client_end *client, enum dcm_call_use use, size_t posted)
{
	signal(client);
	back(client, to_give_back(use, posted));
}

/*
 * Under the lock: claim messages and post them, as far as that takes no time. What was claimed is out,
 * and so the end is there until it is back. Return: how many were.
 */
static size_t post_some(struct calling *c, DcmMessage *messages, size_t count)
{
	struct dcm_client_end *client = c->client;
	size_t posted = 0;

	if (!dcm_end_there(&client->end) || !dcm_calling_server_sighted(client))
		return 0;
	for (; posted < count; posted++) {
		c->message = &messages[posted];
		if (!dcm_message_claim(&client->end, c->message, DCM_MESSAGE_LOAN))
			break;
		if (!post(c, false)) {
			dcm_message_unclaim(&client->end, c->message);
			break;
		}
		dcm_message_consumed(c->message);
	}
	return posted;
}

/* The same in the lock, which it leaves; and be through with them if the server is awake. */
static size_t post_and_leave(struct calling *c, DcmMessage *messages, size_t count)
{
	struct dcm_end *end = &c->client->end;
	size_t posted = post_some(c, messages, count);
	bool known = posted == 0 || is_known(c->client, posted);
	bool gone = known && dcm_end_back(end, to_give_back(c->use, posted));

	dcm_lock_leave(&end->lock);
	if (gone)
		dcm_end_gone(end);
	if (!known)
		tell(c->client, c->use, posted);
	return posted;
}

size_t dcm_calling_begin_now(struct calling *c, DcmMessage *messages, size_t count)
{
	return messages != NULL && dcm_lock_try(&c->client->end.lock)
		       ? post_and_leave(c, messages, count)
		       : 0;
}

/* The message that could not be posted at once. */
static Retcode claim_for_later(struct calling *c, DcmMessage *message)
{
	struct dcm_end *end = &c->client->end;
	Retcode rc = rcOk;

	c->message = message;
	dcm_lock_enter(&end->lock);
	if (!dcm_message_claim(end, message, DCM_MESSAGE_LOAN))
		rc = dcm_message_refuse(end, message, DCM_MESSAGE_LOAN);
	dcm_lock_leave(&end->lock);
	return rc;
}

/* The message that is claimed, when there is a slot for it. */
static Retcode post_later(struct calling *c, int64_t timeout_ns)
{
	struct dcm_end *end = &c->client->end;
	Retcode rc = dcm_calling_wait_for_room(c, timeout_ns, look_for_call, "call slot");

	c->slept = false;
	if (rc == rcOk) {
		dcm_message_consumed(c->message);
		tell(c->client, c->use, 1);
	} else if (rc != rcQuotaExceeded && !c->keeps) {
		consume(c);
	} else {
		dcm_lock_enter(&end->lock);
		dcm_message_unclaim(end, c->message);
		dcm_lock_leave(&end->lock);
	}
	return rc;
}

Retcode dcm_calling_begin(struct calling *c, DcmMessage *messages, size_t count, int64_t timeout_ns,
			  size_t *begun)
{
	Retcode rc = rcOk;

	if (messages == NULL && count != 0)
		return dcm_fail(rcInvalidArgument, "the message is null");
	c->impatient = timeout_ns == 0;
	c->slept = false;
	while (*begun < count) {
		dcm_lock_enter(&c->client->end.lock);
		*begun += post_and_leave(c, messages + *begun, count - *begun);
		if (*begun == count)
			break;
		rc = claim_for_later(c, &messages[*begun]);
		if (rc == rcOk)
			rc = post_later(c, timeout_ns);
		if (rc != rcOk)
			break;
		++*begun;
	}
	c->looks = 0;
	return rc;
}
