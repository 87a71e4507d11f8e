/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* Revocation: of copies here, of sessions in other processes; of calls that are blocked then. */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/api/lib_api.h"
#include "tests/api/lib_blocked.h"
#include "tests/api/lib_peer.h"

#define TYPE "revoke.Type"

enum { USER_RIGHTS = OCAP_HANDLE_COPY | OCAP_HANDLE_GET_SID | OCAP_HANDLE_GET_EVENT };
enum { CALL_RIGHTS = OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER | OCAP_HANDLE_COPY };

static Handle copy_of(Handle handle, uint32_t rights, Handle badge)
{
	Handle copy;

	must(KnHandleCopy(handle, rights, badge, &copy));
	return copy;
}

static Handle user(void)
{
	Handle handle;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, USER_RIGHTS, NULL, &handle));
	return handle;
}

static Handle badge_for(Notice notice)
{
	Handle badge;

	must(KnHandleCreateBadge(notice, 9, NULL, &badge));
	return badge;
}

/* Every use of a handle that is revoked. */
static void is_revoked(Handle handle, const char *what)
{
	Handle none;
	Sid sid;

	is_rc(rcHandleRevoked, KnHandleGetSidByHandle(handle, &sid), "the SID of %s", what);
	is_rc(rcHandleRevoked, KnHandleCopy(handle, 0, INVALID_HANDLE, &none), "a copy of %s",
	      what);
	is_rc(rcHandleRevoked, KnHandleRevoke(handle), "revoking %s", what);
}

static void test_tree(void)
{
	Handle top = user(), a, b, below, other;
	DcmHandle none;
	EventDesc event;
	Notice notice;
	size_t count;
	Sid sid;

	a = copy_of(top, USER_RIGHTS, INVALID_HANDLE);
	b = copy_of(a, USER_RIGHTS, INVALID_HANDLE);
	below = copy_of(b, USER_RIGHTS, INVALID_HANDLE);
	other = copy_of(top, USER_RIGHTS, INVALID_HANDLE);
	must(KnNoticeCreate(&notice));
	must(KnNoticeSubscribeToObject(notice, below, EVENT_OBJECT_DESTROYED, 4));
	must(KnNoticeSubscribeToObject(notice, top, EVENT_OBJECT_DESTROYED, 5));
	must(KnHandleClose(b));
	is_rc(rcOk, KnHandleRevoke(a), "a copy is revoked");
	is_rc(rcInvalidArgument, KnHandleGetSidByHandle(a, &sid), "its own number is closed");
	is_revoked(below, "what descended from it by way of one that is closed");
	is_rc(rcNoCapability, DcmPublishEndpoint(top, TYPE, "n", &none), "the ancestor is in use");
	is_rc(rcOk, KnHandleGetSidByHandle(other, &sid), "so is another branch");
	is_rc(rcHandleRevoked, KnNoticeSubscribeToObject(notice, below, EVENT_OBJECT_DESTROYED, 1),
	      "a subscription to one that is revoked");
	is_rc(rcHandleRevoked, DcmPublishEndpoint(below, TYPE, "n", &none),
	      "a publication with it");
	is_rc(rcHandleRevoked, DcmSetSubscription(TYPE, NULL, NULL, below, &none),
	      "a filter by it");
	is_rc(rcHandleRevoked, DcmCreateConnection(TYPE, "n", below, INVALID_HANDLE, &none),
	      "a connection to it");
	is_rc(rcOk, KnHandleRevoke(top), "all of it is revoked");
	is_rc(rcOk, KnNoticeGetEvent(notice, 0, 1, &event, &count),
	      "the resource is gone, numbers or not");
	is_uint(5, event.eventId, "as is told by the handle that was revoked last");
	is_rc(rcTimeout, KnNoticeGetEvent(notice, 0, 1, &event, &count),
	      "and not by one that was revoked before");
	is_revoked(other, "the other branch");
	is_rc(rcOk, KnHandleClose(below), "a revoked handle is closed");
	is_rc(rcInvalidArgument, KnHandleClose(below), "once");
	must(KnHandleClose(other));
	must(KnNoticeRelease(notice));
}

