/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* A request from asked to accepted, refused or withdrawn, with both sides in one process. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "tests/api/lib_api.h"
#include "tests/api/lib_blocked.h"

#define TYPE "test.Connect"

static Handle listener, callable;

static DcmHandle publish(const char *name)
{
	DcmHandle publication;

	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, name, &publication));
	return publication;
}

static DcmHandle prepare(const char *name, Handle server)
{
	DcmHandle connection;

	must(DcmCreateConnection(TYPE, name, server, INVALID_HANDLE, &connection));
	return connection;
}

/* A request that was sent and is not decided. */
static DcmHandle ask(const char *name, Handle server)
{
	DcmHandle connection = prepare(name, server);
	Handle session;
	Retcode rc = DcmConnect(connection, 0, &session);

	if (rc != rcTimeout)
		die("a request is %s at once: %s", RetcodeName(rc), DcmLastDetail());
	return connection;
}

static DcmHandle take(DcmHandle publication)
{
	DcmHandle request;

	must(DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request));
	return request;
}

static void accept_request(DcmHandle request)
{
	must(DcmAccept(request, callable, INVALID_HANDLE));
	must(DcmCloseHandle(request));
}

static int is_served(Handle session, const char *what)
{
	DcmMessage message = must_loan(session, 4);
	DcmRequest request;
	uint64_t call;

	must(DcmStart(session, &message, 0, &call));
	request = must_receive(listener);
	must_reply(&request, "", 0, 0);
	return is_rc(rcOk, DcmFinish(session, call, FOREVER_NS, NULL, NULL), "%s", what);
}

struct poll {
	DcmHandle connection;
	Handle *session;
	Retcode rc;
};

static bool is_decided(void *arg)
{
	struct poll *poll = arg;

	poll->rc = DcmConnect(poll->connection, 0, poll->session);
	return poll->rc != rcTimeout;
}

/* Where the kernel denies the client the channel, its first look asks the server to send it. */
static Retcode poll_connect(DcmHandle connection, Handle *session)
{
	struct poll poll = { .connection = connection, .session = session };

	until(is_decided, &poll);
	return poll.rc;
}

static void test_accept(void)
{
	DcmHandle publication = publish("accept"), connection = ask("accept", INVALID_HANDLE);
	DcmHandle request = take(publication);
	Handle session, again;

	is_rc(rcTimeout, DcmConnect(connection, 0, &session), "taken, not decided");
	is_rc(rcTimeout, DcmConnect(connection, 1, &session), "nor a little later");
	is_rc(rcOk, DcmAccept(request, callable, INVALID_HANDLE), "it is accepted");
	is_rc(rcInvalidOperation, DcmAccept(request, callable, INVALID_HANDLE), "a second accept");
	is_rc(rcOk, poll_connect(connection, &session), "polled, connected");
	is_rc(rcInvalidOperation, DcmConnect(connection, 0, &again), "a connect after success");
	is_rc(rcInvalidOperation, DcmConnect(connection, INFINITE_TIMEOUT, &again), "waiting too");
	is_rc(rcOk, DcmCloseHandle(request), "the request is closed");
	is_rc(rcInvalidArgument, DcmCloseHandle(request), "it is closed once");
	is_rc(rcInvalidArgument, DcmAccept(request, callable, INVALID_HANDLE), "accept it closed");
	is_rc(rcOk, DcmCloseHandle(connection), "the connection is closed");
	is_rc(rcInvalidArgument, DcmConnect(connection, 0, &again), "connect it closed");
	is_served(session, "the session lives on");
	must(DcmCloseHandle(publication));
	is_served(session, "also without its publication");
	must(KnHandleClose(session));
}

static void test_refuse(void)
{
	DcmHandle publication = publish("refuse"), connection = ask("refuse", INVALID_HANDLE);
	DcmHandle request = take(publication);
	struct blocked waiting;
	Handle session;

	blocked_start(&waiting, BLOCK_CONNECT, connection);
	must(DcmCloseHandle(request));
	blocked_ends(&waiting, rcNotConnected, "the request is refused");
	is_rc(rcTimeout, DcmConnect(connection, 0, &session), "a further connect asks anew");
	accept_request(take(publication));
	is_rc(rcOk, DcmConnect(connection, INFINITE_TIMEOUT, &session), "and is accepted");
	is_served(session, "the session works");
	must(KnHandleClose(session));
	must(DcmCloseHandle(connection));
	connection = ask("refuse", INVALID_HANDLE);
	must(DcmCloseHandle(take(publication)));
	is_rc(rcNotConnected, DcmConnect(connection, 0, &session), "a refusal is polled");
	must(DcmCloseHandle(connection));
	must(DcmCloseHandle(publication));
}

