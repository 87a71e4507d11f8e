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
	bool waits;		    /* or the first look is the only one */
	uint32_t looks;		    /* so far */
	uint32_t hot;		    /* whose end this is; 0: none */
	struct dcm_server_end *end; /* held, from look to look */
};

/* What came of one look at a channel. */
struct found {
	bool received;
	bool more; /* (probably) another posted call */
};

/* Under the lock. @by_bit: with the ready bit clear, which it stays if this finds nothing. */
static int take(struct dcm_server_end *server, bool by_bit, struct dcm_call *call,
		struct dcm_parcel *parcel)
{
	struct dcm_channel *ch = &server->end.channel;
	int result = dcm_channel_take(ch, call, parcel);

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

/* One call from one channel, if there is one and it is not an impossible one. @by_bit: its bit was
   taken for that, so it must be known whether there is more. */
static struct found receive_from(struct receiving *r, struct dcm_server_end *server, bool by_bit)
{
	struct dcm_channel *ch = &server->end.channel;
	struct found found = { .received = false };
	struct dcm_parcel parcel;
	struct dcm_call call;

	/* In one step for the keeper: when it finds nothing posted, what was posted is out. */
	dcm_lock_enter(&server->end.lock);
	if (DCM_ORDER(cut_ends_receiving, !server->cut, true)) {
		int result = take(server, by_bit, &call, &parcel);

		count_drained(server);
		found.received = result == DCM_CHANNEL_TAKEN &&
				 hand_out(server, call, parcel.flags);
		/* Of a stream that cannot be said yet. */
		found.more = by_bit && result != DCM_CHANNEL_EMPTY &&
			     (ch->streaming || dcm_channel_more(ch));
	}
	dcm_lock_leave(&server->end.lock);
	if (!found.received)
		return found;
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

/* The end at a connection slot, held; null: none, now. */
static struct dcm_server_end *end_at(struct dcm_listener_object *listener, uint32_t connection)
{
	uint64_t number = dcm_load(&listener->ends[connection], acquire);

	return (struct dcm_server_end *)dcm_handle_find(number, 1u << DCM_KIND_CHANNEL);
}

#ifdef DCM_HOOKS
enum { HOT_AT_ONCE = 1, OTHERS_EACH_LOOKS = 1, HOT_MOST = 2 };
#else
enum { HOT_AT_ONCE = 0, OTHERS_EACH_LOOKS = 32, HOT_MOST = 16 };
#endif

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
	dcm_store(&listener->hot, connection + 1, relaxed);
	dcm_listener_mark(&listener->fabric->seg, listener->ref, connection);
}

static void let_go_of_end(struct receiving *r)
{
	if (r->end != NULL)
		dcm_object_drop(&r->end->end.object);
	r->end = NULL;
	r->hot = 0;
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
	found = receive_from(r, server, true);
	if (!found.more)
		drained(server);
	else
		/* We took the ready bit for one call; for what is left another thread may come. */
		DCM_LINE(rest_is_signalled)
		dcm_listener_signal(&listener->fabric->seg, listener->ref.index, connection);
	dcm_object_drop(&server->end.object);
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

/* One look at the hot channel, by itself. False, too, when it is hot no more. */
static bool try_hot(struct receiving *r, uint32_t hot)
{
	struct dcm_listener_object *listener = r->listener;

	if (r->hot != hot) {
		let_go_of_end(r);
		r->end = end_at(listener, hot - 1);
		r->hot = hot;
	}
	/* What its client leaves behind is looked for by the bit, and the keeper told. */
	if (r->end == NULL || dcm_load(&r->end->draining, relaxed) != 0 ||
	    dcm_load(&listener->ends[hot - 1], relaxed) != r->end->end.object.number) {
		cool(r);
		return false;
	}
	if (!dcm_channel_more(&r->end->end.channel) || !receive_from(r, r->end, false).received)
		return false;
	/* Its client may have left since, and the keeper have seen what is received now. */
	drained(r->end);
	dcm_store(&listener->hot_in_a_row, dcm_load(&listener->hot_in_a_row, relaxed) + 1, relaxed);
	return true;
}

/* While one channel is hot: it, and the others now and then. */
static bool try_with_hot(struct receiving *r, uint32_t hot)
{
	struct dcm_listener_object *listener = r->listener;
	bool others = !r->waits || ++r->looks % OTHERS_EACH_LOOKS == 0;

	if (dcm_load(&listener->hot_in_a_row, relaxed) >= HOT_MOST) {
		if (try_ready(r, hot - 1)) {
			cool(r);
			return true;
		}
		dcm_store(&listener->hot_in_a_row, 0u, relaxed);
	}
	if (try_hot(r, hot))
		return true;
	/* It may have been let go of. */
	return others && try_ready(r, r->hot == hot ? hot - 1 : DCM_LISTENER_SKIPS_NONE);
}

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
	/* Before a sleep, or where somebody is told by bits: all of them, also that of the hot one. */
	if (hot != 0 && on == NULL && !dcm_source_lit(&listener->source)) {
		found = try_with_hot(r, hot);
	} else {
		cool(r);
		found = try_ready(r, DCM_ORDER(sleeper_skips_none, DCM_LISTENER_SKIPS_NONE,
					       hot - 1));
	}
	return found ? rcOk : DCM_LOOK_AGAIN;
}

/* What is there at once, behind what was waited for. */
static size_t receive_more(struct receiving *r, size_t capacity)
{
	size_t count = 1;

	for (; count < capacity; count++) {
		++r->request;
		if (look(r, NULL) != rcOk)
			break;
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

static Retcode receive(Handle handle, int64_t timeout_ns, DcmRequest *requests, size_t capacity,
		       size_t *count)
{
	struct receiving r = { .request = requests, .waits = timeout_ns != 0 };
	struct dcm_kernel_object *object;
	uint32_t pulses;
	Retcode rc = dcm_kernel_find(handle, KIND_LISTENER, 0, &object);

	if (rc != rcOk)
		return rc;
	r.listener = (struct dcm_listener_object *)object;
	pulses = dcm_source_pulses(&r.listener->source);
	rc = dcm_wait_for(&r.listener->blocker, timeout_ns, true, look, &r);
	if (rc == rcOk)
		*count = receive_more(&r, capacity);
	else
		rc = say_why(&r, rc, pulses);
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
