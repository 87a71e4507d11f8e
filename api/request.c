/* SPDX-License-Identifier: BSD-2-Clause */
/* request - taking clients' requests from a publication, accepting and refusing them */
#include <coresrv/handle/handle_api.h>
#include <dcm/dcm_api.h>
#include <dcm/groups/pub.h>
#include <errno.h>
#include <string.h>

#include "api/fork.h"
#include "api/identity.h"
#include "api/publish.h"
#include "api/retcode.h"
#include "api/server.h"
#include "api/spare.h"
#include "shm/process.h"
#include "shm/publication.h"

static void refuse(struct dcm_request *r)
{
	uint32_t undecided = DCM_REQUEST_UNDECIDED;

	if (dcm_cas(&r->decided, &undecided, DCM_REQUEST_REFUSED))
		dcm_rendezvous_server_leaves(&r->fabric->seg, r->fabric->self.index, r->connection);
}

/* Unless it was accepted, to close a request is to refuse it. */
static void close_request(struct dcm_object *object)
{
	struct dcm_request *r = (struct dcm_request *)object;

	dcm_store(&r->closed, 1u, seq);
	refuse(r);
}

static void release_request(struct dcm_object *object)
{
	struct dcm_request *r = (struct dcm_request *)object;

	pthread_mutex_destroy(&r->lock);
	dcm_fabric_drop(r->fabric);
}

static const struct dcm_object_type request_type = {
	.kind = DCM_KIND_REQUEST,
	.space = DCM_SPACE_DCM,
	.close = close_request,
	.release = release_request,
};

struct listening {
	struct dcm_publication *publication;
	size_t which; /* of its endpoints: it was for */
	struct dcm_ref connection;
	struct dcm_request_view view;
};

static Retcode look_for_request(void *arg, struct dcm_wait_on *on)
{
	struct listening *l = arg;
	struct dcm_publication *p = l->publication;
	const struct dcm_segment *seg = &p->fabric->seg;

	dcm_wait_on_count(on, &dcm_endpoint_at(seg, p->endpoints[0].index)->ec);
	/* Closed: what waits was refused with it, and the slot may be another's. */
	if (dcm_load(&p->blocker.closed, seq) != 0)
		return rcNotConnected;
	return dcm_rendezvous_take_any(seg, p->fabric->self.index, p->endpoints, p->count,
				       &l->which, &l->connection, &l->view)
		       ? rcOk
		       : DCM_LOOK_AGAIN;
}

/* The handles that the caller gets; on failure the request is refused. */
static Retcode hand_out(struct listening *l, Handle *outClient, DcmHandle *outConnectionId)
{
	struct dcm_fabric *fabric = l->publication->fabric;
	struct dcm_request *r = (struct dcm_request *)dcm_object_new(&request_type, sizeof *r);
	Retcode rc = rcOk;

	if (r == NULL) {
		dcm_rendezvous_server_leaves(&fabric->seg, fabric->self.index, l->connection);
		return dcm_fail(rcOutOfMemory, "no memory for a request");
	}
	dcm_fabric_hold(fabric);
	r->fabric = fabric;
	r->connection = l->connection;
	r->client = l->view.client;
	pthread_mutex_init(&r->lock, NULL);
	dcm_peer_ask(&fabric->seg, r->client, &r->peer);
	memcpy(r->peer.name, l->view.client_name, sizeof r->peer.name);
	if (outClient != NULL)
		rc = dcm_identity_new(l->view.client_sid, l->view.client, l->view.gift, outClient);
	if (rc == rcOk) {
		rc = dcm_number(&r->object);
		if (rc != rcOk && outClient != NULL)
			KnHandleClose(*outClient);
	}
	if (rc == rcOk)
		*outConnectionId = r->object.number;
	else
		close_request(&r->object);
	dcm_object_drop(&r->object);
	return rc;
}

