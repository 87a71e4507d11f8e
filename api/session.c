/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/session.h"

#include <coresrv/handle/handle_api.h>
#include <coresrv/handle/notice_api.h>
#include <dcm/fabric.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api/fork.h"
#include "api/guard.h"
#include "api/identity.h"
#include "api/keeper.h"
#include "api/retcode.h"
#include "api/sized.h"
#include "shm/process.h"

static void forget_client_end(struct dcm_object *object)
{
	dcm_source_forked(&((struct dcm_client_end *)object)->source);
	dcm_end_forget(object);
}

static const struct dcm_object_type client_end_type = {
	.kind = DCM_KIND_CHANNEL,
	.space = DCM_SPACE_CHANNEL,
	.release = dcm_end_release,
	.reclaim = dcm_end_reclaim,
	.forget = forget_client_end,
	.pins = dcm_end_pins,
};

bool dcm_session_collect(struct dcm_client_end *client)
{
	bool all;

	dcm_lock_visit(&client->end.lock);
	dcm_books_collect(client, true);
	all = dcm_books_empty(&client->books);
	dcm_lock_leave(&client->end.lock);
	return all;
}

/*
 * A client that goes on collects by itself, and nobody else is to take its lock from it: it is done
 * for one that has let go of something, and of no more for a second.
 */
static void collect_from(struct dcm_object *object, void *arg)
{
	struct dcm_client_end *client = (struct dcm_client_end *)object;
	uint32_t let_go;

	(void)arg;
	if (object->type != &client_end_type)
		return;
	let_go = atomic_load_explicit(&client->books.let_go, memory_order_relaxed);
	if (let_go == client->let_go_seen && let_go != client->let_go_collected &&
	    dcm_session_collect(client))
		client->let_go_collected = let_go;
	client->let_go_seen = let_go;
	dcm_end_look(&client->end, let_go != client->let_go_collected);
}

/* The keeper's part. */
static uint32_t collect_all(bool second)
{
	if (second)
		dcm_handle_each(1u << DCM_KIND_CHANNEL, collect_from, NULL);
	return 0;
}

void dcm_client_end_hang_up(struct dcm_client_end *client)
{
	struct dcm_end *end = &client->end;

	dcm_source_close(&client->source);
	dcm_wait_close(&client->blocker);
	dcm_store(&end->channel.shared->client_gone, 1u, release);
	dcm_rendezvous_client_leaves(&end->fabric->seg, end->fabric->self.index, end->connection);
	dcm_end_over(end);
}

/* Calls that are blocked look at their own handle again; with the last one all is over. */
static void left_session(struct dcm_object *object, bool last)
{
	struct dcm_client_end *client = ((struct dcm_session *)object)->client;

	if (last) {
		dcm_client_end_hang_up(client);
		return;
	}
	dcm_park_poke(&client->blocker.poke);
	/* The descriptor is of all handles of the session: who polls it for this one looks again. */
	dcm_source_fire(&client->source, 0);
}

static void release_session(struct dcm_object *object)
{
	struct dcm_session *session = (struct dcm_session *)object;

	if (session->client != NULL)
		dcm_object_drop(&session->client->end.object);
	dcm_kernel_release(object);
}

static bool pins_session(struct dcm_object *object)
{
	(void)object;
	return true;
}

static struct dcm_source *source_of_session(struct dcm_object *object)
{
	return &((struct dcm_session *)object)->client->source;
}

/* Can a call that was started be finished? */
static bool has_finished(struct dcm_client_end *client)
{
	bool any = false;

	dcm_lock_enter(&client->end.lock);
	for (uint32_t i = 0; i < DCM_CHANNEL_CALLS && !any; i++) {
		const struct dcm_client_book *book = &client->books.call[i];
		struct dcm_call call = { .index = i, .generation = book->generation };
		enum dcm_call_state state;

		if (book->use != DCM_USE_STARTED)
			continue;
		state = dcm_channel_state(&client->end.channel, call, NULL);
		any = state == DCM_CALL_ANSWERED || state == DCM_CALL_FAILED;
	}
	dcm_lock_leave(&client->end.lock);
	return any;
}

static uint32_t look_at_session(struct dcm_object *object, uint64_t *stamp)
{
	struct dcm_client_end *client = (struct dcm_client_end *)object;

	*stamp = 0; /* it ends once */
	if (!dcm_process_there(&client->end.fabric->seg, client->end.peer) ||
	    dcm_channel_hung_up(&client->end.channel))
		return EVENT_OBJECT_DESTROYED | DCM_SOURCE_READY;
	return has_finished(client) ? DCM_SOURCE_READY : 0;
}

static dcm_atomic32 *bell_of_session(struct dcm_object *object)
{
	return &((struct dcm_client_end *)object)->end.channel.shared->bell;
}

static const struct dcm_source_type session_source = {
	.events = EVENT_OBJECT_DESTROYED,
	.readable = DCM_SOURCE_READY,
	.look = look_at_session,
	.bell = bell_of_session,
};

/* Another handle on what @of, or null, is a handle on. */
static struct dcm_session *session_object(struct dcm_client_end *client,
					  const struct dcm_kernel_object *of)
{
	struct dcm_session *session =
		(struct dcm_session *)dcm_kernel_new(&dcm_session_type, sizeof *session, of);

	if (session == NULL)
		return NULL;
	session->client = client;
	session->kernel.given = &client->end.channel;
	dcm_object_hold(&client->end.object);
	return session;
}

