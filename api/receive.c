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
	DcmRequest *request;
	bool waits;	/* or the first look is the only one */
	uint32_t looks; /* so far */
	bool held;	/* the listener is; then the hot end is, too, from look to look: */
	struct dcm_server_end *end;
};

/* What came of one look at a channel. */
struct found {
	bool received;
	bool more; /* (probably) another posted call */
};

#ifdef DCM_HOOKS
enum { HOT_AT_ONCE = 1, OTHERS_EACH_LOOKS = 1, HOT_MOST = 2, LOOKS_INSIDE = 1 };
#else
enum { HOT_AT_ONCE = 0, OTHERS_EACH_LOOKS = 32, HOT_MOST = 16, LOOKS_INSIDE = 16 };
#endif

/* Under the lock. @by_bit: with the ready bit clear, which it stays if this finds nothing; else some
   looks in a row, each of which is less than to come in again. */
static int take(struct dcm_server_end *server, bool by_bit, struct dcm_call *call,
		struct dcm_parcel *parcel)
{
	struct dcm_channel *ch = &server->end.channel;
	int looks = by_bit ? 1 : LOOKS_INSIDE, result;

	while (--looks > 0 && !dcm_channel_more(ch))
		;
	result = dcm_channel_take(ch, call, parcel);
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

/*
 * One call from one channel, if there is one and it is not an impossible one. Under the lock of its
 * end, which it leaves: in one step for the keeper, so that when it finds nothing posted, what was
 * posted is out. @by_bit: the bit was taken for that, so it must be known whether there is more.
 */
static struct found receive_from(struct receiving *r, struct dcm_server_end *server, bool by_bit)
{
	struct dcm_channel *ch = &server->end.channel;
	struct found found = { .received = false };
	struct dcm_parcel parcel;
	struct dcm_call call;
	bool first;

