/* SPDX-License-Identifier: BSD-2-Clause */
/* The server of the calls test: receiving threads, and one that answers late. */
#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>
#include <stdlib.h>
#include <string.h>

#include "tests/stress/lib_calls.h"

/* A request that is answered later. */
struct held {
	struct held *next;
	int64_t due_ms;
	DcmRequest request;
};

static struct {
	struct calls_board *board;
	uint64_t seed;
	Handle listener;
	DcmHandle publication;
	pthread_t receivers[RECEIVERS], accepter, late;
	pthread_mutex_t lock;
	struct held *held; /* under lock */
	_Atomic uint32_t stop;
} server = { .lock = PTHREAD_MUTEX_INITIALIZER };

static char context_shared, context_own;

static void hold(const DcmRequest *request, int64_t ms)
{
	struct held *held = malloc(sizeof *held);

	*held = (struct held){ .due_ms = now_ms() + ms, .request = *request };
	atomic_fetch_add(&server.board->delayed, 1);
	pthread_mutex_lock(&server.lock);
	held->next = server.held;
	server.held = held;
	pthread_mutex_unlock(&server.lock);
}

static void reply(DcmRequest *request, DcmMessage *message, uint32_t id)
{
	uint32_t lane = id >> 24;
	Retcode rc;

	message->status = (int32_t)~id;
	rc = DcmReply(request, message);
	if (rc == rcNotConnected)
		atomic_fetch_add(&server.board->in_vain, 1);
	else
		wanted(rcOk, rc, "lane %u, call %u: DcmReply", lane, id & 0xffffff);
}

static void answer(DcmRequest *request)
{
	uint32_t id = (uint32_t)request->message.status;
	struct plan plan = calls_plan(server.seed, id);
	DcmMessage message = { .data = NULL };
	Retcode rc;

	if (id >> 24 == CONTROL_LANE)
		plan.reply = (id & 0xffffff) == CONTROL_LARGEST ? calls_largest() : 0;
	if (id >> 24 == CONTROL_LANE)
		plan.slack = 0;
	rc = DcmLoanReply(request, plan.reply + plan.slack, &message);
	if (rc == rcQuotaExceeded) {
		/* All room is with callers that have not read their replies yet. */
		atomic_fetch_add(&server.board->full, 1);
		hold(request, 1);
		return;
	}
	if (!wanted(rcOk, rc, "lane %u, call %u: DcmLoanReply of %zu", id >> 24, id & 0xffffff,
		    plan.reply + plan.slack)) {
		DcmRelease(&request->message);
		return;
	}
	fill(message.data, plan.reply, calls_content(server.seed, id, true));
	message.size = plan.reply;
	reply(request, &message, id);
}

/* Is the request what its lane was to send, for the first time? */
static void inspect(const DcmRequest *request, uint32_t id, const struct plan *plan)
{
	uint32_t lane = id >> 24, turn = id & 0xffffff;
	bool shared = lane < SHARERS;
	size_t at;

	if (lane >= LANES || turn >= TURNS_MAX) {
		wrong("a request with status %#x came, which nobody sent", id);
		return;
	}
	if (!calls_mark(server.board->received, id))
		wrong("lane %u, call %u was received twice", lane, turn);
	if (request->message.size != plan->request)
		wrong("lane %u, call %u: request of %zu bytes, wanted %zu", lane, turn,
		      request->message.size, plan->request);
	at = differs(request->message.data, plan->request, calls_content(server.seed, id, false));
	if (at != SIZE_MAX)
		wrong("lane %u, call %u: request of %zu bytes differs at %zu", lane, turn,
		      plan->request, at);
	if (request->riid != (shared ? RIID_SHARED : RIID_OWN) ||
	    request->context != (shared ? &context_shared : &context_own) ||
	    request->badgeContext != NULL)
		wrong("lane %u, call %u: riid %u and contexts are another handle's", lane, turn,
		      request->riid);
	if ((request->flags & DCM_REQUEST_ONE_WAY) != (plan->op == OP_SEND))
		wrong("lane %u, call %u: flags %#x", lane, turn, request->flags);
}