/* As hand_out(), unless the last DcmFini came between the request and its handle. */
static Retcode hand_out_if_attached(struct listening *l, Handle *outClient,
				    DcmHandle *outConnectionId)
{
	struct dcm_fabric *fabric = l->publication->fabric, *entered;
	Retcode rc = dcm_fabric_enter(&entered);

	if (entered == fabric)
		rc = hand_out(l, outClient, outConnectionId);
	else
		dcm_rendezvous_server_leaves(&fabric->seg, fabric->self.index, l->connection);
	if (entered != NULL)
		dcm_fabric_leave();
	if (rc == rcOk && entered != fabric)
		rc = dcm_fail(rcNotConnected, "the publication was closed");
	return rc;
}

/*
 * Who finds none has nothing better to do than to make ready for the next. A request that comes
 * meanwhile waits for what it would have waited for in DcmAccept.
 */
static Retcode wait_for_request(struct listening *l, int64_t timeout_ns)
{
	struct dcm_publication *p = l->publication;
	Retcode rc = dcm_wait_for(&p->blocker, 0, false, look_for_request, l);

	if (rc != rcTimeout)
		return rc;
	dcm_spare_prepare(p->fabric->settings.channel_bytes);
	return timeout_ns == 0 ? rc
			       : dcm_wait_for(&p->blocker, timeout_ns, false, look_for_request, l);
}

static Retcode listen_on(struct dcm_publication *p, DcmTimeout timeout, Handle *outClientHandle,
			 char *outClientName, void **outContext, DcmHandle *outConnectionId)
{
	struct listening l = { .publication = p };
	uint32_t pulses = dcm_source_pulses(&p->source);
	Retcode rc = wait_for_request(&l, dcm_wait_ns(timeout));

	if (rc == rcTimeout) {
		dcm_source_drained(&p->source, pulses);
		return dcm_fail(rc, "no request came in time");
	}
	if (rc == rcIpcInterrupt)
		return dcm_fail(rc, "interrupted by DcmInterruptBlockingCall");
	if (rc == rcNotConnected)
		return dcm_fail(rc, "the publication was closed");
	if (rc != rcOk)
		return rc;
	rc = hand_out_if_attached(&l, outClientHandle, outConnectionId);
	if (rc == rcOk && outClientName != NULL)
		memcpy(outClientName, l.view.client_name, DCM_NAME_SIZE);
	if (rc == rcOk && outContext != NULL)
		*outContext = p->published[l.which].context;
	return rc;
}

/* On a publication of that kind, and of no other. */
static Retcode listen_checked(enum dcm_kind kind, DcmHandle handle, DcmTimeout timeout,
			      Handle *outClientHandle, char *outClientName, void **outContext,
			      DcmHandle *outConnectionId)
{
	struct dcm_object *object;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	rc = dcm_fabric_check();
	if (rc != rcOk)
		return rc;
	if (outConnectionId == NULL)
		return dcm_fail(rcInvalidArgument, "outConnectionId is null");
	object = dcm_handle_find(handle, 1u << kind);
	if (object == NULL)
		return dcm_fail(
			rcInvalidArgument,
			kind == DCM_KIND_PUBLICATION
				? "not an open publication of this process (a group's is for "
				  "DcmListenGroupPub)"
				: "not an open group of this process (one endpoint's "
				  "publication is for DcmListen)");
	rc = listen_on((struct dcm_publication *)object, timeout, outClientHandle, outClientName,
		       outContext, outConnectionId);
	dcm_object_drop(object);
	errno = saved;
	return rc;
}

Retcode DcmListen(DcmHandle pubHandle, DcmTimeout timeout, Handle *outClientHandle,
		  char *outClientName, DcmHandle *outConnectionId)
{
	return listen_checked(DCM_KIND_PUBLICATION, pubHandle, timeout, outClientHandle,
			      outClientName, NULL, outConnectionId);
}

Retcode DcmListenGroupPub(DcmHandle pubHandle, DcmTimeout timeout, Handle *outClientHandle,
			  char *outClientName, void **outContext, DcmHandle *outConnectionId)
{
	return listen_checked(DCM_KIND_GROUP_PUBLICATION, pubHandle, timeout, outClientHandle,
			      outClientName, outContext, outConnectionId);
}

/* The socket that the client listens on; 0: none. */
static uint64_t socket_of(const struct dcm_request *r)
{
	struct dcm_connection *c = dcm_connection_at(&r->fabric->seg, r->connection.index);
	uint64_t word = dcm_load(&c->word, seq), name = dcm_load(&c->socket, acquire);
	bool is_ours = dcm_word_generation(word) == r->connection.generation &&
		       dcm_load(&c->word, seq) == word;

	return is_ours ? name : 0;
}

