/* SPDX-License-Identifier: BSD-2-Clause */
/* connect - the client's side of a connection, from prepared to a session */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/dcm_api.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api/attach.h"
#include "api/connection.h"
#include "api/fork.h"
#include "api/full.h"
#include "api/guard.h"
#include "api/ladder.h"
#include "api/peer.h"
#include "api/retcode.h"
#include "api/session.h"
#include "api/source.h"
#include "api/who.h"
#include "shm/hash.h"
#include "shm/process.h"
#include "shm/reap.h"
#include "shm/rendezvous.h"

/* Behind DCM_KIND_CONNECTION. */
struct dcm_connection_object {
	struct dcm_object object;
	struct dcm_blocker blocker;
	struct dcm_source source;
	struct dcm_fabric *fabric; /* counted */
	char *type, *name;
	uint64_t client_sid;
	struct dcm_giving *giving; /* of the client handle, to be put */
	struct dcm_who server;	   /* sid 0: any */
	/* Under lock: */
	pthread_mutex_t lock;
	bool asked;	    /* @ref is a request of ours */
	bool done;	    /* the session was handed out */
	uint64_t requests;  /* that were ever made */
	Retcode became;	    /* what became of the last one, if it is over */
	bool undecided;	    /* and nobody has decided it */
	struct dcm_ref ref; /* of the connection slot */
	uint64_t decided;   /* cause of the last decision that a call has heard; 0: none since it asked */
	dcm_atomic32 place; /* 1 + index of that slot while it is ours, read without the lock; 0: none */
	struct dcm_ladder ladder;
	struct dcm_peer peer; /* once done: the server */
};

/* Under the lock: the request is over, whatever became of it; the next call asks anew. */
static void leave(struct dcm_connection_object *c)
{
	if (c->asked)
		dcm_rendezvous_client_leaves(&c->fabric->seg, c->fabric->self.index, c->ref);
	c->asked = false;
	dcm_store(&c->place, 0u, relaxed);
	dcm_ladder_end(&c->ladder);
}

static void close_connection(struct dcm_object *object)
{
	struct dcm_connection_object *c = (struct dcm_connection_object *)object;

	dcm_source_close(&c->source);
	dcm_wait_close(&c->blocker);
	pthread_mutex_lock(&c->lock);
	leave(c);
	pthread_mutex_unlock(&c->lock);
}

static void forget_names(struct dcm_connection_object *c)
{
	dcm_ladder_end(&c->ladder);
	free(c->type);
	free(c->name);
}

static void forget_connection(struct dcm_object *object)
{
	struct dcm_connection_object *c = (struct dcm_connection_object *)object;

	dcm_source_forked(&c->source);
	forget_names(c);
}

static void release_connection(struct dcm_object *object)
{
	struct dcm_connection_object *c = (struct dcm_connection_object *)object;

	forget_names(c);
	pthread_mutex_destroy(&c->lock);
	if (c->giving != NULL)
		dcm_giving_put(c->giving);
	if (c->fabric != NULL)
		dcm_fabric_drop(c->fabric);
}

/*
 * The process that a server handle stands for, now: the one it was got from, or, when that has left
 * the fabric and come back, its new place. Generation 0: none, and nothing will ever match.
 */
static struct dcm_ref server_now(struct dcm_connection_object *c)
{
	const struct dcm_segment *seg = &c->fabric->seg;

	if (!c->server.elsewhere)
		return c->fabric->self;
	if (!dcm_process_there(seg, c->server.process)) {
		struct dcm_ref back = dcm_process_of_sid(seg, c->server.sid);

		if (back.generation != 0)
			c->server.process = back;
	}
	return c->server.process;
}

/* Whose death ends the wait: who decides, or the one who alone could come to decide. */
static bool decider_there(struct dcm_connection_object *c, uint32_t server,
			  struct dcm_park_word *guard)
{
	const struct dcm_segment *seg = &c->fabric->seg;
	struct dcm_ref decides = { server, dcm_process_generation(seg, server) };

	if (server == UINT32_MAX && c->server.sid == 0)
		return true;
	return dcm_process_guard(seg, server != UINT32_MAX ? decides : server_now(c),
				 c->fabric->self.index, guard);
}

static struct dcm_source *source_of_connection(struct dcm_object *object)
{
	return &((struct dcm_connection_object *)object)->source;
}

