/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The asynchronous connect: DcmConnect with timeout 0, DCM_CLIENT_RELEASED_BY_SERVER, DcmConnect
 * again. The event comes when the server has decided, and when nobody can decide any more; on a
 * session, EVENT_OBJECT_DESTROYED when the other side has ended the channel or is dead.
 */
#include <stdio.h>
#include <sys/syscall.h>

#include "tests/api/lib_event.h"
#include "tests/api/lib_peer.h"

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

#define TYPE	 "test.Event"
#define RELEASED DCM_CLIENT_RELEASED_BY_SERVER

static struct peer server;
static struct peer_answer publication, callable;
static Notice notice;
static unsigned int names;
static char name[32];

static void start_server(void)
{
	snprintf(name, sizeof name, "event-%u", names++);
	server = peer_attached("event-server");
	publication = peer_must(&server, PEER_PUBLISH, .type = TYPE, .name = name);
	callable = peer_must(&server, PEER_CALLABLE, .other = 1);
}

/* Asked, subscribed to, undecided. */
static DcmHandle ask_from(Handle who)
{
	DcmHandle connection;
	Handle session;

	must(DcmCreateConnection(TYPE, name, who, INVALID_HANDLE, &connection));
	is_rc(rcTimeout, DcmConnect(connection, 0, &session), "asks without waiting");
	must(DcmSubscribeToEvents(notice, connection, RELEASED, 5));
	event_is_not(notice, "undecided: no event");
	return connection;
}

static DcmHandle ask(void)
{
	return ask_from(INVALID_HANDLE);
}

static void test_accepted(void)
{
	struct peer_answer request;
	DcmHandle connection;
	Handle session, none;

	start_server();
	connection = ask();
	request = peer_must(&server, PEER_LISTEN, .handle = publication.handle);
	event_is_not(notice, "taken, not decided: no event");
	peer_must(&server, PEER_ACCEPT, .handle = request.handle, .other = callable.handle);
	event_comes(notice, 5, RELEASED, "accepted: an event");
	event_is_not(notice, "once");
	is_rc(rcOk, DcmConnect(connection, 0, &session), "and the session is there at once");
	event_is_not(notice, "which is no event");
	peer_must(&server, PEER_CLOSE, .handle = request.handle);
	is_rc(rcInvalidOperation, DcmConnect(connection, 0, &none), "there is no second one");
	must(KnHandleClose(session));
	must(DcmCloseHandle(connection));
	peer_kill(&server);
}

static void test_refused(void)
{
	struct peer_answer request;
	DcmHandle connection;
	Handle session;

	start_server();
	connection = ask();
	request = peer_must(&server, PEER_LISTEN, .handle = publication.handle);
	peer_must(&server, PEER_CLOSE, .handle = request.handle);
	event_comes(notice, 5, RELEASED, "refused: an event");
	is_rc(rcNotConnected, DcmConnect(connection, 0, &session), "and the call says so");
	event_is_not(notice, "which is no event");
	is_rc(rcTimeout, DcmConnect(connection, 0, &session), "asks anew");
	event_is_not(notice, "undecided: no event");
	request = peer_must(&server, PEER_LISTEN, .handle = publication.handle);
	peer_must(&server, PEER_ACCEPT, .handle = request.handle, .other = callable.handle);
	event_comes(notice, 5, RELEASED, "accepted now: an event");
	is_rc(rcOk, DcmConnect(connection, 0, &session), "and the session is there");
	must(KnHandleClose(session));
	must(DcmCloseHandle(connection));
	peer_kill(&server);
}

static void test_publication_closed(void)
{
	DcmHandle connection;
	Handle session;

	start_server();
	connection = ask();
	peer_must(&server, PEER_CLOSE, .handle = publication.handle);
	event_comes(notice, 5, RELEASED, "the publication is closed: an event");
	is_rc(rcNotConnected, DcmConnect(connection, 0, &session), "the request is refused");
	is_rc(rcTimeout, DcmConnect(connection, 0, &session), "asks anew, and is parked");
	event_is_not(notice, "nothing is published: no event");
	publication = peer_must(&server, PEER_PUBLISH, .type = TYPE, .name = name);
	event_is_not(notice, "published again, undecided: no event");
	peer_kill(&server);
	event_comes(notice, 5, RELEASED, "the server that has the request is killed: an event");
	is_rc(rcNotConnected, DcmConnect(connection, 0, &session), "the request is over");
	must(DcmCloseHandle(connection));
}