static void test_subtree(void)
{
	Handle top = user(), one, two, mine, deep, badges[2];
	Notice notice;
	Sid sid;

	must(KnNoticeCreate(&notice));
	badges[0] = badge_for(notice);
	badges[1] = badge_for(notice);
	one = copy_of(top, USER_RIGHTS, badges[0]);
	mine = copy_of(one, USER_RIGHTS, INVALID_HANDLE);
	deep = copy_of(mine, USER_RIGHTS, badges[1]);
	two = copy_of(top, USER_RIGHTS, badges[1]);
	must(KnHandleClose(mine));
	is_rc(rcOk, KnHandleRevokeSubtree(top, badges[0]), "what was given under one badge");
	is_revoked(one, "the first of it");
	is_revoked(deep, "what was given on under another");
	is_rc(rcOk, KnHandleGetSidByHandle(two, &sid), "what was given under the other alone");
	is_rc(rcOk, KnHandleGetSidByHandle(top, &sid), "the handle itself");
	is_rc(rcOk, KnHandleRevokeSubtree(top, badges[0]), "there is nothing left of it");
	is_rc(rcInvalidArgument, KnHandleRevokeSubtree(top, INVALID_HANDLE), "no badge");
	is_rc(rcInvalidArgument, KnHandleRevokeSubtree(top, top), "a badge that is none");
	is_rc(rcHandleRevoked, KnHandleRevokeSubtree(one, badges[0]), "of one that is revoked");
	must(KnHandleRevoke(top));
	must(KnHandleClose(one));
	must(KnHandleClose(two));
	must(KnHandleClose(deep));
	must(KnHandleClose(badges[0]));
	must(KnHandleClose(badges[1]));
	must(KnNoticeRelease(notice));
}

static void test_task(void)
{
	Handle own = KosTaskGetHandle(KosTaskGetSelf());
	Handle copy = copy_of(own, OCAP_HANDLE_GET_SID, INVALID_HANDLE);
	Sid sid;

	is_rc(rcOk, KnHandleRevoke(own), "the process's own handle");
	is_rc(rcHandleRevoked, KnHandleGetSidByHandle(copy, &sid), "its copies are revoked");
	is_rc(rcOk, KnHandleGetSidByHandle(own, &sid), "it stays");
	must(KnHandleClose(copy));
}

/* A session's copies, in its holder's process: the channel goes on with those that are left. */
static void test_copies_of_session(enum blocking what)
{
	static struct load load;
	struct blocked through_copy = { .what = what, .timeout_ms = -1 };
	DcmMessage message, none;
	struct pair pair;
	Handle copy, deep;
	uint64_t call;

	pair_open(&pair);
	copy = copy_of(pair.session, OCAP_IPC_CALL | OCAP_HANDLE_COPY, INVALID_HANDLE);
	deep = copy_of(copy, OCAP_IPC_CALL, INVALID_HANDLE);
	message = must_loan(pair.session, 8);
	through_copy.handle = pair.session;
	load_for(&load, &through_copy);
	through_copy.handle = deep;
	blocked_go(&through_copy);
	is_rc(rcOk, KnHandleRevoke(copy), "a copy of the session is revoked");
	blocked_ends(&through_copy, rcHandleRevoked, "what descends from it");
	is_rc(rcHandleRevoked, DcmLoan(deep, 1, 0, &none), "a loan there");
	is_rc(rcHandleRevoked, DcmFinish(deep, DCM_ANY_CALL, 0, NULL, NULL), "a finish there");
	is_rc(rcHandleRevoked, DcmInterruptCall(deep), "an interruption there");
	is_rc(rcHandleRevoked, DcmStart(deep, &message, 0, &call), "a call there");
	ok(message.data == NULL, "consumes the message");
	load_drop(&load);
	if (what != BLOCK_START && what != BLOCK_SEND) {
		message = must_loan(pair.session, 8);
		is_rc(rcOk, DcmSend(pair.session, &message, 0), "the session itself goes on");
	}
	must(KnHandleClose(deep));
	pair_close(&pair);
}

