/* SPDX-License-Identifier: BSD-2-Clause */
/* accept - the channel of an accepted connection, from its making to its end, on the server's side */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "api/full.h"
#include "api/guard.h"
#include "api/keeper.h"
#include "api/retcode.h"
#include "api/server.h"
#include "api/spare.h"
#include "api/transfer.h"
#include "shm/listener.h"
#include "shm/process.h"
#include "shm/reap.h"
#include "shm/rendezvous.h"

/*
 * Of this process: the number of the server's end at each connection slot, which the keeper finds
 * what is marked by. Numbers are never given out twice, so one that is left over leads nowhere.
 */
static dcm_atomic64 ends[DCM_CONNECTIONS_MAX];

static void release_server_end(struct dcm_object *object);
static void forget_server_end(struct dcm_object *object);

static const struct dcm_object_type server_end_type = {
	.kind = DCM_KIND_CHANNEL,
	.space = DCM_SPACE_CHANNEL,
	.release = release_server_end,
	.reclaim = dcm_end_reclaim,
	.forget = forget_server_end,
	.pins = dcm_end_pins,
};

static void release_server_end(struct dcm_object *object)
{
	struct dcm_server_end *server = (struct dcm_server_end *)object;

	dcm_server_end_handed_over(server);
	dcm_badge_drop(server->badge);
	dcm_object_drop(&server->listener->kernel.object);
	dcm_end_release(object);
}

static void forget_server_end(struct dcm_object *object)
{
	struct dcm_server_end *server = (struct dcm_server_end *)object;

	if (dcm_server_end_offers(server))
		dcm_spare_close(server->fd, server->device, server->inode);
	dcm_end_forget(object);
}

/* A listener becomes known to the fabric with the first request that is accepted for it. */
static Retcode bind_listener(struct dcm_listener_object *listener, struct dcm_fabric *fabric)
{
	const struct dcm_segment *seg = &fabric->seg;

	if (dcm_load(&listener->bound, acquire) != 0)
		return listener->fabric == fabric
			       ? rcOk
			       : dcm_fail(rcInvalidOperation, "the listener serves a fabric that "
							      "was left: make another");
	listener->ends = calloc(seg->connection.count, sizeof *listener->ends);
	if (listener->ends == NULL)
		return dcm_fail(rcOutOfMemory, "no memory for the listener's channels");
	if (!dcm_listener_open(seg, fabric->self.index, &listener->ref)) {
		dcm_reap_scan(seg, fabric->self.index, true);
		if (!dcm_listener_open(seg, fabric->self.index, &listener->ref)) {
			free(listener->ends);
			listener->ends = NULL;
			return dcm_fail_full(seg, &seg->listener, "listeners", "DCM_MAX_LISTENERS");
		}
	}
	dcm_fabric_hold(fabric);
	listener->fabric = fabric;
	/* release: a receiver that sees it sees the rest. */
	dcm_store(&listener->bound, 1u, release);
	dcm_park_wake_word(&listener->bound);
	return rcOk;
}

static struct dcm_server_end *end_object(struct dcm_identity *callable, struct dcm_badge *badge)
{
	struct dcm_server_end *server =
		(struct dcm_server_end *)dcm_object_new(&server_end_type, sizeof *server);

	if (server == NULL)
		return NULL;
	server->node.object = &server->end.object;
	server->node.revoke = dcm_server_end_revoke;
	server->badge = badge;
	if (badge != NULL)
		dcm_object_hold(&badge->kernel.object);
	server->listener = (struct dcm_listener_object *)callable->listener;
	dcm_object_hold(callable->listener);
	server->context = callable->context;
	server->riid = callable->riid;
	return server;
}

/* Of memory that the end takes over. */
static Retcode memory_for(struct dcm_fabric *fabric, struct dcm_memory *out)
{
	uint64_t bytes = fabric->settings.channel_bytes;
	int r = dcm_spare_take(bytes, out);

	if (r == -EFBIG)
		return dcm_fail(rcQuotaExceeded,
				"a channel is a file of %llu bytes, more than this process may "
				"write; raise the limit (ulimit -f) or lower DCM_MAX_CHANNEL_BYTES",
				(unsigned long long)bytes);
	return r == 0 ? rcOk
		      : dcm_fail_errno(r, "cannot make a channel of %llu bytes",
				       (unsigned long long)bytes);
}

static Retcode end_new(struct dcm_fabric *fabric, struct dcm_identity *callable,
		       struct dcm_badge *badge, struct dcm_ref connection, struct dcm_ref client,
		       struct dcm_server_end **out, uint64_t *nonce)
{
	struct dcm_server_end *server = end_object(callable, badge);
	struct dcm_memory memory;
	Retcode rc;
	int r;