/* Two calls that wait for one request hear the same of it: neither asks anew for the other. */
static void test_refuse_two(void)
{
	DcmHandle publication = publish("two"), connection = ask("two", INVALID_HANDLE), request;
	struct blocked first, second;

	blocked_start(&first, BLOCK_CONNECT, connection);
	blocked_start(&second, BLOCK_CONNECT, connection);
	must(DcmCloseHandle(take(publication)));
	blocked_ends(&first, rcNotConnected, "the request of two calls is refused: the first");
	blocked_ends(&second, rcNotConnected, "the second");
	is_rc(rcTimeout, DcmListen(publication, 0, NULL, NULL, &request), "neither asks anew");
	must(DcmCloseHandle(connection));
	must(DcmCloseHandle(publication));
}

/* Asked before anything is published; goes to the first publication that matches, and to no other. */
static void test_parked(void)
{
	DcmHandle connection = ask("parked", INVALID_HANDLE), other, first, second, request;
	struct blocked waiting;
	Handle session;

	other = publish("parked too");
	is_rc(rcTimeout, DcmListen(other, 0, NULL, NULL, &request), "another name gets nothing");
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), "test.Other", "parked",
				&second));
	is_rc(rcTimeout, DcmListen(second, 0, NULL, NULL, &request), "another type gets nothing");
	must(DcmCloseHandle(second));
	blocked_start(&waiting, BLOCK_CONNECT, connection);
	first = publish("parked");
	must(DcmPublishEndpoint(new_identity(), TYPE, "parked", &second));
	is_rc(rcTimeout, DcmListen(second, 0, NULL, NULL, &request), "the second gets nothing");
	accept_request(take(first));
	blocked_ends(&waiting, rcOk, "parked, then accepted");
	session = waiting.number;
	is_served(session, "the session works");
	must(KnHandleClose(session));
	must(DcmCloseHandle(connection));
	must(DcmCloseHandle(first));
	must(DcmCloseHandle(second));
	must(DcmCloseHandle(other));
}

/* A request to one server goes to that one alone. */
static void test_server_handle(void)
{
	Handle one = new_identity(), two = new_identity(), session;
	DcmHandle at_one, at_two, connection = ask("by handle", two), request;

	must(DcmPublishEndpoint(one, TYPE, "by handle", &at_one));
	is_rc(rcTimeout, DcmListen(at_one, 0, NULL, NULL, &request), "not to the other server");
	must(DcmPublishEndpoint(two, TYPE, "by handle", &at_two));
	must(KnHandleClose(two));
	is_rc(rcTimeout, DcmListen(at_one, 0, NULL, NULL, &request), "not even then");
	is_rc(rcOk, DcmListen(at_two, 0, NULL, NULL, &request), "to the server with that handle");
	accept_request(request);
	is_rc(rcOk, DcmConnect(connection, INFINITE_TIMEOUT, &session), "accepted");
	must(KnHandleClose(session));
	must(DcmCloseHandle(connection));
	must(DcmCloseHandle(at_one));
	must(DcmCloseHandle(at_two));
	must(KnHandleClose(one));
}

enum { QUEUE = 20 };

static void test_order(void)
{
	DcmHandle publication = publish("order"), connections[QUEUE], request;
	Handle clients[QUEUE], client, sessions[QUEUE];
	bool right = true;

	for (int i = 0; i < QUEUE; i++) {
		clients[i] = new_identity();
		must(DcmCreateConnection(TYPE, "order", INVALID_HANDLE, clients[i],
					 &connections[i]));
		if (DcmConnect(connections[i], 0, &sessions[i]) != rcTimeout)
			die("connected to nobody");
	}
	must(DcmCloseHandle(connections[3])); /* withdrawn */
	for (int i = 0; i < QUEUE; i++) {
		if (i == 3)
			continue;
		must(DcmListen(publication, 0, &client, NULL, &request));
		right = right && sid_of(client) == sid_of(clients[i]);
		must(KnHandleClose(client));
		accept_request(request);
		must(DcmConnect(connections[i], INFINITE_TIMEOUT, &sessions[i]));
	}
	ok(right, "requests come in the order in which they were made, one withdrawn");
	is_rc(rcTimeout, DcmListen(publication, 0, NULL, NULL, &request), "there are no more");
	for (int i = 0; i < QUEUE; i++) {
		if (i != 3) {
			must(KnHandleClose(sessions[i]));
			must(DcmCloseHandle(connections[i]));
		}
		must(KnHandleClose(clients[i]));
	}
	must(DcmCloseHandle(publication));
}

