/* SPDX-License-Identifier: BSD-2-Clause */
/* receive - calls that come in over a listener */
#include <dcm/fabric.h>
#include <errno.h>

#include "api/fork.h"
#include "api/keeper.h"
#include "api/retcode.h"
#include "api/server.h"
#include "shm/barrier.h"
#include "shm/listener.h"

#define KIND_LISTENER (1u << DCM_KIND_LISTENER)

/*
 * Under the lock: note in the books that the call is out. False: it is out already, so the client
 * misbehaves.
 */
static bool hand_out(struct dcm_server_end *server, struct dcm_call call, uint32_t flags)
{
	struct dcm_call_book *book = &server->call[call.index];

	if (DCM_ORDER(handed_out_once, book->handed, false))
		return false;
	DCM_LINE(next_call_gives_reply_back) dcm_server_take_back_reply(server, call.index);
	book->handed = true;
	book->generation = call.generation;
	book->flags = flags;
	server->end.out++;
	return true;
}

struct receiving {
	struct dcm_listener_object *listener;
	DcmRequest *requests;
	size_t capacity, count; /* of them; that were received */
	bool waits;		/* or the first look is the only one */
	uint32_t looks;		/* so far */
	bool held;		/* the listener is; then the hot end is, too, from look to look: */
	struct dcm_server_end *end;
};

#ifdef DCM_HOOKS
enum { HOT_AT_ONCE = 1, OTHERS_EACH_LOOKS = 1, HOT_MOST = 2, LOOKS_INSIDE = 1 };
#else
enum { HOT_AT_ONCE = 0, OTHERS_EACH_LOOKS = 32, HOT_MOST = 16, LOOKS_INSIDE = 16 };
#endif

/* Under the lock. @by_bit: with the ready bit clear, which it stays if this finds nothing. @looks: so
   many in a row, each of which is less than to come in again. */
static int take(struct dcm_server_end *server, bool by_bit, int looks, struct dcm_call *call,
		struct dcm_parcel *parcel)
{
	struct dcm_channel *ch = &server->end.channel;
	int result;

	do
		result = dcm_channel_take(ch, call, parcel);
	while (result == DCM_CHANNEL_EMPTY && --looks > 0);
	if (result != DCM_CHANNEL_EMPTY || !ch->streaming || !by_bit)
		return result;
	/* K5 of shm/channel.h. */
	DCM_LINE(end_of_stream_is_barred) dcm_barrier();
	return dcm_channel_take(ch, call, parcel);
}

/* Under the lock: a look at a channel whose client has left, and which nothing is posted to any more
   but by one that misbehaves. */
static void count_drained(struct dcm_server_end *server)
{
	uint32_t looks = dcm_load(&server->draining, relaxed);

	if (looks > 1)
		dcm_store(&server->draining, looks - 1, relaxed);
}

static void put_down(struct receiving *r, const struct dcm_server_end *server, struct dcm_call call,
		     const struct dcm_parcel *parcel)
{
	DcmRequest *request = &r->requests[r->count++];

	request->message.data = server->end.channel.requests + parcel->offset;
	request->message.size = parcel->size;
	request->message.status = parcel->status;
	dcm_message_mark(&request->message, &server->end, DCM_MESSAGE_REQUEST, call.index,
			 call.generation, parcel->offset);
	request->context = server->context;
	request->badgeContext = dcm_badge_context(server->badge);
	request->riid = server->riid;
	request->flags = parcel->flags & DCM_REQUEST_ONE_WAY;
}

/* Under the lock: is there anything to receive from, now? */
static bool may_receive(const struct dcm_server_end *server)
{
	return dcm_end_there(&server->end) && DCM_ORDER(cut_ends_receiving, !server->cut, true);
}

/* Under the lock: one call, if there is one and it is not an impossible one. Return: was there any? */
static bool receive_one(struct receiving *r, struct dcm_server_end *server, bool by_bit)
{
	struct dcm_parcel parcel;
	struct dcm_call call;
	/* Behind the first, none is waited for: who looks at each message as it is being written takes its
	   line from who writes it. */
	int looks = by_bit || r->count != 0 ? 1 : LOOKS_INSIDE;
	int result = take(server, by_bit, looks, &call, &parcel);

	count_drained(server);
	if (result == DCM_CHANNEL_TAKEN && hand_out(server, call, parcel.flags))
		put_down(r, server, call, &parcel);
	return result != DCM_CHANNEL_EMPTY;
}