/* Under the lock: which decision, of a request and of the socket that its channel is to come to. */
static uint64_t cause_of(const struct dcm_connection_object *c)
{
	return c->requests << 20 | (c->ladder.socket_name & 0xfffff);
}

/* Under the lock: would a call hear what became of the request? */
static bool is_decided(struct dcm_connection_object *c)
{
	const struct dcm_segment *seg = &c->fabric->seg;
	struct dcm_connection_look look = dcm_rendezvous_look(seg, c->ref);
	struct dcm_offer offer;

	if (look.state == DCM_CONNECTION_POSTED || look.state == DCM_CONNECTION_TAKEN)
		return !decider_there(c, look.server, NULL);
	return look.state != DCM_CONNECTION_ACCEPTED || !decider_there(c, look.server, NULL) ||
	       !dcm_rendezvous_offer(seg, c->ref, &offer) ||
	       dcm_ladder_may_fetch(&c->ladder, &offer);
}

/* That a call has heard of a decision is no reason why those who wait for the event should not. */
static uint32_t look_at_connection(struct dcm_object *object, uint64_t *stamp)
{
	struct dcm_connection_object *c = (struct dcm_connection_object *)object;
	uint32_t events = 0;

	pthread_mutex_lock(&c->lock);
	*stamp = c->asked ? cause_of(c) : c->decided;
	if (c->asked && is_decided(c))
		events = DCM_CLIENT_RELEASED_BY_SERVER | DCM_SOURCE_READY;
	else if (!c->asked && c->decided != 0)
		events = DCM_CLIENT_RELEASED_BY_SERVER;
	pthread_mutex_unlock(&c->lock);
	/* A call says so when the segment is lost. */
	return dcm_guard_lost() ? DCM_CLIENT_RELEASED_BY_SERVER | DCM_SOURCE_READY : events;
}

/* Of the request that there is; after each new one the source is looked at again. */
static dcm_atomic32 *bell_of_connection(struct dcm_object *object)
{
	struct dcm_connection_object *c = (struct dcm_connection_object *)object;
	uint32_t place = dcm_load(&c->place, relaxed);

	return place != 0 ? &dcm_connection_at(&c->fabric->seg, place - 1)->bell : NULL;
}

static const struct dcm_source_type connection_source = {
	.events = DCM_CLIENT_RELEASED_BY_SERVER | DCM_BLOCKING_CALL_INTERRUPTED,
	.readable = DCM_SOURCE_READY,
	.look = look_at_connection,
	.bell = bell_of_connection,
};

static const struct dcm_object_type connection_type = {
	.kind = DCM_KIND_CONNECTION,
	.space = DCM_SPACE_DCM,
	.close = close_connection,
	.release = release_connection,
	.forget = forget_connection,
	.source = source_of_connection,
};

/* Takes the gift over. */
static Retcode create(struct dcm_fabric *fabric, const char *type, const char *name,
		      const struct dcm_who *server, uint64_t client_sid, struct dcm_giving *giving,
		      DcmHandle *out)
{
	struct dcm_connection_object *c =
		(struct dcm_connection_object *)dcm_object_new(&connection_type, sizeof *c);
	Retcode rc;

	if (c == NULL) {
		dcm_giving_put(giving);
		return dcm_fail(rcOutOfMemory, "no memory for a connection");
	}
	c->giving = giving;
	pthread_mutex_init(&c->lock, NULL);
	c->ladder.socket = c->ladder.caller = -1;
	dcm_source_init(&c->source, &connection_source, &c->object);
	c->server = *server;
	c->client_sid = client_sid;
	c->type = strdup(type);
	c->name = strdup(name);
	dcm_fabric_hold(fabric);
	c->fabric = fabric;
	if (c->type == NULL || c->name == NULL)
		rc = dcm_fail(rcOutOfMemory, "no memory for a connection");
	else
		rc = dcm_number(&c->object);
	if (rc == rcOk)
		*out = c->object.number;
	dcm_object_drop(&c->object);
	return rc;
}