static void test_withdrawn(void)
{
	DcmHandle publication = publish("withdrawn"), connection, request;
	struct blocked waiting;

	connection = ask("withdrawn", INVALID_HANDLE);
	request = take(publication);
	must(DcmCloseHandle(connection));
	is_rc(rcNotConnected, DcmAccept(request, callable, INVALID_HANDLE),
	      "accept after the client left");
	is_rc(rcOk, DcmCloseHandle(request), "its request is closed");
	connection = ask("withdrawn", INVALID_HANDLE);
	request = take(publication);
	must(DcmAccept(request, callable, INVALID_HANDLE));
	must(DcmCloseHandle(connection));
	is_rc(rcOk, DcmCloseHandle(request), "accepted, then the client left without connecting");
	connection = ask("withdrawn", INVALID_HANDLE);
	blocked_start(&waiting, BLOCK_CONNECT, connection);
	must(DcmCloseHandle(connection));
	blocked_ends(&waiting, rcNotConnected, "the connection is closed");
	is_rc(rcTimeout, DcmListen(publication, 0, NULL, NULL, &request), "nothing is left to take");
	must(DcmCloseHandle(publication));
	must(DcmCloseHandle(ask("nobody publishes this", INVALID_HANDLE)));
}

static void test_publication_closed(void)
{
	DcmHandle publication = publish("closed"), waiting, taken, request;
	struct blocked posted, parked, listening;
	Handle session;

	taken = ask("closed", INVALID_HANDLE);
	request = take(publication);
	waiting = ask("closed", INVALID_HANDLE);
	blocked_start(&posted, BLOCK_CONNECT, waiting);
	must(DcmCloseHandle(publication));
	blocked_ends(&posted, rcNotConnected, "the publication is closed");
	is_rc(rcOk, DcmAccept(request, callable, INVALID_HANDLE),
	      "a request taken before is still the server's to accept");
	must(DcmCloseHandle(request));
	is_rc(rcOk, DcmConnect(taken, INFINITE_TIMEOUT, &session), "and connected");
	must(KnHandleClose(session));
	must(DcmCloseHandle(taken));
	blocked_start(&parked, BLOCK_CONNECT, waiting);
	publication = publish("closed");
	accept_request(take(publication));
	blocked_ends(&parked, rcOk, "asked anew, served by the next publication");
	must(KnHandleClose(parked.number));
	must(DcmCloseHandle(waiting));
	blocked_start(&listening, BLOCK_LISTEN, publication);
	must(DcmCloseHandle(publication));
	blocked_ends(&listening, rcNotConnected, "the publication is closed");
	is_rc(rcInvalidArgument, DcmListen(publication, 0, NULL, NULL, &request), "listen to it");
}

/* Several threads on one connection: one gets the session; on one publication: one each. */
static void test_several(void)
{
	DcmHandle publication = publish("several"), connection;
	struct blocked clients[3], servers[3];
	int connected = 0, late = 0, requests = 0;

	connection = prepare("several", INVALID_HANDLE);
	for (int i = 0; i < 3; i++)
		blocked_start(&clients[i], BLOCK_CONNECT, connection);
	accept_request(take(publication));
	for (int i = 0; i < 3; i++) {
		task_join(&clients[i].task);
		connected += clients[i].rc == rcOk;
		late += clients[i].rc == rcInvalidOperation;
		if (clients[i].rc == rcOk)
			must(KnHandleClose(clients[i].number));
	}
	ok(connected == 1 && late == 2, "of three threads that connect one gets the session");
	must(DcmCloseHandle(connection));
	for (int i = 0; i < 3; i++)
		blocked_start(&servers[i], BLOCK_LISTEN, publication);
	for (int i = 0; i < 3; i++) {
		blocked_start(&clients[i], BLOCK_CONNECT, prepare("several", INVALID_HANDLE));
	}
	for (int i = 0; i < 3; i++) {
		blocked_ends(&servers[i], rcOk, "a request for each of three threads");
		requests += servers[i].number != servers[(i + 1) % 3].number;
		accept_request(servers[i].number);
	}
	is_int(3, requests, "the requests are different");
	for (int i = 0; i < 3; i++) {
		blocked_ends(&clients[i], rcOk, "accepted by one of three threads");
		must(KnHandleClose(clients[i].number));
		must(DcmCloseHandle(clients[i].handle));
	}
	must(DcmCloseHandle(publication));
}