/* Behind the lock. What is out keeps the end there. */
static void leave(struct dcm_server_end *server, bool received)
{
	bool first = received && dcm_server_end_offers(server);

	dcm_lock_leave(&server->end.lock);
	if (first)
		dcm_server_end_handed_over(server);
}

/*
 * Nothing is posted in it: if its client has left, the keeper may end it now. It looks for itself:
 * what we found may be from before the client's last message.
 */
static void drained(struct dcm_server_end *server)
{
	if (dcm_load(&server->draining, acquire) != 0)
		DCM_LINE(drained_kicks) dcm_keeper_kick();
}

/* In a read section: the end at a connection slot; null: none, now. */
static struct dcm_server_end *end_at(struct dcm_listener_object *listener, uint32_t connection)
{
	uint64_t number = dcm_load(&listener->ends[connection], acquire);

	return (struct dcm_server_end *)dcm_handle_peek(number, 1u << DCM_KIND_CHANNEL);
}

static void let_go_of_end(struct receiving *r)
{
	if (r->end != NULL)
		dcm_object_drop(&r->end->end.object);
	r->end = NULL;
}

/* Its bit is set, and so it has its turn with the others. */
static __attribute__((noinline)) void cool(struct receiving *r)
{
	let_go_of_end(r);
	if (dcm_load(&r->listener->hot, relaxed) != 0)
		dcm_store(&r->listener->hot, 0u, relaxed);
}

/*
 * A call was received by a ready bit. If it is the second from that channel and nothing else came,
 * or more are posted in it, the channel is hot from here on, until this process is about to sleep,
 * another channel has something as well, or somebody polls the descriptor, for which set bits are
 * calls. One that was hot is so no more: its producer may be waiting for a processor, and each look at
 * it would delay all others. All that makes a channel hot is that its bit is set again when it could
 * be clear: whoever is to find all that is there looks at every channel whose bit is set.
 */
static void heat(struct receiving *r, uint32_t connection, bool posted)
{
	struct dcm_listener_object *listener = r->listener;
	bool again = posted || dcm_load(&listener->last, relaxed) == connection + 1 || HOT_AT_ONCE;

	dcm_store(&listener->last, connection + 1, relaxed);
	if (dcm_load(&listener->hot, relaxed) == connection + 1)
		return;
	if (!again || dcm_source_lit(&listener->source)) {
		cool(r);
		return;
	}
	let_go_of_end(r);
	dcm_store(&listener->hot_in_a_row, 0u, relaxed);
	/* release: who looks at the hot one alone need not have seen the listener bound. */
	dcm_store(&listener->hot, connection + 1, release);
	dcm_listener_mark(&listener->fabric->seg, listener->ref, connection);
}

static bool try_channel(struct receiving *r, uint32_t connection)
{
	struct dcm_listener_object *listener = r->listener;
	struct dcm_server_end *server = end_at(listener, connection);
	size_t before = r->count;
	bool any, posted;

	if (server == NULL)
		return false;
	dcm_lock_enter(&server->end.lock);
	/* In one step for the keeper: when it finds nothing posted, what was posted is out. Of a stream
	   it cannot be said yet whether there is more. */
	any = may_receive(server) && receive_one(r, server, true);
	posted = any && dcm_channel_more(&server->end.channel);
	any = posted || (any && server->end.channel.streaming);
	leave(server, r->count != before);
	if (!any)
		drained(server);
	else
		/* We took the ready bit for one call; for what is left another thread may come. */
		DCM_LINE(rest_is_signalled)
	dcm_listener_signal(&listener->fabric->seg, listener->ref.index, connection);
	if (r->count != before)
		heat(r, connection, posted);
	return r->count != before;
}