/* To @server, or if that is null to the one that @handle stands for, which may be any. */
static Retcode create_checked(struct dcm_fabric *fabric, const char *type, const char *name,
			      const struct dcm_who *server, Handle handle, Handle client_handle,
			      DcmHandle *out)
{
	struct dcm_who found = { .sid = 0 }, client;
	struct dcm_giving *giving;
	Retcode rc;

	if (client_handle == INVALID_HANDLE)
		client_handle = KosTaskGetHandle(KosTaskGetSelf());
	rc = out != NULL ? rcOk : dcm_fail(rcInvalidArgument, "outConnectionId is null");
	if (rc == rcOk)
		rc = dcm_who_name(type, false, "endpointType");
	if (rc == rcOk)
		rc = dcm_who_name(name, false, "endpointName");
	if (rc == rcOk && server == NULL && handle != INVALID_HANDLE)
		rc = dcm_who_is(handle, OCAP_HANDLE_GET_SID, "serverHandle", &found);
	if (rc == rcOk)
		rc = dcm_who_shows(client_handle, "clientHandle", fabric, &client, &giving);
	if (rc == rcOk)
		rc = create(fabric, type, name, server != NULL ? server : &found, client.sid,
			    giving, out);
	return rc;
}

static Retcode connection_new(const char *type, const char *name, const struct dcm_who *server,
			      Handle handle, Handle client_handle, DcmHandle *out)
{
	struct dcm_fabric *fabric;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	rc = dcm_fabric_enter(&fabric);
	if (rc != rcOk)
		return rc;
	rc = create_checked(fabric, type, name, server, handle, client_handle, out);
	dcm_fabric_leave();
	errno = saved;
	return rc;
}

Retcode DcmCreateConnection(const char *endpointType, const char *endpointName, Handle serverHandle,
			    Handle clientHandle, DcmHandle *outConnectionId)
{
	return connection_new(endpointType, endpointName, NULL, serverHandle, clientHandle,
			      outConnectionId);
}

Retcode dcm_connection_create(const char *type, const char *name, const struct dcm_who *server,
			      Handle client, DcmHandle *out)
{
	return connection_new(type, name, server, INVALID_HANDLE, client, out);
}

/* Who has the request, or alone could get it; once connected, the server of the session. */
Retcode dcm_connection_peer(struct dcm_object *object, struct dcm_peer *out)
{
	struct dcm_connection_object *c = (struct dcm_connection_object *)object;
	const struct dcm_segment *seg = &c->fabric->seg;
	struct dcm_connection_look look = { .server = UINT32_MAX };
	struct dcm_ref ref = { 0, 0 };
	bool there = true;

	pthread_mutex_lock(&c->lock);
	if (c->done) {
		*out = c->peer;
	} else {
		if (c->asked)
			look = dcm_rendezvous_look(seg, c->ref);
		if (look.server != UINT32_MAX)
			ref = (struct dcm_ref){ look.server,
						dcm_process_generation(seg, look.server) };
		else if (c->server.sid != 0)
			ref = server_now(c);
		there = dcm_process_there(seg, ref) && dcm_peer_ask(seg, ref, out);
	}
	pthread_mutex_unlock(&c->lock);
	return there ? rcOk
		     : dcm_fail(rcNotConnected, "no server has the request: it was not sent, or "
						"nothing that matches is published");
}

bool dcm_connection_undecided(DcmHandle connection)
{
	struct dcm_object *object = dcm_handle_find(connection, 1u << DCM_KIND_CONNECTION);
	struct dcm_connection_object *c = (struct dcm_connection_object *)object;
	bool undecided;

	if (object == NULL)
		return false;
	pthread_mutex_lock(&c->lock);
	undecided = c->undecided;
	if (c->asked) {
		struct dcm_connection_look look = dcm_rendezvous_look(&c->fabric->seg, c->ref);

		undecided = look.unseen || (look.state == DCM_CONNECTION_POSTED &&
					    look.server == UINT32_MAX);
	}
	pthread_mutex_unlock(&c->lock);
	dcm_object_drop(object);
	return undecided;
}

struct connecting {
	struct dcm_connection_object *connection;
	uint64_t request; /* the one that this call waits for, counted from 1; 0: none yet */
	uint64_t cause; /* of what this call hears, if it hears something */
	bool is_news; /* it has made a request, or heard the end of one */
	bool waits;   /* the call may take time */
	bool is_sent; /* to a server that has yet to decide */
	struct dcm_ahead ahead; /* of the server that is to decide */
	Handle session;
};

/*
 * Of the process: how its connections look for a decision. Longer than for a reply: the server is
 * asleep, is woken, and makes the channel.
 */
static struct dcm_spin patience = { .times_more = 3 };

