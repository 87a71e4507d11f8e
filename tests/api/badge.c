/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * Badges: the context of each transfer on its requests, and word when the last descendant is closed,
 * revoked or dead, not before and not twice.
 */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <string.h>

#include "tests/api/lib_api.h"
#include "tests/api/lib_peer.h"

#define TYPE "badge.Type"

enum { WAIT_MS = 20 * 1000 };
enum { CALL_RIGHTS = OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER | OCAP_HANDLE_COPY };

static Notice notice;
static Handle listener, callable;
static DcmHandle publication;
static int contexts[16];

static Handle badge_with(unsigned id)
{
	Handle badge;

	must(KnHandleCreateBadge(notice, id, &contexts[id], &badge));
	return badge;
}

/* These come next, however long it takes: in one event, or in one each. */
static void comes(unsigned id, uint32_t mask, const char *why)
{
	EventDesc event = { id, 0 };
	uint32_t seen = 0;
	size_t count = 0;
	Retcode rc = rcOk;

	while (rc == rcOk && event.eventId == id && (seen & mask) != mask) {
		rc = KnNoticeGetEvent(notice, WAIT_MS, 1, &event, &count);
		seen |= event.eventMask;
	}
	is_rc(rcOk, rc, "%s", why);
	ok(event.eventId == id && seen == mask, "event %#x of badge %u: %#x of %u", mask, id, seen,
	   (unsigned int)event.eventId);
}

static void nothing_comes(const char *why)
{
	EventDesc event = { 0, 0 };
	size_t count;
	Retcode rc = KnNoticeGetEvent(notice, 0, 1, &event, &count);

	is_rc(rcTimeout, rc, "no event: %s", why);
	if (rc == rcOk)
		diag("  event %#x of %u", event.eventMask, (unsigned int)event.eventId);
}

static void serve(void)
{
	must(KnHandleCreateListener(&listener));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, CALL_RIGHTS, PAIR_CONTEXT, listener,
					1, &callable));
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "e", &publication));
}

static void serve_no_more(void)
{
	if (callable != INVALID_HANDLE)
		must(KnHandleClose(callable));
	if (listener != INVALID_HANDLE)
		must(KnHandleClose(listener));
	must(DcmCloseHandle(publication));
}

/* The client's session, accepted under the badge. */
static Handle connect_peer(struct peer *client, Handle badge)
{
	struct peer_answer made = peer_must(client, PEER_CREATE, .type = TYPE, .name = "e");
	DcmHandle request;

	peer_post(client, PEER_CONNECT, .handle = made.handle, .timeout = INFINITE_TIMEOUT);
	must(DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request));
	must(DcmAccept(request, callable, badge));
	must(DcmCloseHandle(request));
	return peer_wait(client).handle;
}

/* One call of the client's, as the server sees it. */
static void calls(struct peer *client, Handle session, void *context, const char *what)
{
	struct peer_answer answer;
	DcmRequest request;
	DcmMessage reply;

	peer_post(client, PEER_CALL, .handle = session, .size = 8, .seed = 3,
		  .timeout = INFINITE_TIMEOUT);
	request = must_receive(listener);
	ok(request.badgeContext == context && request.context == PAIR_CONTEXT, "the context of %s",
	   what);
	must(DcmLoanReply(&request, 8, &reply));
	memcpy(reply.data, request.message.data, 8);
	must(DcmReply(&request, &reply));
	answer = peer_wait(client);
	is_answer(rcOk, &answer, "a call of %s", what);
}

static void test_context(void)
{
	struct peer client = peer_attached(NULL);
	Handle badges[2] = { badge_with(1), badge_with(2) }, sessions[3];

	serve();
	sessions[0] = connect_peer(&client, badges[0]);
	sessions[1] = connect_peer(&client, badges[1]);
	sessions[2] = connect_peer(&client, INVALID_HANDLE);
	calls(&client, sessions[0], &contexts[1], "the first badge");
	calls(&client, sessions[1], &contexts[2], "the second badge");
	calls(&client, sessions[2], NULL, "no badge");
	must(KnHandleClose(badges[1]));
	calls(&client, sessions[1], &contexts[2], "a badge that is closed since");
	nothing_comes("descendants are left");
	peer_must(&client, PEER_KCLOSE, .handle = sessions[1]);
	comes(2, EVENT_BADGE_CLOSED | EVENT_OBJECT_DESTROYED, "and its last session is closed");
	peer_must(&client, PEER_KCLOSE, .handle = sessions[0]);
	comes(1, EVENT_BADGE_CLOSED, "the session of the first is closed");
	must(KnHandleClose(badges[0]));
	comes(1, EVENT_OBJECT_DESTROYED, "the first badge is closed, too");
	peer_end(&client);
	serve_no_more();
}