/* The channels with a ready bit, but for @skip. */
static __attribute__((noinline)) bool try_ready(struct receiving *r, uint32_t skip)
{
	struct dcm_listener_object *listener = r->listener;
	const struct dcm_segment *seg = &listener->fabric->seg;
	uint32_t cursor = dcm_load(&listener->cursor, relaxed); /* a hint for fairness */
	/* seq, pairs with that of an accept: behind the key of a sleep. */
	uint32_t reach = dcm_load(&listener->reach, seq);
	uint32_t connection;

	/* A private bound: bits that come back as fast as they are taken hold nobody here. */
	for (uint32_t i = 0; i < reach; i++) {
		if (!dcm_listener_next_but(seg, listener->ref, reach, &cursor, skip, &connection))
			return false;
		dcm_store(&listener->cursor, cursor, relaxed);
		if (try_channel(r, connection))
			return true;
		/* Behind the close the slot may be another's, and the bit one of its channels. */
		if (dcm_load(&listener->blocker.closed, seq) != 0) {
			dcm_listener_signal(seg, listener->ref.index, connection);
			return false;
		}
	}
	return false;
}

/* What came of a look at the hot channel. */
enum hot {
	HOT_RECEIVED, /* something; and there is room for no more, or no more to receive */
	HOT_NOTHING,
	HOT_BUSY, /* the others are to be looked at, whether something came or not */
};

/* Under the lock of an end that is there, and its segment with it. */
static bool others_wait(struct dcm_listener_object *listener, const struct dcm_server_end *server)
{
	return dcm_listener_any_but(&server->end.fabric->seg, listener->ref,
				    dcm_load(&listener->reach, relaxed),
				    server->end.connection.index);
}

/* The same: calls of the hot channel, until it is the turn of others that wait. */
static enum hot receive_row(struct receiving *r, struct dcm_server_end *server)
{
	struct dcm_listener_object *listener = r->listener;
	uint32_t row = dcm_load(&listener->hot_in_a_row, relaxed);
	bool others = false;
	size_t first = r->count, before;

	/* Not beyond what cannot be received: a client that goes on writing such holds nobody here. */
	do {
		if (row >= HOT_MOST) {
			others = others_wait(listener, server);
			row = others ? row : 0;
		}
		before = r->count;
		if (!others)
			receive_one(r, server, false);
		row += (uint32_t)(r->count - before);
	} while (r->count != before && r->count < r->capacity);
	dcm_store(&listener->hot_in_a_row, row, relaxed);
	if (r->count == r->capacity)
		return HOT_RECEIVED;
	if (!others && r->count == first)
		return HOT_NOTHING;
	return others || others_wait(listener, server) ? HOT_BUSY : HOT_RECEIVED;
}

/* Looked into from outside, since it is held: a thread that looks again and again, and may be
   preempted at any of its looks, is not in the way of those that reply. */
static bool has_nothing(struct receiving *r, struct dcm_server_end *server)
{
	if (r->end != server) {
		let_go_of_end(r);
		if (dcm_object_keep(&server->end.object))
			r->end = server;
	}
	return r->end != NULL && !dcm_channel_more(&server->end.channel);
}

/*
 * One look at the hot channel, by itself, in a read section. Nothing but the end need be there: the
 * listener is looked at as memory alone. HOT_BUSY: another thread is in there, or it is hot no more.
 */
static enum hot try_hot(struct receiving *r, uint32_t hot)
{
	struct dcm_listener_object *listener = r->listener;
	struct dcm_server_end *server = end_at(listener, hot - 1);
	size_t before = r->count;
	enum hot result = HOT_BUSY;

	/* What its client leaves behind is looked for by the bit, and the keeper told. */
	if (server == NULL || dcm_load(&server->draining, relaxed) != 0) {
		cool(r);
		return HOT_BUSY;
	}
	if (r->held && has_nothing(r, server))
		return HOT_NOTHING;
	if (!dcm_lock_try(&server->end.lock))
		return HOT_BUSY;
	if (may_receive(server))
		result = receive_row(r, server);
	leave(server, r->count != before);
	/* Its client may have left since, and the keeper have seen what is received now. */
	if (r->count != before)
		drained(server);
	return result;
}

