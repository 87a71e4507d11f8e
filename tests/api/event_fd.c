/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Descriptors of subscriptions, publications, connections, listeners and sessions, in poll() and
 * epoll: readable when a call would return something, deaths and interruptions included; silent again
 * after the call that finds nothing; readable for the last time when the handle is closed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tests/api/lib_event.h"
#include "tests/api/lib_peer.h"

#define TYPE "test.Fd"

static struct peer peer;

/* Both ways of waiting, of one descriptor. */
static int comes(int fd, const char *what)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = epoll_create1(EPOLL_CLOEXEC), good = fd_becomes_readable(fd, what);

	epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
	is_int(1, epoll_wait(epoll, &event, 1, 20000), "  in epoll too");
	close(epoll);
	return good;
}

static void test_subscription(void)
{
	DcmHandle subscription;
	struct peer_answer x;
	int fd, again;

	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &subscription));
	fd = fd_of(subscription);
	is_int(FD_CLOEXEC, fcntl(fd, F_GETFD), "closed by execve");
	ok((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0, "and never blocks");
	must(DcmGetFd(subscription, &again));
	is_int(fd, again, "the same each time");
	fd_is_silent(fd, "subscription: nothing is published");
	x = peer_must(&peer, PEER_PUBLISH, .type = TYPE, .name = "s");
	comes(fd, "published");
	is_rc(rcOk, DcmReadPubQueue(subscription, 0, NULL, NULL, NULL, NULL), "it is read");
	is_rc(rcTimeout, DcmReadPubQueue(subscription, 0, NULL, NULL, NULL, NULL), "that was all");
	fd_is_silent(fd, "and the descriptor is silent");
	peer_must(&peer, PEER_CLOSE, .handle = x.handle);
	comes(fd, "withdrawn");
	is_rc(rcOk, DcmReadPubQueue(subscription, 0, NULL, NULL, NULL, NULL), "it is read");
	is_rc(rcTimeout, DcmReadPubQueue(subscription, 0, NULL, NULL, NULL, NULL), "that was all");
	fd_is_silent(fd, "and the descriptor is silent");
	must(DcmInterruptBlockingCall(subscription));
	comes(fd, "interrupted");
	is_rc(rcIpcInterrupt, DcmReadPubQueue(subscription, 20000, NULL, NULL, NULL, NULL),
	      "a call that would block says so");
	is_rc(rcTimeout, DcmReadPubQueue(subscription, 0, NULL, NULL, NULL, NULL), "once");
	fd_is_silent(fd, "and the descriptor is silent");
	must(DcmCloseHandle(subscription));
	is_int(-1, fcntl(fd, F_GETFD), "it is gone with its handle");
	is_rc(rcInvalidArgument, DcmGetFd(subscription, &again), "for ever");
}

static void test_publication(void)
{
	struct peer client = peer_attached("fd-client");
	struct peer_answer connection;
	DcmHandle publication, request;
	int fd;

	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "p", &publication));
	fd = fd_of(publication);
	fd_is_silent(fd, "publication: nobody asks");
	connection = peer_must(&client, PEER_CREATE, .type = TYPE, .name = "p");
	peer_do(&client, PEER_CONNECT, .handle = connection.handle);
	comes(fd, "a client asks");
	is_rc(rcOk, DcmListen(publication, 0, NULL, NULL, &request), "its request is taken");
	must(DcmCloseHandle(request));
	is_rc(rcTimeout, DcmListen(publication, 0, NULL, NULL, &request), "there is no other");
	fd_is_silent(fd, "and the descriptor is silent");
	is_int(rcNotConnected, peer_do(&client, PEER_CONNECT, .handle = connection.handle).rc,
	       "the client is refused");
	peer_do(&client, PEER_CONNECT, .handle = connection.handle);
	comes(fd, "and asks again");
	peer_kill(&client);
	is_rc(rcTimeout, DcmListen(publication, 0, NULL, NULL, &request), "dead, it is not taken");
	fd_is_silent(fd, "and the descriptor is silent");
	must(DcmInterruptBlockingCall(publication));
	comes(fd, "interrupted");
	must(DcmCloseHandle(publication));
}

static struct peer_answer offer(const char *name, struct peer_answer *callable)
{
	*callable = peer_must(&peer, PEER_CALLABLE, .other = 1);
	return peer_must(&peer, PEER_PUBLISH, .type = TYPE, .name = name);
}

