/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* A client or a server is killed at each stage of a request; who is left is told and goes on. */
#define _GNU_SOURCE
#include <string.h>

#include "tests/api/lib_blocked.h"
#include "tests/api/lib_peer.h"

#define TYPE "test.Stage"
#define NAME "stage"

enum stage { PARKED, POSTED, TAKEN, ACCEPTED, STAGES };

static const char *const stage_names[STAGES] = { "parked", "posted", "taken", "accepted" };

static Handle listener, callable;

static void test_client_killed(enum stage stage)
{
	struct peer client = peer_attached("doomed"), next = peer_attached("next");
	struct peer_answer a = peer_must(&client, PEER_CREATE, .type = TYPE, .name = NAME), b;
	DcmHandle publication = 0, request = 0, other;
	char name[DCM_NAME_SIZE];

	if (stage != PARKED)
		must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, NAME,
					&publication));
	/* Not waiting: what was accepted is then not connected, and what was not stays. */
	a = peer_do(&client, PEER_CONNECT, .handle = a.handle);
	is_answer(rcTimeout, &a, "a request is %s", stage_names[stage]);
	if (stage == TAKEN || stage == ACCEPTED)
		must(DcmListen(publication, 0, NULL, name, &request));
	if (stage == ACCEPTED)
		must(DcmAccept(request, callable, INVALID_HANDLE));
	peer_kill(&client);
	if (stage == PARKED)
		must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, NAME,
					&publication));
	if (stage == PARKED || stage == POSTED)
		is_rc(rcTimeout, DcmListen(publication, 0, NULL, NULL, &other),
		      "the request of a client killed %s is not handed out", stage_names[stage]);
	if (request != 0)
		is_rc(rcOk, DcmCloseHandle(request), "the request of the dead is closed");
	b = peer_must(&next, PEER_CREATE, .type = TYPE, .name = NAME);
	peer_post(&next, PEER_CONNECT, .handle = b.handle, .timeout = INFINITE_TIMEOUT);
	must(DcmListen(publication, INFINITE_TIMEOUT, NULL, name, &request));
	is_string("next", name, "the next client's request is taken");
	must(DcmAccept(request, callable, INVALID_HANDLE));
	must(DcmCloseHandle(request));
	b = peer_wait(&next);
	is_answer(rcOk, &b, "the next client is connected");
	is_int(0, peer_end(&next), "it ends in order");
	must(DcmCloseHandle(publication));
}

/* A request that was taken from a client that died meanwhile cannot be accepted, once that is seen. */
static void test_accept_for_the_dead(void)
{
	struct peer client = peer_attached("doomed");
	struct peer_answer a = peer_must(&client, PEER_CREATE, .type = TYPE, .name = NAME);
	DcmHandle publication, request, seen, subscription;

	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, NAME, &publication));
	must(DcmSetSubscription("test.Beacon", NULL, NULL, INVALID_HANDLE, &subscription));
	peer_must(&client, PEER_PUBLISH, .type = "test.Beacon", .name = "b");
	must(DcmReadPubQueue(subscription, INFINITE_TIMEOUT, NULL, NULL, NULL, NULL));
	peer_post(&client, PEER_CONNECT, .handle = a.handle, .timeout = INFINITE_TIMEOUT);
	must(DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request));
	peer_kill(&client);
	must(DcmReadPubQueue(subscription, INFINITE_TIMEOUT, NULL, NULL, NULL, NULL));
	is_rc(rcNotConnected, DcmAccept(request, callable, INVALID_HANDLE),
	      "accept for a client whose death is known");
	must(DcmCloseHandle(request));
	is_rc(rcTimeout, DcmListen(publication, 0, NULL, NULL, &seen), "nothing is left of it");
	must(DcmCloseHandle(subscription));
	must(DcmCloseHandle(publication));
}

/* A server that is there, its publication and what it accepts with. */
struct far_server {
	struct peer peer;
	uint64_t publication, callable, listener;
};

static struct far_server far_server_start(void)
{
	struct far_server far = { .peer = peer_attached("server") };
	struct peer_answer a;

	far.publication = peer_must(&far.peer, PEER_PUBLISH, .type = TYPE, .name = NAME).handle;
	a = peer_must(&far.peer, PEER_CALLABLE, .other = 1);
	far.callable = a.handle;
	far.listener = a.other;
	return far;
}

static void far_server_accept(struct far_server *far)
{
	struct peer_answer a = peer_must(&far->peer, PEER_LISTEN, .handle = far->publication,
					 .timeout = INFINITE_TIMEOUT);

	peer_must(&far->peer, PEER_ACCEPT, .handle = a.handle, .other = far->callable);
}

static int is_served(struct far_server *far, Handle session)
{
	DcmMessage message = must_loan(session, 100), reply;
	struct peer_answer a;
	uint64_t call;

	pattern_fill(message.data, 100, 1);
	must(DcmStart(session, &message, 0, &call));
	a = peer_must(&far->peer, PEER_RECEIVE, .handle = far->listener,
		      .timeout = INFINITE_TIMEOUT);
	peer_must(&far->peer, PEER_REPLY, .other = a.other);
	must(DcmFinish(session, call, FOREVER_NS, NULL, &reply));
	ok(pattern_is(reply.data, reply.size, 1), "the restarted server answers");
	return DcmRelease(&reply) == rcOk;
}

