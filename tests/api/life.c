/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * What the original says of publishing, finding, asking, accepting, refusing and ending, in its order,
 * and each of it between two processes: this one is the server first, and then the client.
 */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <string.h>

#include "tests/api/lib_event.h"
#include "tests/api/lib_peer.h"

#define TYPE "test.Life"

enum { WAIT_MS = 20 * 1000, RIID = 41 };

static Handle listener, callable;
static int context, badge_context;

static Handle user_object(void)
{
	Handle handle;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST,
				      OCAP_HANDLE_TRANSFER | OCAP_HANDLE_GET_SID, NULL, &handle));
	return handle;
}

static void asks(struct peer *client, uint64_t connection)
{
	is_int(rcTimeout, peer_do(client, PEER_CONNECT, .handle = connection).rc,
	       "the client asks, and does not wait");
}

static void test_request(struct peer *client, DcmHandle one, DcmHandle two)
{
	uint64_t sid = peer_must(client, PEER_SID).sid;
	uint64_t connection = peer_must(client, PEER_CREATE, .type = TYPE, .name = "one").handle;
	char name[DCM_NAME_SIZE];
	DcmHandle request, again;
	Handle who;

	is_rc(rcTimeout, DcmListen(one, 50, NULL, NULL, &request),
	      "a connection that is only prepared asks for nothing");
	asks(client, connection);
	is_rc(rcTimeout, DcmListen(two, 50, NULL, NULL, &request),
	      "nothing is asked of the server's other endpoint");
	is_rc(rcOk, DcmListen(one, 0, &who, name, &request), "the one asked for has the request");
	is_rc(rcTimeout, DcmListen(one, 0, NULL, NULL, &again), "it is taken once");
	is_string("life client", name, "and has the name of the client's process");
	is_hex(sid, sid_of(who), "and an identity that is the client's");
	is_rc(rcNoCapability, DcmPublishEndpoint(who, TYPE, "stolen", &again),
	      "which is not for showing oneself by");
	must(KnHandleClose(who));
	must(DcmCloseHandle(request));
	is_int(rcNotConnected, peer_do(client, PEER_CONNECT, .handle = connection).rc,
	       "a request that is closed is refused, says the client");
	is_rc(rcInvalidArgument, DcmAccept(request, callable, INVALID_HANDLE),
	      "and cannot be accepted any more");
	peer_must(client, PEER_CLOSE, .handle = connection);
}

/* The session of a client whose request is accepted with the badge. */
static uint64_t connects(struct peer *client, DcmHandle publication, Handle badge)
{
	uint64_t connection = peer_must(client, PEER_CREATE, .type = TYPE, .name = "one").handle;
	struct peer_answer session;
	DcmHandle request;

	peer_post(client, PEER_CONNECT, .handle = connection, .timeout = INFINITE_TIMEOUT);
	must(DcmListen(publication, WAIT_MS, NULL, NULL, &request));
	is_rc(rcOk, DcmAccept(request, callable, badge), "accepted");
	session = peer_wait(client);
	is_answer(rcOk, &session, "a client that waited has a callable handle");
	is_rc(rcOk, DcmCloseHandle(request), "the request is closed after it was accepted");
	peer_must(client, PEER_CLOSE, .handle = connection);
	return session.handle;
}

static void calls(struct peer *client, uint64_t session, void *badge, const char *what)
{
	DcmRequest request;

	peer_post(client, PEER_CALL, .handle = session, .size = 64, .seed = 5, .timeout = WAIT_MS);
	request = must_receive(listener);
	ok(request.context == &context, "the callable handle's context comes with the call");
	ok(request.badgeContext == badge, "the context of its badge comes with the call");
	is_uint(RIID, request.riid, "and the endpoint's number, which the client never named");
	must_reply(&request, request.message.data, request.message.size, 0);
	is_int(rcOk, peer_wait(client).rc, "%s", what);
}

static void test_sessions(struct peer *client, DcmHandle publication)
{
	struct peer second = peer_attached("life second");
	Notice notice = new_notice();
	Handle badge, plain;
	uint64_t first, of_second;

	must(KnHandleCreateBadge(notice, 6, &badge_context, &badge));
	first = connects(client, publication, badge);
	of_second = connects(&second, publication, badge);
	plain = connects(client, publication, INVALID_HANDLE);
	must(KnHandleClose(callable));
	calls(client, first, &badge_context,
	      "called when connection and callable handle are closed");
	calls(client, plain, NULL, "one callable handle has answered several requests");
	calls(&second, of_second, &badge_context, "of several clients");
	must(DcmCloseHandle(publication));
	calls(client, first, &badge_context, "called when the publication is closed");
	peer_must(client, PEER_KCLOSE, .handle = first);
	event_is_not(notice, "one client has closed its callable handle, the other not");
	peer_kill(&second);
	event_comes(notice, 6, EVENT_BADGE_CLOSED, "the other client is killed: none is left");
	must(KnHandleClose(badge));
	must(KnNoticeRelease(notice));
}

static void test_as_server(void)
{
	struct peer client = peer_attached("life client");
	DcmHandle one, two;
	Handle user = user_object();

	must(KnHandleCreateListener(&listener));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, &context, listener,
					RIID, &callable));
	is_rc(rcOk, DcmPublishEndpoint(user, TYPE, "one", &one), "published under a user object");
	is_rc(rcOk, DcmPublishEndpoint(user, TYPE, "two", &two), "another under the same");
	must(KnHandleClose(user));
	test_request(&client, one, two);
	test_sessions(&client, one);
	must(DcmCloseHandle(two));
	must(KnHandleClose(listener));
	peer_end(&client);
}