static void test_killed_with_request(bool taken)
{
	DcmHandle connection;
	Handle session;

	start_server();
	connection = ask();
	if (taken)
		peer_must(&server, PEER_LISTEN, .handle = publication.handle);
	peer_kill(&server);
	event_comes(notice, 5, RELEASED,
		    taken ? "killed with the request taken: an event"
			  : "killed with the request waiting: an event");
	is_rc(rcNotConnected, DcmConnect(connection, 0, &session), "the request is over");
	event_is_not(notice, "which is no event");
	must(DcmCloseHandle(connection));
}

/* Accepted, and then the other side goes before the session was fetched. */
static void test_gone_after_accept(bool killed)
{
	struct peer_answer request;
	DcmHandle connection;
	Handle session;

	start_server();
	connection = ask();
	request = peer_must(&server, PEER_LISTEN, .handle = publication.handle);
	peer_must(&server, PEER_ACCEPT, .handle = request.handle, .other = callable.handle);
	if (killed)
		peer_kill(&server);
	else
		peer_must(&server, PEER_KCLOSE, .handle = callable.other);
	event_comes(notice, 5, RELEASED, "accepted and gone: an event");
	is_rc(rcNotConnected, DcmConnect(connection, 0, &session), "there is no session any more");
	must(DcmCloseHandle(connection));
	if (!killed)
		peer_kill(&server);
}

/* The request waits, parked, for the one process that a handle names. */
static void test_named_server_killed(void)
{
	DcmHandle subscription, connection;
	Handle who, session;

	start_server();
	must(DcmSetSubscription(TYPE, name, NULL, INVALID_HANDLE, &subscription));
	must(DcmReadPubQueue(subscription, 20000, NULL, &who, NULL, NULL));
	must(DcmCloseHandle(subscription));
	peer_must(&server, PEER_CLOSE, .handle = publication.handle);
	connection = ask_from(who);
	peer_kill(&server);
	event_comes(notice, 5, RELEASED, "the server that alone could decide is killed: an event");
	is_rc(rcNotConnected, DcmConnect(connection, 0, &session), "nobody will ever decide");
	must(DcmCloseHandle(connection));
	must(KnHandleClose(who));
}

static void test_true_already(void)
{
	struct peer_answer request;
	DcmHandle connection;
	Handle session;

	start_server();
	must(DcmCreateConnection(TYPE, name, INVALID_HANDLE, INVALID_HANDLE, &connection));
	must(DcmSubscribeToEvents(notice, connection, RELEASED, 6));
	event_is_not(notice, "not asked yet: no event");
	is_rc(rcTimeout, DcmConnect(connection, 0, &session), "asks behind the subscription");
	request = peer_must(&server, PEER_LISTEN, .handle = publication.handle);
	peer_must(&server, PEER_CLOSE, .handle = request.handle);
	event_comes(notice, 6, RELEASED, "refused behind the subscription: an event");
	must(DcmUnsubscribeFromEvents(notice, connection));
	must(DcmSubscribeToEvents(notice, connection, RELEASED, 7));
	event_comes(notice, 7, RELEASED, "true already when subscribing: an event at once");
	must(DcmCloseHandle(connection));
	peer_kill(&server);
}

struct blocked {
	DcmHandle connection;
	Handle session;
	Retcode rc;
};

static void connect_and_wait(void *arg)
{
	struct blocked *b = arg;

	b->rc = DcmConnect(b->connection, INFINITE_TIMEOUT, &b->session);
}