static Retcode ask(struct dcm_connection_object *c)
{
	const struct dcm_segment *seg = &c->fabric->seg;
	uint32_t self = c->fabric->self.index;
	struct dcm_request_key key = { .type = c->type,
				       .name = c->name,
				       .type_hash = dcm_hash(c->type),
				       .name_hash = dcm_hash(c->name),
				       .client_sid = c->client_sid,
				       .server_sid = c->server.sid,
				       .gift = dcm_giving_name(c->giving),
				       .transfer = c->fabric->settings.transfer };
	int r = dcm_ladder_begin(&c->ladder, c->fabric);

	if (r < 0)
		return dcm_ladder_failed(&c->ladder, r);
	key.socket = c->ladder.socket_name;
	c->asked = dcm_rendezvous_ask(seg, self, &key, &c->ref);
	if (!c->asked) {
		dcm_reap_scan(seg, self, true);
		c->asked = dcm_rendezvous_ask(seg, self, &key, &c->ref);
	}
	c->requests += c->asked;
	if (c->asked) {
		c->decided = 0;
		dcm_store(&c->place, 1 + c->ref.index, relaxed);
		return rcOk;
	}
	dcm_ladder_end(&c->ladder);
	return dcm_fail_full(seg, &seg->connection, "connections", "DCM_MAX_CONNECTIONS");
}

/* Under the lock: accepted. Take the memory, and tell the server that we have it. */
static Retcode take_over(struct connecting *w, uint32_t server_index)
{
	struct dcm_connection_object *c = w->connection;
	const struct dcm_segment *seg = &c->fabric->seg;
	struct dcm_ref server = { server_index, dcm_process_generation(seg, server_index) };
	struct dcm_offer offer;
	Retcode rc;
	int fd;

	if (!dcm_rendezvous_offer(seg, c->ref, &offer))
		return DCM_LOOK_AGAIN;
	fd = dcm_ladder_fetch(&c->ladder, c->fabric, c->ref, server, &offer, &w->ahead);
	if (fd == -EAGAIN)
		return DCM_LOOK_AGAIN;
	if (fd < 0)
		return dcm_ladder_failed(&c->ladder, fd);
	dcm_peer_ask(seg, server, &c->peer);
	dcm_peer_vouch(&c->peer, &c->ladder.who);
	rc = dcm_session_new(c->fabric, c->ref, server, &offer, fd, c->ladder.transfer, &c->peer,
			     &w->session);
	if (rc != rcOk)
		return rc;
	if (!dcm_rendezvous_open(seg, c->fabric->self.index, c->ref, server_index,
				 c->ladder.transfer)) {
		KnHandleClose(w->session);
		w->session = INVALID_HANDLE;
		return dcm_fail(rcNotConnected, "the server closed its listener as it accepted");
	}
	/* The session has the slot now. */
	c->asked = false;
	c->done = true;
	c->decided = w->cause;
	w->is_news = true;
	dcm_store(&c->place, 0u, relaxed);
	dcm_ladder_end(&c->ladder);
	return rcOk;
}

/* As decider_there(), for a call that waits. */
static Retcode guard_wait(struct dcm_connection_object *c, uint32_t server, struct dcm_wait_on *on)
{
	if (decider_there(c, server, on != NULL ? &on->guard.alive[0] : NULL))
		return rcOk;
	return dcm_fail(rcNotConnected, server != UINT32_MAX
						? "the server died before it decided"
						: "the server that serverHandle names is dead");
}

/* Under the lock, of a request that came to nothing: is who should have decided it gone? */
static bool is_undecided(struct dcm_connection_object *c)
{
	const struct dcm_segment *seg = &c->fabric->seg;
	struct dcm_connection_look look = dcm_rendezvous_look(seg, c->ref);

	return look.unseen || (!look.declined && !dcm_process_there(seg, server_now(c)));
}