/*
 * A client that is to get its channel by socket listens from before its request was posted, and the
 * kernel has written down who it is: known before the request is accepted. Once it was told, the
 * channel goes to that one or to none (dcm_server_accept).
 */
Retcode dcm_request_peer(struct dcm_object *object, struct dcm_peer *out)
{
	struct dcm_request *r = (struct dcm_request *)object;
	struct dcm_credentials who = { .verified = false };
	uint64_t name;

	pthread_mutex_lock(&r->lock);
	name = r->peer.who.verified ? 0 : socket_of(r);
	if (name != 0)
		dcm_transfer_probe(&r->fabric->seg, r->fabric->self.index, r->client, name, &who);
	dcm_peer_vouch(&r->peer, &who);
	*out = r->peer;
	pthread_mutex_unlock(&r->lock);
	return rcOk;
}

static Retcode accept_by(struct dcm_request *r, struct dcm_identity *callable,
			 struct dcm_badge *badge)
{
	struct dcm_credentials who;
	Retcode rc;

	/* Held throughout: whom DcmGetPeer tells of meanwhile is who gets the channel. */
	pthread_mutex_lock(&r->lock);
	who = r->peer.who;
	rc = dcm_server_accept(r->fabric, callable, badge, r->connection, r->client, &who);
	if (rc == rcOk)
		dcm_peer_vouch(&r->peer, &who);
	pthread_mutex_unlock(&r->lock);
	return rc;
}

static Retcode accept_with(struct dcm_request *r, struct dcm_identity *callable,
			   struct dcm_badge *badge)
{
	uint32_t decided = DCM_REQUEST_UNDECIDED;
	Retcode rc;

	if (!dcm_process_there(&r->fabric->seg, r->client))
		return dcm_fail(rcNotConnected, "the client is gone");
	if (!dcm_cas(&r->decided, &decided, DCM_REQUEST_ACCEPTED))
		return decided == DCM_REQUEST_REFUSED
			       ? dcm_fail(rcNotConnected, "the request was closed meanwhile")
			       : dcm_fail(rcInvalidOperation, "the request was accepted before");
	rc = accept_by(r, callable, badge);
	if (rc == rcOk)
		return rc;
	/* It can be tried again, with more memory say; or closed, perhaps meanwhile. */
	dcm_store(&r->decided, DCM_REQUEST_UNDECIDED, seq);
	if (dcm_load(&r->closed, seq) != 0)
		refuse(r);
	return rc;
}

static Retcode accept_request(DcmHandle connection, Handle session, Handle badge_handle)
{
	struct dcm_object *request = dcm_handle_find(connection, 1u << DCM_KIND_REQUEST);
	struct dcm_kernel_object *callable = NULL;
	struct dcm_badge *badge = NULL;
	Retcode rc;

	if (request == NULL)
		return dcm_fail(rcInvalidArgument, "connectionId is not an open request that "
						   "DcmListen gave to this process");
	rc = dcm_kernel_find_as(session, 1u << DCM_KIND_CALLABLE,
				OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, "sessionHandle", &callable);
	if (rc == rcOk)
		rc = dcm_badge_find(badge_handle, "badgeHandle", &badge);
	if (rc == rcOk)
		rc = accept_with((struct dcm_request *)request, (struct dcm_identity *)callable,
				 badge);
	dcm_badge_drop(badge);
	if (callable != NULL)
		dcm_object_drop(&callable->object);
	dcm_object_drop(request);
	return rc;
}

Retcode DcmAccept(DcmHandle connectionId, Handle sessionHandle, Handle badgeHandle)
{
	struct dcm_fabric *fabric;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	/* It may bind a listener, which keeps the fabric: DcmInit, after the last DcmFini, sees that
	   before or not at all. */
	rc = dcm_fabric_enter(&fabric);
	if (rc != rcOk)
		return rc;
	rc = accept_request(connectionId, sessionHandle, badgeHandle);
	dcm_fabric_leave();
	errno = saved;
	return rc;
}