static void is_revoked_session(Handle session, DcmMessage *message)
{
	DcmSessionInfo info = { .structSize = sizeof info };
	DcmPeer who = { .structSize = sizeof who };
	DcmMessage none;
	uint64_t call;
	Handle copy;

	is_rc(rcHandleRevoked, DcmLoan(session, 1, FOREVER_NS, &none), "a loan");
	is_rc(rcHandleRevoked, DcmCall(session, message, FOREVER_NS, &none), "a call");
	ok(message->data == NULL, "consumes the message");
	is_rc(rcHandleRevoked, DcmFinish(session, DCM_ANY_CALL, FOREVER_NS, &call, &none),
	      "a finish");
	is_rc(rcHandleRevoked, DcmInterruptCall(session), "an interruption");
	is_rc(rcHandleRevoked, DcmGetSessionInfo(session, &info), "what it is");
	is_rc(rcHandleRevoked, DcmGetPeer(session, &who), "who it is with");
	is_rc(rcHandleRevoked, KnHandleCopy(session, OCAP_IPC_CALL, INVALID_HANDLE, &copy),
	      "a copy");
}

/* The server withdraws a session while its client is blocked in it; here both are one process. */
static void test_session_revoked(enum blocking what)
{
	static struct load load;
	struct blocked waiting = { .what = what, .timeout_ms = -1 };
	DcmMessage message, sent;
	DcmRequest none;
	struct pair pair;

	pair_open(&pair);
	waiting.handle = pair.session;
	message = must_loan(pair.session, 8);
	if (what == BLOCK_LOAN || what == BLOCK_FINISH) {
		sent = must_loan(pair.session, 8);
		must(DcmSend(pair.session, &sent, 0));
	}
	load_for(&load, &waiting);
	blocked_go(&waiting);
	is_rc(rcOk, KnHandleRevoke(pair.callable), "the callable handle is revoked");
	blocked_ends(&waiting, rcHandleRevoked, "the server has revoked it");
	is_rc(rcTimeout, DcmReceive(pair.listener, 0, &none), "nothing that was sent is received");
	is_revoked_session(pair.session, &message);
	load_drop(&load);
	is_rc(rcOk, KnHandleClose(pair.session), "it is closed");
	must(KnHandleClose(pair.listener));
	must(DcmCloseHandle(pair.publication));
}

/* What was received before is answered in vain, and others of the listener are served. */
static void test_what_was_received(void)
{
	DcmMessage message, reply, none;
	DcmRequest held, request;
	struct pair pair;
	Handle other, callable;
	uint64_t call;

	pair_open(&pair);
	callable = pair.callable;
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, CALL_RIGHTS, NULL, pair.listener, 2,
					&pair.callable));
	other = pair_connect(&pair);
	message = must_loan(pair.session, 6);
	memcpy(message.data, "held!", 6);
	must(DcmStart(pair.session, &message, 0, &call));
	held = must_receive(pair.listener);
	must(DcmLoanReply(&held, 3, &reply));
	must(KnHandleRevoke(callable));
	is_string("held!", held.message.data, "a request that was received is still there");
	is_rc(rcNotConnected, DcmReply(&held, &reply), "it is answered in vain");
	is_rc(rcHandleRevoked, DcmFinish(pair.session, call, 0, NULL, &none),
	      "its caller learns why");
	message = must_loan(other, 1);
	must(DcmStart(other, &message, 0, &call));
	request = must_receive(pair.listener);
	must_reply(&request, "", 0, 0);
	is_rc(rcOk, DcmFinish(other, call, FOREVER_NS, NULL, NULL), "another session is served");
	is_rc(rcOk, KnHandleRevoke(pair.callable), "its callable handle is revoked");
	is_rc(rcHandleRevoked, DcmLoan(other, 1, 0, &none), "and so is it");
	must(KnHandleClose(other));
	must(KnHandleClose(pair.session));
	must(KnHandleClose(pair.listener));
	must(DcmCloseHandle(pair.publication));
}