static void accept_one(struct peer_answer publication, struct peer_answer callable)
{
	struct peer_answer request =
		peer_must(&peer, PEER_LISTEN, .handle = publication.handle, .timeout = 20000);

	peer_must(&peer, PEER_ACCEPT, .handle = request.handle, .other = callable.handle);
	peer_must(&peer, PEER_CLOSE, .handle = request.handle);
}

static Handle connect_by_fd(const char *name, struct peer_answer publication,
			    struct peer_answer callable)
{
	DcmHandle connection;
	Handle session;
	int fd;

	must(DcmCreateConnection(TYPE, name, INVALID_HANDLE, INVALID_HANDLE, &connection));
	fd = fd_of(connection);
	fd_is_silent(fd, "connection: not asked");
	is_rc(rcTimeout, DcmConnect(connection, 0, &session), "asks without waiting");
	fd_is_silent(fd, "undecided");
	accept_one(publication, callable);
	comes(fd, "accepted");
	is_rc(rcOk, DcmConnect(connection, 0, &session), "and the session is there");
	fd_is_silent(fd, "there is no more to come");
	must(DcmCloseHandle(connection));
	return session;
}

static void test_refusal(void)
{
	struct peer_answer callable, publication = offer("r", &callable);
	DcmHandle connection;
	Handle session;
	int fd;

	must(DcmCreateConnection(TYPE, "r", INVALID_HANDLE, INVALID_HANDLE, &connection));
	fd = fd_of(connection);
	is_rc(rcTimeout, DcmConnect(connection, 0, &session), "asks without waiting");
	peer_must(&peer, PEER_CLOSE, .handle = publication.handle);
	comes(fd, "the publication is closed");
	is_rc(rcNotConnected, DcmConnect(connection, 0, &session), "refused");
	fd_is_silent(fd, "of which the descriptor has told");
	is_rc(rcTimeout, DcmConnect(connection, 0, &session), "asks anew");
	fd_is_silent(fd, "and the descriptor is silent");
	must(DcmInterruptBlockingCall(connection));
	comes(fd, "interrupted");
	is_rc(rcTimeout, DcmConnect(connection, 0, &session), "of which a call does not tell");
	fd_is_silent(fd, "and the descriptor is silent");
	must(DcmCloseHandle(connection));
}

static uint64_t start(Handle session)
{
	DcmMessage request = must_loan(session, 100);
	uint64_t call;

	must(DcmStart(session, &request, FOREVER_NS, &call));
	return call;
}

static void test_session(void)
{
	struct peer_answer callable, publication = offer("c", &callable), first, second;
	Handle session = connect_by_fd("c", publication, callable);
	int fd = fd_of(session);
	uint64_t a, b, done;
	DcmMessage reply;

	fd_is_silent(fd, "session: no call is started");
	a = start(session);
	b = start(session);
	fd_is_silent(fd, "two are, and not answered");
	first = peer_must(&peer, PEER_RECEIVE, .handle = callable.other, .timeout = 20000);
	second = peer_must(&peer, PEER_RECEIVE, .handle = callable.other, .timeout = 20000);
	fd_is_silent(fd, "received");
	peer_must(&peer, PEER_REPLY, .other = first.other);
	comes(fd, "the first is answered");
	is_rc(rcTimeout, DcmFinish(session, b, 0, NULL, &reply), "the second cannot be finished");
	comes(fd, "of the first the descriptor goes on to tell");
	is_rc(rcOk, DcmFinish(session, DCM_ANY_CALL, 0, &done, &reply), "which is finished");
	ok(done == a, "it is the first");
	must(DcmRelease(&reply));
	is_rc(rcTimeout, DcmFinish(session, DCM_ANY_CALL, 0, &done, &reply), "no other is");
	fd_is_silent(fd, "and the descriptor is silent");
	peer_must(&peer, PEER_RELEASE, .other = second.other);
	comes(fd, "the second is released unanswered");
	is_rc(rcNotConnected, DcmFinish(session, b, 0, NULL, &reply), "which the call says");
	is_rc(rcResourceNotFound, DcmFinish(session, DCM_ANY_CALL, 0, &done, &reply), "none left");
	fd_is_silent(fd, "and the descriptor is silent");
	must(DcmInterruptCall(session));
	comes(fd, "interrupted");
	must(KnHandleClose(session));
	is_int(-1, fcntl(fd, F_GETFD), "it is gone with its handle");
}