static void take(DcmRequest *request)
{
	uint32_t id = (uint32_t)request->message.status;
	struct plan plan = calls_plan(server.seed, id);

	if (id >> 24 == CONTROL_LANE) {
		answer(request);
		return;
	}
	inspect(request, id, &plan);
	if (plan.op == OP_SEND || plan.op == OP_DROPPED)
		wanted(rcOk, DcmRelease(&request->message), "lane %u, call %u: DcmRelease",
		       id >> 24, id & 0xffffff);
	else if (plan.late_ms != 0)
		hold(request, plan.late_ms);
	else
		answer(request);
}

static void *receive(void *arg)
{
	DcmRequest request;
	Retcode rc;

	(void)arg;
	while ((rc = DcmReceive(server.listener, -1, &request)) == rcOk)
		take(&request);
	/* The listener was closed during the call, or just before it. */
	if (rc != rcInvalidArgument)
		wanted(rcNotConnected, rc, "DcmReceive at the end");
	return NULL;
}

static struct held *take_due(void)
{
	int64_t now = now_ms();
	struct held **at = &server.held, *held;

	pthread_mutex_lock(&server.lock);
	while (*at != NULL && (*at)->due_ms > now)
		at = &(*at)->next;
	held = *at;
	if (held != NULL)
		*at = held->next;
	pthread_mutex_unlock(&server.lock);
	return held;
}

static void *answer_late(void *arg)
{
	struct held *held;

	(void)arg;
	while (atomic_load(&server.stop) == 0) {
		while ((held = take_due()) != NULL) {
			answer(&held->request);
			atomic_fetch_sub(&server.board->delayed, 1);
			free(held);
		}
		nap_us(500);
	}
	return NULL;
}

static Handle callable(void *context, uint32_t riid)
{
	Handle handle = INVALID_HANDLE;

	wanted(rcOk,
	       KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					  OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, context,
					  server.listener, riid, &handle),
	       "KnHandleCreateUserObjectEx");
	return handle;
}

static void *accept_all(void *arg)
{
	Handle shared = callable(&context_shared, RIID_SHARED);
	Handle own = callable(&context_own, RIID_OWN), client;
	char name[DCM_NAME_SIZE];
	DcmHandle request;
	Retcode rc;

	(void)arg;
	while ((rc = DcmListen(server.publication, INFINITE_TIMEOUT, &client, name, &request)) ==
	       rcOk) {
		wanted(rcOk,
		       DcmAccept(request, strcmp(name, "sharers") == 0 ? shared : own,
				 INVALID_HANDLE),
		       "DcmAccept");
		wanted(rcOk, DcmCloseHandle(request), "closing a request");
		wanted(rcOk, KnHandleClose(client), "closing a client's identity");
	}
	wanted(rcIpcInterrupt, rc, "DcmListen at the end");
	wanted(rcOk, KnHandleClose(shared), "closing a callable handle");
	wanted(rcOk, KnHandleClose(own), "closing a callable handle");
	return NULL;
}

void calls_serve(struct calls_board *board, uint64_t seed)
{
	server.board = board;
	server.seed = seed;
	atomic_store(&server.stop, 0);
	wanted(rcOk, DcmInit(), "the server's DcmInit");
	wanted(rcOk, KnHandleCreateListener(&server.listener), "KnHandleCreateListener");
	wanted(rcOk,
	       DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), CALLS_TYPE, CALLS_NAME,
				  &server.publication),
	       "DcmPublishEndpoint");
	for (unsigned i = 0; i < RECEIVERS; i++)
		server.receivers[i] = start_thread(receive, NULL);
	server.accepter = start_thread(accept_all, NULL);
	server.late = start_thread(answer_late, NULL);
}

void calls_stop(void)
{
	wanted(rcOk, DcmInterruptBlockingCall(server.publication), "DcmInterruptBlockingCall");
	join_thread(server.accepter);
	wanted(rcOk, KnHandleClose(server.listener), "closing the listener");
	for (unsigned i = 0; i < RECEIVERS; i++)
		join_thread(server.receivers[i]);
	atomic_store(&server.stop, 1);
	join_thread(server.late);
	wanted(rcOk, DcmCloseHandle(server.publication), "closing the publication");
	DcmFini();
}