/* While one channel is hot: it, and the others now and then. */
static bool try_with_hot(struct receiving *r, uint32_t hot)
{
	struct dcm_listener_object *listener = r->listener;
	/* Behind the first of a batch nothing is waited for: the others are looked at at once. */
	bool others = !r->waits || r->count != 0 || ++r->looks % OTHERS_EACH_LOOKS == 0;
	size_t before = r->count;
	enum hot result;

	if (dcm_load(&listener->hot_in_a_row, relaxed) >= HOT_MOST) {
		if (try_ready(r, hot - 1))
			return true;
		dcm_store(&listener->hot_in_a_row, 0u, relaxed);
	}
	result = try_hot(r, hot);
	if (r->count != before)
		return true;
	return others && try_ready(r, result == HOT_NOTHING ? hot - 1 : DCM_LISTENER_SKIPS_NONE);
}

/* With the listener held. */
static Retcode look(void *arg, struct dcm_wait_on *on)
{
	struct receiving *r = arg;
	struct dcm_listener_object *listener = r->listener;
	uint32_t hot;
	bool found;

	if (dcm_load(&listener->bound, acquire) == 0) {
		if (on != NULL)
			on->word = &listener->bound; /* key 0: until the first accept */
		return DCM_LOOK_AGAIN;
	}
	dcm_wait_on_count(on, &dcm_listener_at(&listener->fabric->seg, listener->ref.index)->ec);
	hot = dcm_load(&listener->hot, relaxed);
	dcm_handle_enter();
	/* Before a sleep, or where somebody is told by bits: all of them, also that of the hot one. */
	if (hot != 0 && on == NULL && !dcm_source_lit(&listener->source)) {
		found = try_with_hot(r, hot);
	} else {
		cool(r);
		found = try_ready(r,
				  DCM_ORDER(sleeper_skips_none, DCM_LISTENER_SKIPS_NONE, hot - 1));
	}
	dcm_handle_leave();
	return found ? rcOk : DCM_LOOK_AGAIN;
}

/* The same in a read section, of the hot channel alone. */
static enum hot look_at_hot(struct receiving *r)
{
	struct dcm_listener_object *listener = r->listener;
	/* acquire, pairs heat(): the listener is bound, with all that goes with it. */
	uint32_t hot = dcm_load(&listener->hot, acquire);

	return hot != 0 && !dcm_source_lit(&listener->source) &&
			       dcm_kernel_gone(&listener->kernel) == 0
		       ? try_hot(r, hot)
		       : HOT_BUSY;
}

/* What is had without a count on anything, in looks that take neither a clock nor a sleep. */
static enum hot receive_hot(struct receiving *r, int64_t timeout_ns)
{
	struct dcm_spin *spin = &r->listener->blocker.spin;
	enum hot result = look_at_hot(r);

	if (result != HOT_NOTHING || timeout_ns == 0 || dcm_spin_ns(spin) == 0)
		return result;
	for (int i = 0; i < DCM_LOOKS_FIRST && result == HOT_NOTHING; i++)
		result = look_at_hot(r);
	if (result == HOT_RECEIVED)
		dcm_spin_came(spin);
	return result;
}

static Retcode say_why(struct receiving *r, Retcode rc, uint32_t pulses)
{
	if (rc == rcNotConnected && dcm_kernel_revoked(&r->listener->kernel))
		return dcm_fail(rcHandleRevoked, "the listener was revoked");
	if (rc == rcNotConnected)
		return dcm_fail(rc, "the listener was closed");
	if (rc == rcIpcInterrupt)
		return dcm_fail(rc, "interrupted by DcmInterruptCall");
	if (rc != rcTimeout)
		return rc;
	dcm_source_drained(&r->listener->source, pulses);
	return dcm_fail(rc, "no call came in time");
}

/* By which the next wait looks. */
static struct dcm_spin *learnt_of(struct dcm_listener_object *listener)
{
	if (dcm_load(&listener->expects, relaxed) == 0 ||
	    !dcm_spin_adapts(&listener->blocker.spin) || dcm_swap(&listener->expects, 0u) == 0)
		return &listener->blocker.spin;
	return &listener->first;
}