	if (dcm_end_there(&server->end) && DCM_ORDER(cut_ends_receiving, !server->cut, true)) {
		int result = take(server, by_bit, &call, &parcel);

		count_drained(server);
		found.received =
			result == DCM_CHANNEL_TAKEN && hand_out(server, call, parcel.flags);
		/* Of a stream that cannot be said yet. */
		found.more = by_bit && result != DCM_CHANNEL_EMPTY &&
			     (ch->streaming || dcm_channel_more(ch));
	}
	first = found.received && dcm_server_end_offers(server);
	dcm_lock_leave(&server->end.lock);
	if (!found.received)
		return found;
	/* What is out keeps the end there. */
	if (first)
		dcm_server_end_handed_over(server);
	*r->request = (DcmRequest){ .message = { .data = ch->requests + parcel.offset,
						 .size = parcel.size,
						 .status = parcel.status },
				    .context = server->context,
				    .badgeContext = dcm_badge_context(server->badge),
				    .riid = server->riid,
				    .flags = parcel.flags & DCM_REQUEST_ONE_WAY };
	dcm_message_mark(&r->request->message, &server->end, DCM_MESSAGE_REQUEST, call.index,
			 call.generation, parcel.offset);
	return found;
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

/*
 * A second call from the same channel, and nothing else came: from here on it is hot, until this
 * process is about to sleep, another channel has something as well, or somebody polls the
 * descriptor, for which set bits are calls. All that makes it hot is that its bit is set again when
 * it could be clear: whoever is to find all that is there looks at every channel whose bit is set.
 */
static void heat(struct receiving *r, uint32_t connection)
{
	struct dcm_listener_object *listener = r->listener;
	bool again = dcm_load(&listener->last, relaxed) == connection + 1 || HOT_AT_ONCE;

	dcm_store(&listener->last, connection + 1, relaxed);
	if (!again || dcm_load(&listener->hot, relaxed) != 0 || dcm_source_lit(&listener->source))
		return;
	dcm_store(&listener->hot_in_a_row, 0u, relaxed);
	/* release: who looks at the hot one alone need not have seen the listener bound. */
	dcm_store(&listener->hot, connection + 1, release);
	dcm_listener_mark(&listener->fabric->seg, listener->ref, connection);
}

static void let_go_of_end(struct receiving *r)
{
	if (r->end != NULL)
		dcm_object_drop(&r->end->end.object);
	r->end = NULL;
}

/* Its bit is set, and so it has its turn with the others. */
static void cool(struct receiving *r)
{
	let_go_of_end(r);
	if (dcm_load(&r->listener->hot, relaxed) != 0)
		dcm_store(&r->listener->hot, 0u, relaxed);
}

static bool try_channel(struct receiving *r, uint32_t connection)
{
	struct dcm_listener_object *listener = r->listener;
	struct dcm_server_end *server = end_at(listener, connection);
	struct found found;

	if (server == NULL)
		return false;
	dcm_lock_enter(&server->end.lock);
	found = receive_from(r, server, true);
	if (!found.more)
		drained(server);
	else
		/* We took the ready bit for one call; for what is left another thread may come. */
		DCM_LINE(rest_is_signalled)
	dcm_listener_signal(&listener->fabric->seg, listener->ref.index, connection);
	if (found.received)
		heat(r, connection);
	return found.received;
}

/* The channels with a ready bit, but for @skip. */
static bool try_ready(struct receiving *r, uint32_t skip)
{
	struct dcm_listener_object *listener = r->listener;
	const struct dcm_segment *seg = &listener->fabric->seg;
	uint32_t cursor = dcm_load(&listener->cursor, relaxed); /* a hint for fairness */
	uint32_t connection;

	/* A private bound: bits that come back as fast as they are taken hold nobody here. */
	for (uint32_t i = 0; i < seg->connection.count; i++) {
		if (!dcm_listener_next_but(seg, listener->ref, &cursor, skip, &connection))
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

enum hot { HOT_RECEIVED, HOT_NOTHING, HOT_BUSY };

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

	/* What its client leaves behind is looked for by the bit, and the keeper told. */
	if (server == NULL || dcm_load(&server->draining, relaxed) != 0) {
		cool(r);
		return HOT_BUSY;
	}
	if (r->held && has_nothing(r, server))
		return HOT_NOTHING;
	if (!dcm_lock_try(&server->end.lock))
		return HOT_BUSY;
	if (!receive_from(r, server, false).received)
		return HOT_NOTHING;
	/* Its client may have left since, and the keeper have seen what is received now. */
	drained(server);
	dcm_store(&listener->hot_in_a_row, dcm_load(&listener->hot_in_a_row, relaxed) + 1, relaxed);
	return HOT_RECEIVED;
}

/* While one channel is hot: it, and the others now and then. */
static bool try_with_hot(struct receiving *r, uint32_t hot)
{
	struct dcm_listener_object *listener = r->listener;
	bool others = !r->waits || ++r->looks % OTHERS_EACH_LOOKS == 0;
	enum hot result;

	if (dcm_load(&listener->hot_in_a_row, relaxed) >= HOT_MOST) {
		if (try_ready(r, hot - 1)) {
			cool(r);
			return true;
		}
		dcm_store(&listener->hot_in_a_row, 0u, relaxed);
	}
	result = try_hot(r, hot);
	if (result == HOT_RECEIVED)
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

/* The same in a read section, of the hot channel alone, and not for longer than the others may wait. */
static Retcode look_at_hot(void *arg, struct dcm_wait_on *on)
{
	struct receiving *r = arg;
	struct dcm_listener_object *listener = r->listener;
	/* acquire, pairs heat(): the listener is bound, with all that goes with it. */
	uint32_t hot = dcm_load(&listener->hot, acquire);

	(void)on;
	return hot != 0 && dcm_load(&listener->hot_in_a_row, relaxed) < HOT_MOST &&
			       !dcm_source_lit(&listener->source) &&
			       dcm_kernel_gone(&listener->kernel) == 0 &&
			       try_hot(r, hot) == HOT_RECEIVED
		       ? rcOk
		       : DCM_LOOK_AGAIN;
}

/* How many of up to @capacity are had without a count on anything. */
static size_t receive_hot(struct receiving *r, Handle handle, int64_t timeout_ns, size_t capacity)
{
	struct dcm_object *object;
	size_t count = 0;

	dcm_handle_enter();
	object = dcm_handle_peek(handle, KIND_LISTENER);
	r->listener = (struct dcm_listener_object *)object;
	if (object != NULL && dcm_load(&r->listener->hot, relaxed) != 0 &&
	    dcm_wait_first(&r->listener->blocker, timeout_ns, look_at_hot, r) == rcOk)
		do {
			count++;
			r->request++;
		} while (count < capacity && look_at_hot(r, NULL) == rcOk);
	dcm_handle_leave();
	return count;
}

/* What is there at once, behind what was waited for. */
static size_t receive_more(struct receiving *r, size_t count, size_t capacity)
{
	while (count < capacity && look(r, NULL) == rcOk) {
		count++;
		r->request++;
	}
	return count;
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
	if (rc != rcOk)
		return say_why(r, rc, pulses);
	r->request++;
	return rcOk;
}

static Retcode receive(Handle handle, int64_t timeout_ns, DcmRequest *requests, size_t capacity,
		       size_t *count)
{
	struct receiving r = { .request = requests, .waits = timeout_ns != 0 };
	struct dcm_kernel_object *object;
	Retcode rc;

	*count = receive_hot(&r, handle, timeout_ns, capacity);
	if (*count == capacity)
		return rcOk;
	rc = dcm_kernel_find(handle, KIND_LISTENER, 0, &object);
	if (rc != rcOk)
		return *count != 0 ? rcOk : rc;
	r.listener = (struct dcm_listener_object *)object;
	r.held = true;
	if (*count == 0) {
		rc = receive_first(&r, timeout_ns);
		*count = rc == rcOk;
	}
	if (rc == rcOk)
		*count = receive_more(&r, *count, capacity);
	let_go_of_end(&r);
	dcm_object_drop(&object->object);
	return rc;
}

Retcode DcmReceive(Handle listener, int64_t timeoutNs, DcmRequest *outRequest)
{
	size_t count;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	if (outRequest == NULL)
		return dcm_fail(rcInvalidArgument, "outRequest is null");
	*outRequest = (DcmRequest){ .riid = INVALID_RIID };
	rc = receive(listener, timeoutNs, outRequest, 1, &count);
	errno = saved;
	return rc;
}

Retcode DcmReceiveBatch(Handle listener, int64_t timeoutNs, DcmRequest *requests, size_t capacity,
			size_t *outCount)
{
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	if (outCount != NULL)
		*outCount = 0;
	if (capacity == 0 || requests == NULL || outCount == NULL)
		return dcm_fail(rcInvalidArgument, "%s",
				capacity == 0	   ? "capacity is 0"
				: requests == NULL ? "requests is null"
						   : "outCount is null");
	rc = receive(listener, timeoutNs, requests, capacity, outCount);
	errno = saved;
	return rc;
}