static struct dcm_object *copy_session(const struct dcm_object *object)
{
	const struct dcm_session *from = (const struct dcm_session *)object;

	return (struct dcm_object *)session_object(from->client, &from->kernel);
}

const struct dcm_object_type dcm_session_type = {
	.kind = DCM_KIND_SESSION,
	.space = DCM_SPACE_HANDLE,
	.close = dcm_kernel_close,
	.release = release_session,
	.forget = dcm_kernel_forget,
	.pins = pins_session,
	.source = source_of_session,
	.left = left_session,
	.copy = copy_session,
};

static Retcode session_handle(struct dcm_client_end *client, Handle *out)
{
	struct dcm_session *session = session_object(client, NULL);

	if (session == NULL)
		return rcOutOfMemory;
	session->kernel.rights = OCAP_IPC_CALL | OCAP_HANDLE_COPY | OCAP_HANDLE_GET_EVENT;
	session->kernel.sid = dcm_sid_next();
	return dcm_kernel_insert(&session->kernel, NULL, NULL, out);
}

Retcode dcm_session_new(struct dcm_fabric *fabric, struct dcm_ref connection, struct dcm_ref server,
			const struct dcm_offer *offer, int fd, uint32_t transfer,
			const struct dcm_peer *peer, Handle *out)
{
	void *base =
		mmap(NULL, offer->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	struct dcm_client_end *client;
	Retcode rc;
	int r;

	close(fd);
	if (base == MAP_FAILED)
		return dcm_fail(rcOutOfMemory, "cannot map a channel of %llu bytes",
				(unsigned long long)offer->bytes);
	client = (struct dcm_client_end *)dcm_object_new(&client_end_type, sizeof *client);
	if (client == NULL) {
		munmap(base, offer->bytes);
		return dcm_fail(rcOutOfMemory, "no memory for a session");
	}
	dcm_source_init(&client->source, &session_source, &client->end.object);
	client->end.connection = connection;
	client->end.peer = server;
	dcm_books_init(&client->books);
	client->listener = offer->listener;
	client->listens = dcm_listener_sight(&fabric->seg, offer->listener, connection.index);
	client->transfer = transfer;
	client->peer = *peer;
	r = dcm_end_init(&client->end, fabric, base, offer->bytes, offer->nonce, true);
	if (r == -EBADMSG)
		rc = dcm_fail(rcNotConnected, "the server's memory is not the channel it offered");
	else if (r < 0)
		rc = dcm_fail_errno(r, "cannot set up the session");
	else
		rc = session_handle(client, out);
	if (rc == rcOk)
		dcm_keeper_chore(collect_all);
	else if (r >= 0)
		dcm_end_over(&client->end);
	dcm_object_drop(&client->end.object);
	return rc;
}

/* A reply comes back: the call slot is free, and its room the server's again. */
Retcode dcm_client_end_give_back(struct dcm_end *end, const DcmMessage *message)
{
	struct dcm_client_end *client = (struct dcm_client_end *)end;
	struct dcm_call call = { .index = dcm_message_call(message),
				 .generation = dcm_message_generation(message) };
	bool mine = false, gone = false;

	if (call.index < DCM_CHANNEL_CALLS) {
		const struct dcm_client_book *book = &client->books.call[call.index];

		dcm_lock_enter(&end->lock);
		/* Out, so the end is there. */
		mine = book->use == DCM_USE_REPLY && book->generation == call.generation;
		if (mine) {
			dcm_channel_return(&end->channel, call);
			dcm_books_give(&client->books, call.index);
			dcm_park_wake_all(&end->channel.shared->room);
			gone = dcm_end_back(end, 1);
		}
		dcm_lock_leave(&end->lock);
	}
	if (!mine)
		return dcm_fail(rcInvalidArgument, "the reply was released before");
	if (gone)
		dcm_end_gone(end);
	return rcOk;
}

Retcode dcm_session_peer(struct dcm_object *object, struct dcm_peer *out)
{
	*out = ((struct dcm_session *)object)->client->peer;
	return rcOk;
}

/* What both sides have committed: their own halves, and the front that lies before them. */
static uint64_t committed(struct dcm_end *end)
{
	uint64_t half = end->channel.half, own, theirs;

	dcm_lock_enter(&end->lock);
	own = dcm_arena_committed(end->arena);
	dcm_lock_leave(&end->lock);
	theirs = dcm_load(&end->channel.shared->server_committed, relaxed);
	return DCM_CHANNEL_COMMITTED + own + (theirs < half ? theirs : half);
}

Retcode DcmGetSessionInfo(Handle session, DcmSessionInfo *outInfo)
{
	struct dcm_kernel_object *object;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	rc = dcm_sized_check(outInfo, sizeof *outInfo, "DcmSessionInfo");
	if (rc != rcOk)
		return rc;
	rc = dcm_kernel_find(session, 1u << DCM_KIND_SESSION, 0, &object);
	if (rc == rcOk) {
		struct dcm_client_end *client = ((struct dcm_session *)object)->client;
		DcmSessionInfo known = { .transfer = client->transfer,
					 .capacityBytes = client->end.channel.bytes,
					 .committedBytes = committed(&client->end),
					 .largestLoan = client->end.largest };

		dcm_sized_put(outInfo, &known, sizeof known);
		dcm_object_drop(&object->object);
	}
	errno = saved;
	return rc;
}