static void test_who_asks(void)
{
	DcmHandle publication = publish("who"), connection = ask("who", INVALID_HANDLE), request;
	Handle user = new_identity(), client;
	char name[DCM_NAME_SIZE];
	Sid sid;

	must(DcmListen(publication, 0, &client, name, &request));
	is_string("connect.t", name, "the client's name is its program's");
	ok(sid_of(client) == sid_of(KosTaskGetHandle(KosTaskGetSelf())),
	   "without a handle it is the process itself");
	is_rc(rcNoCapability, DcmPublishEndpoint(client, TYPE, "stolen", &connection),
	      "nobody publishes under the client's identity");
	must(KnHandleClose(client));
	must(DcmCloseHandle(request));
	sid = sid_of(user);
	must(DcmCreateConnection(TYPE, "who", INVALID_HANDLE, user, &connection));
	must(KnHandleClose(user));
	ok(DcmConnect(connection, 0, &client) == rcTimeout, "its handle may be closed before");
	must(DcmListen(publication, 0, &client, name, &request));
	ok(sid_of(client) == sid, "with a handle it is that");
	must(KnHandleClose(client));
	must(DcmCloseHandle(connection));
	must(DcmCloseHandle(request));
	must(DcmCloseHandle(publication));
}

/* One callable handle serves many, and is not needed afterwards. */
static void test_callable(void)
{
	DcmHandle publication = publish("callable"), connections[4], request;
	Handle sessions[4], own;
	DcmRequest received;
	DcmMessage message;
	int here;

	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER,
					&here, listener, 4711, &own));
	for (int i = 0; i < 4; i++) {
		connections[i] = ask("callable", INVALID_HANDLE);
		request = take(publication);
		must(DcmAccept(request, own, INVALID_HANDLE));
		must(DcmCloseHandle(request));
	}
	must(KnHandleClose(own));
	for (int i = 0; i < 4; i++) {
		must(DcmConnect(connections[i], INFINITE_TIMEOUT, &sessions[i]));
		must(DcmCloseHandle(connections[i]));
		message = must_loan(sessions[i], 1);
		must(DcmSend(sessions[i], &message, 0));
		received = must_receive(listener);
		ok(received.context == &here && received.riid == 4711,
		   "context and riid of a callable handle that is closed");
		must(DcmRelease(&received.message));
	}
	for (int i = 0; i < 4; i++)
		must(KnHandleClose(sessions[i]));
	must(DcmCloseHandle(publication));
}

/* A listener that is closed takes no more; the request can still be accepted with another. */
static void test_listener_closed(void)
{
	DcmHandle publication = publish("ear"), connection = ask("ear", INVALID_HANDLE);
	DcmHandle request = take(publication);
	Handle deaf, ear, session;

	must(KnHandleCreateListener(&ear));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER,
					NULL, ear, 1, &deaf));
	must(KnHandleClose(ear));
	is_rc(rcNotConnected, DcmAccept(request, deaf, INVALID_HANDLE),
	      "accept with a listener that is closed");
	is_rc(rcOk, DcmAccept(request, callable, INVALID_HANDLE), "then with another");
	must(DcmCloseHandle(request));
	is_rc(rcOk, DcmConnect(connection, INFINITE_TIMEOUT, &session), "it is connected");
	must(KnHandleClose(session));
	must(KnHandleClose(deaf));
	must(DcmCloseHandle(connection));
	must(DcmCloseHandle(publication));
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
	test_accept();
	test_refuse();
	test_refuse_two();
	test_parked();
	test_server_handle();
	test_order();
	test_withdrawn();
	test_publication_closed();
	test_several();
	test_who_asks();
	test_callable();
	test_listener_closed();
	must(KnHandleClose(callable));
	must(KnHandleClose(listener));
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