static void test_bad_badges(void)
{
	Handle badge = badge_with(1), none;
	struct peer client = peer_attached(NULL);
	struct peer_answer made;
	DcmHandle request;

	serve();
	is_rc(rcInvalidArgument, KnHandleCreateBadge(notice, 1, NULL, NULL), "nowhere to put it");
	is_rc(rcInvalidArgument, KnHandleCreateBadge(5, 1, NULL, &none), "no such notice");
	is_uint(INVALID_HANDLE, none, "gives no badge");
	made = peer_must(&client, PEER_CREATE, .type = TYPE, .name = "e");
	peer_post(&client, PEER_CONNECT, .handle = made.handle, .timeout = INFINITE_TIMEOUT);
	must(DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request));
	is_rc(rcInvalidArgument, DcmAccept(request, callable, callable), "a badge that is none");
	must(KnHandleClose(badge));
	comes(1, EVENT_OBJECT_DESTROYED, "a badge that was never used is closed");
	is_rc(rcInvalidArgument, DcmAccept(request, callable, badge), "a badge that is closed");
	is_rc(rcOk, DcmAccept(request, callable, INVALID_HANDLE), "none");
	must(DcmCloseHandle(request));
	peer_wait(&client);
	peer_end(&client);
	serve_no_more();
}

/* Several transfers under one badge: the event comes with the last, and again. */
static void test_last(void)
{
	struct peer one = peer_attached(NULL), two = peer_attached(NULL);
	Handle badge = badge_with(3), a, b, copy;

	serve();
	a = connect_peer(&one, badge);
	b = connect_peer(&two, badge);
	copy = peer_must(&one, PEER_COPY, .handle = a, .other = OCAP_IPC_CALL).handle;
	peer_must(&one, PEER_KCLOSE, .handle = a);
	calls(&one, copy, &contexts[3], "a copy of the session");
	peer_must(&two, PEER_KCLOSE, .handle = b);
	nothing_comes("a copy is left");
	peer_must(&one, PEER_KCLOSE, .handle = copy);
	comes(3, EVENT_BADGE_CLOSED, "the last copy is closed");
	a = connect_peer(&one, badge);
	calls(&one, a, &contexts[3], "the badge, used again");
	nothing_comes("it is in use");
	peer_must(&one, PEER_REVOKE, .handle = a);
	comes(3, EVENT_BADGE_CLOSED,
	      "the client revokes its session, its own and last handle on it");
	must(KnHandleClose(badge));
	comes(3, EVENT_OBJECT_DESTROYED, "the badge is closed");
	peer_end(&one);
	peer_end(&two);
	serve_no_more();
}

/* What ends all: each way once. */
enum end { KILLED, EXECS, LEAVES, REVOKED, SUBTREE, LISTENER, ENDS };

static void end_it(enum end how, struct peer *client, Handle badge)
{
	switch (how) {
	case KILLED:
		peer_kill(client);
		break;
	case EXECS:
		peer_post(client, PEER_EXEC);
		break;
	case LEAVES:
		peer_end(client);
		break;
	case REVOKED:
		must(KnHandleRevoke(callable));
		callable = INVALID_HANDLE;
		break;
	case SUBTREE:
		must(KnHandleRevokeSubtree(callable, badge));
		break;
	default:
		must(KnHandleClose(listener));
		listener = INVALID_HANDLE;
		break;
	}
}

static void test_end(enum end how)
{
	static const char *const names[ENDS] = { "the client is killed",
						 "it becomes another program",
						 "it exits",
						 "the callable handle is revoked",
						 "what was given under the badge is revoked",
						 "the listener is closed" };
	struct peer client = peer_attached(NULL);
	Handle badge = badge_with(4), session;

	serve();
	session = connect_peer(&client, badge);
	peer_must(&client, PEER_COPY, .handle = session, .other = OCAP_IPC_CALL);
	calls(&client, session, &contexts[4], "a client");
	nothing_comes("all is there");
	end_it(how, &client, badge);
	comes(4, EVENT_BADGE_CLOSED, names[how]);
	nothing_comes("it came once");
	must(KnHandleClose(badge));
	comes(4, EVENT_OBJECT_DESTROYED, "the badge is closed");
	if (how == EXECS)
		peer_kill(&client);
	else if (how >= REVOKED)
		peer_end(&client);
	serve_no_more();
}