static void test_server_killed(enum stage stage, bool waiting)
{
	struct far_server far = far_server_start();
	struct peer_answer a;
	struct blocked client;
	DcmHandle connection;
	Handle session;

	must(DcmCreateConnection(TYPE, NAME, INVALID_HANDLE, INVALID_HANDLE, &connection));
	if (DcmConnect(connection, 0, &session) != rcTimeout)
		die("connected to nobody");
	if (stage == TAKEN || stage == ACCEPTED)
		a = peer_must(&far.peer, PEER_LISTEN, .handle = far.publication,
			      .timeout = INFINITE_TIMEOUT);
	if (waiting)
		blocked_start(&client, BLOCK_CONNECT, connection);
	if (stage == ACCEPTED)
		peer_must(&far.peer, PEER_ACCEPT, .handle = a.handle, .other = far.callable);
	peer_kill(&far.peer);
	if (waiting)
		blocked_ends(&client, rcNotConnected, "the server is killed");
	else
		is_rc(rcNotConnected, DcmConnect(connection, INFINITE_TIMEOUT, &session),
		      "connect to a server killed when it had the request %s",
		      stage_names[stage]);
	blocked_start(&client, BLOCK_CONNECT, connection);
	far = far_server_start();
	far_server_accept(&far);
	blocked_ends(&client, rcOk, "the server is restarted");
	is_served(&far, client.number);
	must(KnHandleClose(client.number));
	must(DcmCloseHandle(connection));
	is_int(0, peer_end(&far.peer), "it ends in order");
}

/* The handle of a server, from a notice: good while it lives, refused at once when it is dead. */
static void test_handle_of_the_dead(void)
{
	struct far_server far = far_server_start();
	DcmHandle subscription, connection, parked;
	struct blocked waiting;
	Handle server, session;

	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &subscription));
	must(DcmReadPubQueue(subscription, INFINITE_TIMEOUT, NULL, &server, NULL, NULL));
	must(DcmCreateConnection(TYPE, NAME, server, INVALID_HANDLE, &connection));
	must(DcmCreateConnection(TYPE, "never", server, INVALID_HANDLE, &parked));
	blocked_start(&waiting, BLOCK_CONNECT, connection);
	far_server_accept(&far);
	blocked_ends(&waiting, rcOk, "by the server's handle");
	must(KnHandleClose(waiting.number));
	blocked_start(&waiting, BLOCK_CONNECT, parked);
	peer_kill(&far.peer);
	blocked_ends(&waiting, rcNotConnected, "parked for a server that is killed");
	is_rc(rcNotConnected, DcmConnect(parked, INFINITE_TIMEOUT, &session),
	      "to a server that is dead");
	must(DcmCloseHandle(connection));
	must(DcmCreateConnection(TYPE, NAME, server, INVALID_HANDLE, &connection));
	is_rc(rcNotConnected, DcmConnect(connection, INFINITE_TIMEOUT, &session),
	      "prepared when it was dead already");
	far = far_server_start();
	is_rc(rcNotConnected, DcmConnect(connection, INFINITE_TIMEOUT, &session),
	      "its successor is another");
	is_int(0, peer_end(&far.peer), "the successor ends in order");
	must(DcmCloseHandle(connection));
	must(DcmCloseHandle(parked));
	must(DcmCloseHandle(subscription));
	must(KnHandleClose(server));
}

/* A SID outlives DcmFini and DcmInit of its process: so does what one can do with a handle to it. */
static void test_server_returns(void)
{
	struct far_server far = far_server_start();
	DcmHandle subscription, connection;
	struct blocked waiting;
	Handle server;
	Sid sid;

	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &subscription));
	must(DcmReadPubQueue(subscription, INFINITE_TIMEOUT, NULL, &server, NULL, NULL));
	sid = sid_of(server);
	must(DcmCreateConnection(TYPE, NAME, server, INVALID_HANDLE, &connection));
	peer_must(&far.peer, PEER_FINI);
	peer_must(&far.peer, PEER_INIT);
	is_hex(sid, peer_must(&far.peer, PEER_SID).sid, "a server that returns has its SID");
	far.publication = peer_must(&far.peer, PEER_PUBLISH, .type = TYPE, .name = NAME).handle;
	waiting = (struct blocked){ .what = BLOCK_CONNECT, .handle = connection, .timeout_ms = -1 };
	waiting.rc = DcmConnect(connection, 0, &waiting.number);
	if (is_rc(rcTimeout, waiting.rc, "a request to a server that came back")) {
		blocked_go(&waiting);
		far_server_accept(&far);
		blocked_ends(&waiting, rcOk, "the server came back");
		must(KnHandleClose(waiting.number));
	}
	is_int(0, peer_end(&far.peer), "it ends in order");
	must(DcmCloseHandle(connection));
	must(DcmCloseHandle(subscription));
	must(KnHandleClose(server));
}

int main(void)
{
	struct holdings before;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	must(DcmInit());
	must(KnHandleCreateListener(&listener));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER,
					NULL, listener, 1, &callable));
	for (enum stage stage = PARKED; stage < STAGES; stage++)
		test_client_killed(stage);
	test_accept_for_the_dead();
	for (enum stage stage = POSTED; stage < STAGES; stage++)
		test_server_killed(stage, false);
	test_server_killed(POSTED, true);
	test_server_killed(TAKEN, true);
	test_handle_of_the_dead();
	test_server_returns();
	must(KnHandleClose(callable));
	must(KnHandleClose(listener));
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