static DcmHandle subscription_of(const char *name, const char *server, Handle handle)
{
	DcmHandle made;

	must(DcmSetSubscription(TYPE, name, server, handle, &made));
	return made;
}

/* One result: the next notice says that. */
static Handle notice_is(DcmHandle subscription, DcmPubStatus wanted, const char *name,
			const char *server, const char *what)
{
	char seen_name[DCM_NAME_SIZE] = "", seen_server[DCM_NAME_SIZE] = "";
	DcmPubStatus status = 0;
	Handle handle = INVALID_HANDLE;
	Retcode rc =
		DcmReadPubQueue(subscription, WAIT_MS, &status, &handle, seen_server, seen_name);

	ok(rc == rcOk && status == wanted && strcmp(name, seen_name) == 0 &&
		   strcmp(server, seen_server) == 0,
	   "%s", what);
	return handle;
}

static void no_more(DcmHandle subscription, const char *what)
{
	is_rc(rcTimeout, DcmReadPubQueue(subscription, 0, NULL, NULL, NULL, NULL), "%s", what);
}

/* What @named publishes, as filters let it through; its identity. */
static Handle test_found(void)
{
	DcmHandle by_name = subscription_of("b", NULL, INVALID_HANDLE), by_handle;
	DcmHandle by_server = subscription_of("a", "life named", INVALID_HANDLE);
	Handle named = notice_is(by_server, DCM_PUBLISHED, "a", "life named",
				 "found by its process's name");
	Handle other =
		notice_is(by_name, DCM_PUBLISHED, "b", "life other", "found by its own name");

	no_more(by_server, "and by no other process's");
	no_more(by_name, "and by no other name");
	by_handle = subscription_of(NULL, NULL, other);
	KnHandleClose(other);
	other = notice_is(by_handle, DCM_PUBLISHED, "b", "life other",
			  "found by its server's handle");
	no_more(by_handle, "and by no other server's");
	KnHandleClose(other);
	must(DcmCloseHandle(by_name));
	must(DcmCloseHandle(by_server));
	must(DcmCloseHandle(by_handle));
	return named;
}

static void test_asking(struct peer *named, struct peer *other, uint64_t at_named,
			uint64_t at_other, Handle who)
{
	struct peer_answer made = peer_must(named, PEER_CALLABLE, .other = 1), first, second;
	DcmHandle connections[2];
	Handle user = user_object(), session;
	Sid sid = sid_of(user);

	for (int i = 0; i < 2; i++)
		must(DcmCreateConnection(TYPE, "a", who, user, &connections[i]));
	must(KnHandleClose(user));
	for (int i = 0; i < 2; i++)
		is_rc(rcTimeout, DcmConnect(connections[i], 0, &session), "asks");
	is_int(rcTimeout, peer_do(other, PEER_LISTEN, .handle = at_other).rc,
	       "asked by the server's handle, the other server is not");
	first = peer_must(named, PEER_LISTEN, .handle = at_named, .timeout = WAIT_MS);
	second = peer_must(named, PEER_LISTEN, .handle = at_named, .timeout = WAIT_MS);
	ok(first.handle != second.handle && first.sid == sid && second.sid == sid,
	   "two connections show one client handle, which is closed since");
	peer_must(named, PEER_ACCEPT, .handle = first.handle, .other = made.handle);
	peer_must(named, PEER_CLOSE, .handle = second.handle);
	is_rc(rcOk, DcmConnect(connections[0], WAIT_MS, &session), "the first is accepted there");
	must(DcmCloseHandle(connections[0]));
	must(KnHandleClose(session));
	is_rc(rcNotConnected, DcmConnect(connections[1], WAIT_MS, &session),
	      "the second is refused there");
	must(DcmCloseHandle(connections[1]));
}

static void test_as_client(void)
{
	struct peer named = peer_attached("life named"), other = peer_attached("life other");
	uint64_t sid = peer_must(&other, PEER_SID).sid, a, b;
	DcmHandle all, none;
	Handle who, gone;

	a = peer_must(&named, PEER_PUBLISH, .type = TYPE, .name = "a").handle;
	b = peer_must(&other, PEER_PUBLISH, .type = TYPE, .name = "b").handle;
	who = test_found();
	is_rc(rcNoCapability, DcmPublishEndpoint(who, TYPE, "stolen", &none),
	      "a server's identity is not for showing oneself by");
	test_asking(&named, &other, a, b, who);
	must(KnHandleClose(who));
	all = subscription_of(NULL, NULL, INVALID_HANDLE);
	KnHandleClose(notice_is(all, DCM_PUBLISHED, "a", "life named", "published long before"));
	KnHandleClose(notice_is(all, DCM_PUBLISHED, "b", "life other", "so is the other"));
	no_more(all, "that is all");
	peer_must(&named, PEER_CLOSE, .handle = a);
	KnHandleClose(notice_is(all, DCM_UNPUBLISHED, "a", "life named",
				"its publication is closed: unpublished"));
	peer_kill(&other);
	gone = notice_is(all, DCM_UNPUBLISHED, "b", "life other",
			 "its server is killed: unpublished");
	is_hex(sid, sid_of(gone), "with an identity that outlives it");
	must(KnHandleClose(gone));
	must(DcmCloseHandle(all));
	peer_end(&named);
}

int main(void)
{
	struct holdings before;

	plan_lazy();
	tap_watchdog(120);
	tap_fabric_dir();
	before = holdings_now();
	must(DcmInit());
	test_as_server();
	test_as_client();
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