	if (server == NULL)
		return dcm_fail(rcOutOfMemory, "no memory for a channel");
	server->end.connection = connection;
	server->end.peer = client;
	server->fd = -1;
	rc = memory_for(fabric, &memory);
	if (rc == rcOk) {
		server->fd = memory.fd;
		server->device = memory.device;
		server->inode = memory.inode;
		dcm_keeper_blocked(1);
		r = dcm_end_init(&server->end, fabric, memory.base, memory.bytes, memory.nonce,
				 false);
		if (r < 0)
			rc = dcm_fail_errno(r, "cannot make a channel of %llu bytes",
					    (unsigned long long)memory.bytes);
	}
	if (rc != rcOk) {
		dcm_object_drop(&server->end.object);
		return rc;
	}
	server->end.channel.seg = &fabric->seg;
	server->end.channel.client = client.index;
	*nonce = memory.nonce;
	*out = server;
	return rcOk;
}

static struct dcm_offer offer_of(struct dcm_server_end *server, uint64_t nonce)
{
	return (struct dcm_offer){ .listener = server->listener->ref.index,
				   .fd = (uint32_t)server->fd,
				   .bytes = server->end.channel.bytes,
				   .nonce = nonce,
				   .device = server->device,
				   .inode = server->inode };
}

/*
 * To the socket that the client listens on, if it does and this one was not answered yet.
 * Return: 0; 1 nothing to do; negative errno. *@answer is then what to tell the client.
 */
static int send_if_asked(struct dcm_server_end *server, int fd, uint64_t nonce, uint32_t *answer)
{
	const struct dcm_fabric *fabric = server->end.fabric;
	struct dcm_connection *c = dcm_connection_at(&fabric->seg, server->end.connection.index);
	uint64_t name = dcm_load(&c->socket, acquire);
	int r;

	if (name == 0 || dcm_transfer_answered(*answer, nonce, name) <= 0)
		return 1;
	r = dcm_transfer_send(&fabric->seg, fabric->self.index, server->end.peer, name, fd, nonce,
			      &server->client);
	*answer = dcm_transfer_answer(nonce, name, r);
	return r;
}

/* From here on receivers are handed nothing of it; true: to the first who says so. */
static bool cut(struct dcm_server_end *server)
{
	bool first;

	dcm_lock_enter(&server->end.lock);
	first = !server->cut;
	server->cut = true;
	dcm_lock_leave(&server->end.lock);
	return first;
}

void dcm_server_end_hang_up(struct dcm_server_end *server, enum dcm_server_says why)
{
	struct dcm_end *end = &server->end;

	if (cut(server)) {
		dcm_channel_hang_up(&end->channel, why);
		dcm_rendezvous_server_leaves(&end->fabric->seg, end->fabric->self.index,
					     end->connection);
		dcm_end_over(end);
	}
	dcm_tree_leave(&server->node);
}

/* The same, and the listener has it no more. */
static void end_channel(struct dcm_server_end *server, enum dcm_server_says why)
{
	uint64_t own = server->end.object.number;

	dcm_cas(&server->listener->ends[server->end.connection.index], &own, 0ull);
	dcm_server_end_hang_up(server, why);
}

void dcm_server_end_revoke(struct dcm_object *object)
{
	end_channel((struct dcm_server_end *)object, DCM_SERVER_REVOKED);
}

/* Until then the keeper looks around once a second. */
void dcm_server_end_handed_over(struct dcm_server_end *server)
{
	int fd = -1, saved = errno;

	/* Asked for at each look of the keeper's, and once there is something to do. */
	if (dcm_server_end_offers(server))
		fd = atomic_exchange(&server->fd, -1);
	if (fd < 0)
		return;
	/* No point of cancellation: there may be a message in hand. */
	dcm_spare_close(fd, server->device, server->inode);
	errno = saved;
	dcm_keeper_blocked(-1);
}

/* What a client sent before it closed is still handed out, as much as can be posted: so many looks
   of receivers, however long they take to come. One more is left when they are used up. */
enum { DRAIN_LOOKS = DCM_CHANNEL_CALLS + 1 };

/* Is something posted? What is not, was handed out: receivers take under the lock. */
static bool has_more(struct dcm_server_end *server)
{
	bool more;

	dcm_lock_enter(&server->end.lock);
	more = dcm_channel_more(&server->end.channel);
	dcm_lock_leave(&server->end.lock);
	return more;
}

/* The client has left. Return: true when nothing that it sent waits to be received. */
static bool drain(struct dcm_server_end *server)
{
	struct dcm_end *end = &server->end;
	uint32_t looks = dcm_load(&server->draining, acquire);

	/* Of one that died, nothing: there may be nobody to receive it, and its memory goes. */
	if (looks == 1 || dcm_load(&end->channel.shared->client_gone, acquire) == 0)
		return true;
	/* Before the look: who takes the last one behind it kicks the keeper (drained()). */
	if (looks == 0)
		dcm_store(&server->draining, (uint32_t)DRAIN_LOOKS, seq);
	if (!has_more(server))
		return true;
	dcm_listener_signal(&end->fabric->seg, server->listener->ref.index, end->connection.index);
	return false;
}