/* The first of a batch, or the only one. */
static Retcode receive_first(struct receiving *r, int64_t timeout_ns)
{
	struct dcm_listener_object *listener = r->listener;
	uint32_t pulses = dcm_source_pulses(&listener->source);
	Retcode rc = dcm_wait_first(&listener->blocker, timeout_ns, look, r);

	if (rc == DCM_LOOK_AGAIN)
		rc = dcm_wait_learning(&listener->blocker, timeout_ns,
				       timeout_ns != 0 ? learnt_of(listener) : NULL, look, r);
	return rc == rcOk ? rc : say_why(r, rc, pulses);
}

/* With a count on the listener: the first, unless that has come, and what is there at once behind it. */
static Retcode receive_held(struct receiving *r, Handle handle, int64_t timeout_ns)
{
	struct dcm_kernel_object *object;
	int saved = errno;
	Retcode rc = dcm_kernel_find(handle, KIND_LISTENER, 0, &object);

	if (rc != rcOk)
		return r->count != 0 ? rcOk : rc;
	r->listener = (struct dcm_listener_object *)object;
	r->held = true;
	if (r->count == 0)
		rc = receive_first(r, timeout_ns);
	if (rc == rcOk)
		while (r->count < r->capacity && look(r, NULL) == rcOk)
			;
	let_go_of_end(r);
	dcm_object_drop(&object->object);
	errno = saved;
	return rc;
}

/* In one piece; what comes of anything but HOT_RECEIVED is for receive_later(). */
static enum hot receive_now(struct receiving *r, Handle handle, int64_t timeout_ns)
{
	enum hot result = HOT_BUSY;

	dcm_handle_enter();
	r->listener = (struct dcm_listener_object *)dcm_handle_peek(handle, KIND_LISTENER);
	if (r->listener != NULL)
		result = receive_hot(r, timeout_ns);
	dcm_handle_leave();
	return result;
}

/* Behind that, with @count received already. */
static DCM_SELDOM Retcode receive_later(Handle handle, int64_t timeout_ns, DcmRequest *requests,
					size_t capacity, size_t *count)
{
	struct receiving r = { .requests = requests,
			       .capacity = capacity,
			       .count = *count,
			       .waits = timeout_ns != 0 };
	Retcode rc = receive_held(&r, handle, timeout_ns);

	*count = r.count;
	return rc;
}

DCM_HOT Retcode DcmReceive(Handle listener, int64_t timeoutNs, DcmRequest *outRequest)
{
	struct receiving r = { .requests = outRequest, .capacity = 1, .waits = timeoutNs != 0 };
	size_t count = 0;
	Retcode rc;

	dcm_fork_check();
	if (outRequest == NULL)
		return dcm_fail(rcInvalidArgument, "outRequest is null");
	if (receive_now(&r, listener, timeoutNs) == HOT_RECEIVED)
		return rcOk;
	rc = receive_later(listener, timeoutNs, outRequest, 1, &count);
	if (rc != rcOk)
		*outRequest = (DcmRequest){ .riid = INVALID_RIID };
	return rc;
}

DCM_HOT Retcode DcmReceiveBatch(Handle listener, int64_t timeoutNs, DcmRequest *requests,
				size_t capacity, size_t *outCount)
{
	struct receiving r = { .requests = requests,
			       .capacity = capacity,
			       .waits = timeoutNs != 0 };

	dcm_fork_check();
	if (outCount != NULL)
		*outCount = 0;
	if (capacity == 0 || requests == NULL || outCount == NULL)
		return dcm_fail(rcInvalidArgument, "%s",
				capacity == 0	   ? "capacity is 0"
				: requests == NULL ? "requests is null"
						   : "outCount is null");
	if (receive_now(&r, listener, timeoutNs) == HOT_RECEIVED) {
		*outCount = r.count;
		return rcOk;
	}
	*outCount = r.count;
	return receive_later(listener, timeoutNs, requests, capacity, outCount);
}