/* A callable handle that is closed cannot revoke; what it was copied from can. */
static void test_way_up(void)
{
	struct pair pair;
	Handle top, session;
	DcmMessage none;

	pair_open(&pair);
	session = pair.session;
	must(KnHandleClose(pair.callable));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, CALL_RIGHTS, NULL, pair.listener, 2,
					&top));
	pair.callable = copy_of(top, OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, INVALID_HANDLE);
	pair.session = pair_connect(&pair);
	must(KnHandleClose(pair.callable));
	is_rc(rcOk, KnHandleRevoke(top), "what the callable handle was copied from");
	is_rc(rcHandleRevoked, DcmLoan(pair.session, 1, 0, &none), "the session is revoked");
	is_rc(rcOk, DcmLoan(session, 1, 0, &none), "one of a handle that is closed lives on");
	must(DcmRelease(&none));
	must(KnHandleClose(session));
	must(KnHandleClose(pair.session));
	must(KnHandleClose(pair.listener));
	must(DcmCloseHandle(pair.publication));
}

/* Between processes: the server tells its client, and its death afterwards changes nothing. */
static Handle session_with(struct peer *server, const char *name, uint64_t *callable,
			   DcmHandle *connection)
{
	struct peer_answer published = peer_must(server, PEER_PUBLISH, .type = TYPE, .name = name);
	struct peer_answer made = peer_must(server, PEER_CALLABLE, .other = 1), asked;
	Handle session = INVALID_HANDLE;

	must(DcmCreateConnection(TYPE, name, INVALID_HANDLE, INVALID_HANDLE, connection));
	if (DcmConnect(*connection, 0, &session) != rcTimeout)
		die("it does not wait");
	asked = peer_must(server, PEER_LISTEN, .handle = published.handle,
			  .timeout = INFINITE_TIMEOUT);
	peer_must(server, PEER_ACCEPT, .handle = asked.handle, .other = made.handle);
	*callable = made.handle;
	return session;
}

static void test_server_dies(enum blocking what, bool after)
{
	static struct load load;
	struct blocked waiting = { .what = what, .timeout_ms = -1 };
	struct peer server = peer_attached(NULL);
	uint64_t callable;
	DcmHandle connection;
	DcmMessage message, none;

	session_with(&server, after ? "after" : "before", &callable, &connection);
	must(DcmConnect(connection, INFINITE_TIMEOUT, &waiting.handle));
	must(DcmCloseHandle(connection));
	message = must_loan(waiting.handle, 8);
	load_for(&load, &waiting);
	blocked_go(&waiting);
	if (after)
		peer_must(&server, PEER_REVOKE, .handle = callable);
	peer_kill(&server);
	blocked_ends(&waiting, after ? rcHandleRevoked : rcNotConnected,
		     after ? "the server has revoked it, and died" : "the server died before");
	if (after)
		is_revoked_session(waiting.handle, &message);
	else
		is_rc(rcNotConnected, DcmLoan(waiting.handle, 1, 0, &none), "a loan then");
	must(DcmRelease(&message));
	load_drop(&load);
	must(KnHandleClose(waiting.handle));
}