/*
 * The kernel refused the client the descriptor, and it asked for the socket since; or for another
 * socket, the first having been full of strangers. It is told what came of it, once: it may have
 * to make another before a further try can do better.
 */
static void send_late(struct dcm_server_end *server)
{
	struct dcm_end *end = &server->end;
	struct dcm_connection *c = dcm_connection_at(&end->fabric->seg, end->connection.index);
	uint32_t answer = dcm_load(&c->sent, acquire);
	/* Nobody closes it meanwhile, though its client may call before it has asked: what has its number
	   next is nothing to be sent. */
	int fd = atomic_exchange(&server->fd, -1), sent;

	if (fd < 0)
		return;
	sent = send_if_asked(server, fd, end->channel.shared->nonce, &answer);
	atomic_store(&server->fd, fd);
	if (sent == 1)
		return;
	/* If the slot is another's by now, the answer says nothing to that one. */
	dcm_store(&c->sent, answer, release);
	dcm_rendezvous_tell_client(&end->fabric->seg, end->connection.index);
}

/* It left no word that it has closed its session: nothing of what it sent is waited for. */
static bool client_died(const struct dcm_end *end)
{
	return dcm_load(&end->channel.shared->client_gone, acquire) == 0 &&
	       !dcm_process_there(&end->fabric->seg, end->peer);
}

void dcm_server_end_tend(struct dcm_server_end *server)
{
	struct dcm_end *end = &server->end;
	uint32_t state = dcm_rendezvous_look(&end->fabric->seg, end->connection).state;

	/* Of a lost segment it says nothing: the channel goes on until its listener is closed. */
	if (dcm_guard_lost())
		return;
	/* By what its beacon says: the kernel may take long to free the memory of one that died. */
	if (client_died(end)) {
		end_channel(server, DCM_SERVER_GONE);
		return;
	}
	switch (state) {
	case DCM_CONNECTION_ACCEPTED:
		send_late(server);
		break;
	case DCM_CONNECTION_OPEN:
		dcm_server_end_handed_over(server);
		break;
	case DCM_CONNECTION_ENDED:
		DCM_LINE(drained_before_ended)
		if (!drain(server))
			break;
		end_channel(server, DCM_SERVER_GONE);
		break;
	default:
		break;
	}
}

static void tend(struct dcm_object *object, void *arg)
{
	struct dcm_server_end *server = (struct dcm_server_end *)object;
	const bool *second = arg;

	/* Not a client's end, nor one whose accept is not through. */
	if (object->type != &server_end_type)
		return;
	if (dcm_load(&server->offered, seq) == 0) {
		/* Then a second look: between the two the accepting thread cannot miss it. */
		dcm_store(&server->passed_over, 1u, seq);
		if (dcm_load(&server->offered, seq) == 0)
			return;
	}
	dcm_server_end_tend(server);
	if (*second)
		dcm_server_each_second(server);
}

/* The keeper's part: hand-overs to finish, channels to end whose client has left. */
static uint32_t tend_all(bool second)
{
	if (second)
		dcm_spare_tend();
	dcm_handle_each(1u << DCM_KIND_CHANNEL, tend, &second);
	return 0;
}

/* The same of those alone that are marked: what a client's coming and going costs. */
static void tend_marked(const struct dcm_segment *seg, uint32_t self)
{
	uint32_t cursor = 0, index;
	bool second = false;

	while (dcm_rendezvous_marked(seg, self, &cursor, &index)) {
		struct dcm_object *object =
			dcm_handle_find(dcm_load(&ends[index], acquire), 1u << DCM_KIND_CHANNEL);

		if (object == NULL)
			continue;
		tend(object, &second);
		dcm_object_drop(object);
	}
}

/* What of a hand-over the server must hear of, and the client need not: it goes no further. */
static Retcode must_not_offer(const struct dcm_server_end *server, int sent)
{
	const struct dcm_segment *seg = &server->end.fabric->seg;

	if (sent == DCM_TRANSFER_STRANGER && !dcm_process_there(seg, server->end.peer))
		return dcm_fail(rcNotConnected, "the client is gone");
	if (sent == DCM_TRANSFER_STRANGER)
		return dcm_fail(
			rcSecurityDisallow,
			"the socket for the channel is not the client's, or not that of the "
			"client that DcmGetPeer told of");
	if (sent == 1 && seg->shared)
		return dcm_fail(rcSecurityDisallow,
				"several users share the fabric, and the client has no socket that "
				"would tell who it is");
	return rcOk;
}