/* Killed at each stage from the request to the first call. */
enum stage { TAKEN, ACCEPTED, OPEN, CALLING, STAGES };

static bool offered(struct peer *client, DcmHandle request, Handle badge, enum stage at)
{
	Retcode rc;

	if (at <= TAKEN)
		peer_kill(client);
	rc = DcmAccept(request, callable, badge);
	ok(rc == rcOk || (at <= TAKEN && rc == rcNotConnected),
	   "killed at stage %d: accept says %s", at, RetcodeName(rc));
	return rc == rcOk;
}

static void test_killed_at(enum stage at)
{
	struct peer client = peer_attached(NULL);
	struct peer_answer made = peer_must(&client, PEER_CREATE, .type = TYPE, .name = "e");
	Handle badge = badge_with(5);
	DcmHandle request;
	DcmRequest none;
	bool given;

	serve();
	peer_post(&client, PEER_CONNECT, .handle = made.handle,
		  .timeout = at == ACCEPTED ? 0 : INFINITE_TIMEOUT);
	must(DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request));
	given = offered(&client, request, badge, at);
	if (at > TAKEN)
		made = peer_wait(&client);
	if (at == CALLING) {
		peer_post(&client, PEER_CALL, .handle = made.handle, .size = 8,
			  .timeout = INFINITE_TIMEOUT);
		peer_asleep(&client);
	}
	if (at > TAKEN)
		peer_kill(&client);
	if (given)
		comes(5, EVENT_BADGE_CLOSED, "and dead");
	nothing_comes(given ? "it came once" : "nothing was given");
	is_rc(rcTimeout, DcmReceive(listener, 0, &none),
	      "behind the event no request of the dead is received");
	must(DcmCloseHandle(request));
	must(KnHandleClose(badge));
	comes(5, EVENT_OBJECT_DESTROYED, "the badge is closed");
	serve_no_more();
}

/* What a client sent before it closed its session comes before the event. */
static void test_order(void)
{
	struct peer client = peer_attached(NULL);
	Handle badge = badge_with(6), session;
	struct peer_answer loan;
	DcmRequest request;

	serve();
	session = connect_peer(&client, badge);
	loan = peer_must(&client, PEER_LOAN, .handle = session, .size = 8);
	peer_must(&client, PEER_SEND, .handle = session, .other = loan.other);
	peer_must(&client, PEER_KCLOSE, .handle = session);
	pause_ms(50);
	nothing_comes("its message is to be received yet");
	request = must_receive(listener);
	ok(request.badgeContext == &contexts[6], "it is received, with its context");
	comes(6, EVENT_BADGE_CLOSED, "then the session is closed");
	must(DcmRelease(&request.message));
	must(KnHandleClose(badge));
	comes(6, EVENT_OBJECT_DESTROYED, "the badge is closed");
	peer_end(&client);
	serve_no_more();
}

/* Copies in this process count as transfers do. */
static void test_copies(void)
{
	uint32_t rights = OCAP_HANDLE_COPY | OCAP_HANDLE_GET_SID;
	Handle outer = badge_with(7), inner = badge_with(8), top, a, b, c;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, rights, NULL, &top));
	must(KnHandleCopy(top, rights, outer, &a));
	must(KnHandleCopy(a, rights, inner, &b));
	must(KnHandleCopy(b, rights, INVALID_HANDLE, &c));
	must(KnHandleClose(a));
	nothing_comes("what was copied on is left");
	must(KnHandleClose(b));
	nothing_comes("and on");
	must(KnHandleRevokeSubtree(top, inner));
	comes(8, EVENT_BADGE_CLOSED, "the inner subtree is revoked");
	comes(7, EVENT_BADGE_CLOSED, "which was the last of the outer one");
	must(KnHandleClose(c));
	nothing_comes("a revoked number is closed");
	must(KnHandleClose(inner));
	comes(8, EVENT_OBJECT_DESTROYED, "the inner badge is closed");
	must(KnHandleClose(outer));
	comes(7, EVENT_OBJECT_DESTROYED, "the outer badge is closed");
	must(KnHandleClose(top));
}

int main(void)
{
	struct holdings before;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	must(DcmInit());
	must(KnNoticeCreate(&notice));
	test_context();
	test_bad_badges();
	test_last();
	for (enum end how = 0; how < ENDS; how++)
		test_end(how);
	for (enum stage at = TAKEN; at < STAGES; at++)
		test_killed_at(at);
	test_order();
	test_copies();
	must(KnNoticeRelease(notice));
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