static void test_session_of_the_dead(void)
{
	struct peer_answer callable, publication = offer("d", &callable);
	Handle session = connect_by_fd("d", publication, callable);
	int fd = fd_of(session);
	DcmMessage reply;
	uint64_t call = start(session);

	fd_is_silent(fd, "session: a call is started");
	peer_kill(&peer);
	comes(fd, "its server is killed");
	is_rc(rcNotConnected, DcmFinish(session, call, 0, NULL, &reply), "which the call says");
	must(KnHandleClose(session));
	peer = peer_attached("fd-peer");
}

static void test_listener(void)
{
	struct peer client = peer_attached("fd-caller");
	struct peer_answer connection, session;
	DcmHandle publication, request;
	Handle listener, callable;
	DcmRequest call;
	int fd;

	must(KnHandleCreateListener(&listener));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener, 3,
					&callable));
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "l", &publication));
	fd = fd_of(listener);
	fd_is_silent(fd, "listener: nothing is accepted");
	connection = peer_must(&client, PEER_CREATE, .type = TYPE, .name = "l");
	peer_post(&client, PEER_CONNECT, .handle = connection.handle, .timeout = 20000);
	must(DcmListen(publication, 20000, NULL, NULL, &request));
	must(DcmAccept(request, callable, INVALID_HANDLE));
	must(DcmCloseHandle(request));
	session = peer_wait(&client);
	is_answer(rcOk, &session, "a client is connected");
	fd_is_silent(fd, "and has not called");
	for (int i = 0; i < 3; i++) {
		peer_post(&client, PEER_CALL, .handle = session.handle, .size = 64,
			  .timeout = 20000, .seed = 1);
		comes(fd, "it calls");
		is_rc(rcOk, DcmReceive(listener, 0, &call), "the call is received");
		must_reply(&call, call.message.data, call.message.size, 0);
		is_int(rcOk, peer_wait(&client).rc, "and answered");
		is_rc(rcTimeout, DcmReceive(listener, 0, &call), "there is no other");
		fd_is_silent(fd, "and the descriptor is silent");
	}
	must(DcmInterruptCall(listener));
	comes(fd, "interrupted");
	is_rc(rcIpcInterrupt, DcmReceive(listener, FOREVER_NS, &call), "which a call says");
	is_rc(rcTimeout, DcmReceive(listener, 0, &call), "once");
	fd_is_silent(fd, "and the descriptor is silent");
	peer_kill(&client);
	must(DcmCloseHandle(publication));
	must(KnHandleClose(callable));
	must(KnHandleClose(listener));
	is_int(-1, fcntl(fd, F_GETFD), "it is gone with its handle");
}

static void poll_it(void *arg)
{
	struct pollfd on = { .fd = *(int *)arg, .events = POLLIN };

	*(int *)arg = poll(&on, 1, 20000);
}

static void test_close_while_polled(void)
{
	DcmHandle subscription;
	struct task task;
	int fd;

	must(DcmSetSubscription(TYPE ".None", NULL, NULL, INVALID_HANDLE, &subscription));
	fd = fd_of(subscription);
	task_start(&task, poll_it, &fd);
	pause_ms(20);
	must(DcmCloseHandle(subscription));
	task_join(&task);
	is_int(1, fd, "closed while it is polled: the poll ends");
}

static void test_without(void)
{
	DcmHandle publication, request;
	struct peer_answer connection;
	int fd;

	is_rc(rcInvalidArgument, DcmGetFd(KosTaskGetHandle(KosTaskGetSelf()), &fd),
	      "the process's own handle has none");
	is_rc(rcInvalidArgument, DcmGetFd(12345, &fd), "nor has what is no handle");
	is_rc(rcInvalidArgument, DcmGetFd(INVALID_HANDLE, NULL), "nowhere to put it");
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "w", &publication));
	connection = peer_must(&peer, PEER_CREATE, .type = TYPE, .name = "w");
	peer_do(&peer, PEER_CONNECT, .handle = connection.handle);
	must(DcmListen(publication, 20000, NULL, NULL, &request));
	is_rc(rcInvalidArgument, DcmGetFd(request, &fd), "a request has none");
	must(DcmCloseHandle(request));
	must(DcmCloseHandle(publication));
}

int main(void)
{
	plan_lazy();
	tap_watchdog(120);
	tap_fabric_dir();
	must(DcmInit());
	peer = peer_attached("fd-peer");
	test_subscription();
	test_publication();
	test_refusal();
	test_session();
	test_session_of_the_dead();
	test_listener();
	test_close_while_polled();
	test_without();
	peer_end(&peer);
	DcmFini();
	return 0;
}