/* Under the lock: what became of the request. */
static Retcode judge(struct connecting *w, struct dcm_wait_on *on)
{
	struct dcm_connection_object *c = w->connection;
	const struct dcm_segment *seg = &c->fabric->seg;
	struct dcm_connection_look look = dcm_rendezvous_look(seg, c->ref);
	Retcode rc;

	w->cause = cause_of(c);
	if (look.state == DCM_CONNECTION_REFUSED)
		return dcm_fail(rcNotConnected, "the server refused, or its publication was closed");
	if (look.state != DCM_CONNECTION_POSTED && look.state != DCM_CONNECTION_TAKEN &&
	    look.state != DCM_CONNECTION_ACCEPTED)
		return dcm_fail(rcNotConnected, "the request is gone: the server died, or the "
						"segment is damaged");
	rc = guard_wait(c, look.server, on);
	if (rc != rcOk)
		return rc;
	if (look.state == DCM_CONNECTION_ACCEPTED)
		return take_over(w, look.server);
	w->is_sent = look.server != UINT32_MAX;
	if (w->waits && w->is_sent) {
		struct dcm_ref server = { look.server, dcm_process_generation(seg, look.server) };

		dcm_ladder_ahead(&c->ladder, c->fabric, server, &w->ahead);
	}
	return DCM_LOOK_AGAIN;
}

/* Under the lock: have a request to wait for. Another thread's call may have heard the end of ours. */
static Retcode join(struct connecting *w)
{
	struct dcm_connection_object *c = w->connection;
	Retcode rc = rcOk;

	if (w->request != 0 && (!c->asked || w->request != c->requests))
		return dcm_fail(c->became, "the request ended in another thread's DcmConnect");
	if (!c->asked) {
		rc = ask(c);
		w->is_news = true;
	}
	w->request = c->requests;
	return rc;
}

static Retcode look_for_decision(void *arg, struct dcm_wait_on *on)
{
	struct connecting *w = arg;
	struct dcm_connection_object *c = w->connection;
	Retcode rc = rcOk;

	pthread_mutex_lock(&c->lock);
	if (c->done)
		rc = dcm_fail(rcInvalidOperation,
			      "the connection gave its session already: close it");
	else if (dcm_load(&c->blocker.closed, seq) != 0)
		rc = dcm_fail(rcNotConnected, "the connection was closed");
	else
		rc = join(w);
	if (rc == rcOk) {
		dcm_wait_on_count(on, &dcm_connection_at(&c->fabric->seg, c->ref.index)->ec);
		rc = judge(w, on);
		if (rc != rcOk && rc != DCM_LOOK_AGAIN) {
			c->undecided = rc == rcNotConnected && is_undecided(c);
			leave(c);
			c->became = rc;
			c->decided = w->cause;
			w->is_news = true;
			/* Who else sleeps on the request's slot, which is another's from here on. */
			dcm_park_poke(&c->blocker.poke);
		}
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

/* Of what is parked, nobody knows when it will be decided. */
static Retcode wait_for_decision(struct connecting *w, int64_t timeout_ns)
{
	struct dcm_blocker *b = &w->connection->blocker;
	Retcode rc = dcm_wait_for(b, 0, false, look_for_decision, w);

	if (rc == rcTimeout && timeout_ns != 0) {
		w->waits = true;
		rc = dcm_wait_learning(b, timeout_ns, w->is_sent ? &patience : NULL,
				       look_for_decision, w);
	}
	dcm_transfer_behind(&w->ahead);
	return rc;
}

Retcode DcmConnect(DcmHandle connectionId, DcmTimeout timeout, Handle *outSessionHandle)
{
	struct connecting w = { .session = INVALID_HANDLE };
	uint32_t pulses;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	rc = dcm_fabric_check();
	if (rc != rcOk)
		return rc;
	if (outSessionHandle == NULL)
		return dcm_fail(rcInvalidArgument, "outSessionHandle is null");
	*outSessionHandle = INVALID_HANDLE;
	w.connection = (struct dcm_connection_object *)dcm_handle_find(connectionId,
								       1u << DCM_KIND_CONNECTION);
	if (w.connection == NULL)
		return dcm_fail(rcInvalidArgument, "connectionId is not an open connection of this "
						   "process");
	pulses = dcm_source_pulses(&w.connection->source);
	rc = wait_for_decision(&w, dcm_wait_ns(timeout));
	/* One who has heard what became of the request has nothing more to wait for. */
	if (rc == rcTimeout || w.is_news)
		dcm_source_drained(&w.connection->source, pulses);
	if (w.is_news)
		dcm_source_check(&w.connection->source);
	if (rc == rcTimeout)
		dcm_fail(rc, "no server decided in time; the request waits on");
	else if (rc == rcIpcInterrupt)
		dcm_fail(rc, "interrupted by DcmInterruptBlockingCall; the request waits on");
	dcm_object_drop(&w.connection->object);
	*outSessionHandle = w.session;
	errno = saved;
	return rc;
}