/* The event is not lost although a blocked call hears of the decision first. */
static void test_beside_blocked_call(void)
{
	struct blocked b = { .rc = rcFail };
	struct task task;
	struct peer_answer request;

	start_server();
	must(DcmCreateConnection(TYPE, name, INVALID_HANDLE, INVALID_HANDLE, &b.connection));
	must(DcmSubscribeToEvents(notice, b.connection, RELEASED | DCM_BLOCKING_CALL_INTERRUPTED,
				  8));
	task_start(&task, connect_and_wait, &b);
	task_asleep(&task);
	must(DcmInterruptBlockingCall(b.connection));
	event_comes(notice, 8, DCM_BLOCKING_CALL_INTERRUPTED, "interrupted: an event");
	task_join(&task);
	is_rc(rcIpcInterrupt, b.rc, "and the end of the call");
	task_start(&task, connect_and_wait, &b);
	task_asleep(&task);
	request = peer_must(&server, PEER_LISTEN, .handle = publication.handle);
	peer_must(&server, PEER_ACCEPT, .handle = request.handle, .other = callable.handle);
	event_comes(notice, 8, RELEASED, "accepted while a call is blocked: an event");
	task_join(&task);
	is_rc(rcOk, b.rc, "and the call has the session");
	must(KnHandleClose(b.session));
	must(DcmCloseHandle(b.connection));
	peer_kill(&server);
}

static Handle session_of_server(void)
{
	struct peer_answer request;
	DcmHandle connection;
	Handle session;

	start_server();
	connection = ask();
	request = peer_must(&server, PEER_LISTEN, .handle = publication.handle);
	peer_must(&server, PEER_ACCEPT, .handle = request.handle, .other = callable.handle);
	event_comes(notice, 5, RELEASED, "accepted, for a session: an event");
	must(DcmConnect(connection, 0, &session));
	must(DcmCloseHandle(connection));
	return session;
}

static void test_session_ends(bool killed)
{
	Handle session = session_of_server();

	must(KnNoticeSubscribeToObject(notice, session, EVENT_OBJECT_DESTROYED, 9));
	event_is_not(notice, "the session is open: no event");
	if (killed)
		peer_kill(&server);
	else
		peer_must(&server, PEER_KCLOSE, .handle = callable.other);
	event_comes(notice, 9, EVENT_OBJECT_DESTROYED,
		    killed ? "its server is killed: an event" : "its listener is closed: an event");
	event_is_not(notice, "once");
	must(KnHandleClose(session));
	if (!killed)
		peer_kill(&server);
}

/*
 * The socket is what is left to hand the channel over by, which a client finds out when it is accepted:
 * its call says rcTimeout then, as a rule, and is told again.
 */
static void test_last_way(void)
{
	struct peer_answer request;
	DcmHandle connection;
	Handle session;
	Retcode rc;
	int fd;

	if (deny_system_call(SYS_pidfd_getfd, true) < 0 || deny_open_at(true) < 0) {
		skip("no system call filter can be installed here");
		return;
	}
	start_server();
	connection = ask();
	fd = fd_of(connection);
	request = peer_must(&server, PEER_LISTEN, .handle = publication.handle);
	peer_must(&server, PEER_ACCEPT, .handle = request.handle, .other = callable.handle);
	event_comes(notice, 5, RELEASED, "accepted, and to be fetched by the last way: an event");
	fd_becomes_readable(fd, "and the descriptor tells");
	rc = DcmConnect(connection, 0, &session);
	if (rc == rcTimeout) {
		event_comes(notice, 5, RELEASED, "it has come: an event again");
		fd_becomes_readable(fd, "and the descriptor tells again");
		rc = DcmConnect(connection, 0, &session);
	} else {
		skip_block(2, "it has come while it was asked for");
	}
	is_rc(rcOk, rc, "here it is");
	event_is_not(notice, "which is no event");
	fd_is_silent(fd, "and nothing to tell of");
	must(KnHandleClose(session));
	must(DcmCloseHandle(connection));
	peer_kill(&server);
}

int main(void)
{
	plan_lazy();
	tap_watchdog(120);
	tap_fabric_dir();
	must(DcmInit());
	notice = new_notice();
	test_accepted();
	test_refused();
	test_publication_closed();
	test_killed_with_request(false);
	test_killed_with_request(true);
	test_gone_after_accept(false);
	test_gone_after_accept(true);
	test_named_server_killed();
	test_true_already();
	test_beside_blocked_call();
	test_session_ends(false);
	test_session_ends(true);
	test_last_way(); /* for good */
	must(KnNoticeRelease(notice));
	DcmFini();
	return 0;
}