/* Under the listener's lock: it is not closed between here and the entry in its list. */
static Retcode offer_channel(struct dcm_server_end *server, uint64_t nonce)
{
	const struct dcm_fabric *fabric = server->end.fabric;
	struct dcm_ref connection = server->end.connection;
	struct dcm_offer offer = offer_of(server, nonce);
	dcm_atomic64 *entry = &server->listener->ends[connection.index];
	Retcode rc = must_not_offer(server, send_if_asked(server, server->fd, nonce, &offer.sent));

	if (rc != rcOk)
		return rc;
	/* Listed before it is offered: its first call finds it. */
	dcm_store(entry, server->end.object.number, seq);
	/* seq: whoever is behind the key of a sleep that its client's first call would end sees it. */
	if (dcm_load(&server->listener->reach, relaxed) <= connection.index)
		dcm_store(&server->listener->reach, connection.index + 1, seq);
	dcm_store(&ends[connection.index], server->end.object.number, seq);
	if (dcm_rendezvous_accept(&fabric->seg, fabric->self.index, connection, &offer))
		return rcOk;
	dcm_store(entry, 0ull, seq);
	return dcm_fail(rcNotConnected, "the client has withdrawn its request");
}

/* Under the listener's lock, as a descendant of the callable handle from before it is offered on. */
static Retcode give(struct dcm_fabric *fabric, struct dcm_identity *callable,
		    struct dcm_server_end *server, uint64_t nonce)
{
	Retcode rc = server->listener->closed
			     ? dcm_fail(rcNotConnected, "the listener of the session is closed")
			     : bind_listener(server->listener, fabric);
	int r;

	if (rc != rcOk)
		return rc;
	r = dcm_tree_enter(&server->node, &callable->kernel.node, dcm_badge_tally(server->badge));
	if (r == -ENOENT)
		return dcm_fail(rcInvalidArgument, "sessionHandle was closed or revoked meanwhile");
	if (r < 0)
		return dcm_fail(rcOutOfMemory, "no memory for a channel");
	return offer_channel(server, nonce);
}

/* So many channels ago one was offered that is looked at again. */
enum { LOOK_BACK = 4 };

/*
 * That its client has the memory nobody is told: its first call says it, or the keeper finds it so. Who
 * accepts many that do not call yet has no more descriptors for it.
 */
static void look_back(struct dcm_server_end *server)
{
	static dcm_atomic64 last[LOOK_BACK]; /* numbers: one that is left over leads nowhere */
	static dcm_atomic32 count;
	uint32_t at = dcm_add(&count, 1u) % LOOK_BACK;
	struct dcm_object *object = dcm_handle_find(dcm_swap(&last[at], server->end.object.number),
						    1u << DCM_KIND_CHANNEL);
	struct dcm_server_end *before = (struct dcm_server_end *)object;

	if (object == NULL)
		return;
	if (object->type == &server_end_type &&
	    dcm_rendezvous_look(&before->end.fabric->seg, before->end.connection).state ==
		    DCM_CONNECTION_OPEN)
		dcm_server_end_handed_over(before);
	dcm_object_drop(object);
}

Retcode dcm_server_accept(struct dcm_fabric *fabric, struct dcm_identity *callable,
			  struct dcm_badge *badge, struct dcm_ref connection, struct dcm_ref client,
			  struct dcm_credentials *who)
{
	struct dcm_listener_object *listener = (struct dcm_listener_object *)callable->listener;
	struct dcm_server_end *server = NULL;
	uint64_t nonce;
	Retcode rc;

	/* Before the client can mark anything: what a whole round of the keeper takes up, the marks do
	   not say again. And before it is said that memory is wanted. */
	dcm_keeper_on_marks(tend_marked);
	dcm_keeper_chore(tend_all);
	rc = end_new(fabric, callable, badge, connection, client, &server, &nonce);
	if (rc != rcOk)
		return rc;
	server->client = *who;
	pthread_mutex_lock(&listener->lock);
	rc = give(fabric, callable, server, nonce);
	pthread_mutex_unlock(&listener->lock);
	/* The first: it has a bell now. */
	dcm_source_check(&listener->source);
	*who = server->client;
	if (rc == rcOk) {
		dcm_store(&listener->expects, 1u, relaxed);
		dcm_store(&server->offered, 1u, seq);
		dcm_channel_settle(&server->end.channel);
		look_back(server);
		if (badge != NULL)
			dcm_tree_confirm(&server->node, &badge->tally);
		/* What the client did since, the keeper may have passed over. */
		if (dcm_load(&server->passed_over, seq) != 0)
			dcm_rendezvous_tell_server(&fabric->seg, connection.index,
						   fabric->self.index);
	} else {
		dcm_tree_leave(&server->node);
		dcm_end_over(&server->end);
	}
	dcm_object_drop(&server->end.object);
	return rc;
}