/* Accepted, and revoked before the client has taken it: refused; and so when the server dies. */
static void test_not_fetched(bool dies)
{
	struct peer server = peer_attached(NULL);
	Handle session;
	uint64_t callable;
	DcmHandle connection;

	session_with(&server, "unfetched", &callable, &connection);
	peer_must(&server, PEER_REVOKE, .handle = callable);
	if (dies)
		peer_kill(&server);
	is_rc(rcNotConnected, DcmConnect(connection, INFINITE_TIMEOUT, &session),
	      dies ? "revoked before it was fetched, and dead" : "revoked before it was fetched");
	must(DcmCloseHandle(connection));
	if (!dies)
		peer_end(&server);
}

static bool no_channel(void *arg)
{
	return mapping_count("/memfd:dcm-channel") <= *(unsigned int *)arg;
}

/* The client is killed before and after; the server loses nothing by it. */
static void test_client_dies(bool after, const char *name)
{
	struct peer client = peer_attached(NULL);
	unsigned int before = mapping_count("/memfd:dcm-channel");
	DcmHandle publication, request;
	Handle listener, callable;
	struct peer_answer asked, session;
	DcmRequest none;

	must(KnHandleCreateListener(&listener));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, CALL_RIGHTS, NULL, listener, 1,
					&callable));
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, name, &publication));
	asked = peer_must(&client, PEER_CREATE, .type = TYPE, .name = name);
	peer_post(&client, PEER_CONNECT, .handle = asked.handle, .timeout = INFINITE_TIMEOUT);
	must(DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request));
	must(DcmAccept(request, callable, INVALID_HANDLE));
	must(DcmCloseHandle(request));
	session = peer_wait(&client);
	peer_post(&client, PEER_CALL, .handle = session.handle, .size = 100,
		  .timeout = INFINITE_TIMEOUT);
	peer_asleep(&client);
	if (!after)
		peer_kill(&client);
	is_rc(rcOk, KnHandleRevoke(callable), "revoked %s the client's death",
	      after ? "before" : "after");
	is_rc(rcTimeout, DcmReceive(listener, 0, &none), "its request is not received");
	if (after) {
		session = peer_wait(&client);
		is_answer(rcHandleRevoked, &session, "the client hears");
		peer_kill(&client);
	}
	ok(until(no_channel, &before), "nothing of the channel is left");
	must(KnHandleClose(listener));
	must(DcmCloseHandle(publication));
}

/* Of a listener, too, a blocked call is told that it was revoked, and not just closed. */
static void test_listener(bool bound)
{
	struct blocked blocked;
	struct pair pair;
	Handle listener;
	DcmMessage message;
	DcmRequest none;

	if (bound)
		pair_open(&pair);
	else
		must(KnHandleCreateListener(&pair.listener));
	listener = pair.listener;
	blocked_start(&blocked, BLOCK_RECEIVE, listener);
	is_rc(rcOk, KnHandleRevoke(listener), "a listener is revoked");
	blocked_ends(&blocked, rcHandleRevoked, "its listener was revoked");
	is_rc(rcInvalidArgument, DcmReceive(listener, 0, &none), "its number is closed");
	if (!bound)
		return;
	is_rc(rcNotConnected, DcmLoan(pair.session, 1, 0, &message), "its sessions have ended");
	must(KnHandleClose(pair.session));
	must(KnHandleClose(pair.callable));
	must(DcmCloseHandle(pair.publication));
}

int main(void)
{
	struct holdings before;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	must(DcmInit());
	test_tree();
	test_subtree();
	test_task();
	for (enum blocking what = 0; what < BLOCK_SESSIONS; what++)
		test_copies_of_session(what);
	for (enum blocking what = 0; what < BLOCK_SESSIONS; what++)
		test_session_revoked(what);
	test_what_was_received();
	test_way_up();
	for (enum blocking what = 0; what < BLOCK_SESSIONS; what++) {
		test_server_dies(what, false);
		test_server_dies(what, true);
	}
	test_not_fetched(false);
	test_not_fetched(true);
	test_client_dies(false, "client dies first");
	test_client_dies(true, "client dies then");
	test_listener(false);
	test_listener(true);
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
