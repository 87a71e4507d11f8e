/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* Copies of handles of every kind: what they share, and that a resource ends with the last. */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/api/lib_api.h"
#include "tests/api/lib_blocked.h"
#include "tests/api/lib_peer.h"

enum { SESSION_RIGHTS = OCAP_IPC_CALL | OCAP_HANDLE_COPY | OCAP_HANDLE_GET_EVENT };

static Handle copy_of(Handle handle, uint32_t rights)
{
	Handle copy;

	must(KnHandleCopy(handle, rights, INVALID_HANDLE, &copy));
	return copy;
}

static bool works(Handle session, Handle listener)
{
	DcmMessage message, reply;
	DcmRequest request;
	uint64_t call;
	bool same;

	if (DcmLoan(session, 5, FOREVER_NS, &message) != rcOk)
		return false;
	memcpy(message.data, "ping", 5);
	must(DcmStart(session, &message, FOREVER_NS, &call));
	request = must_receive(listener);
	must_reply(&request, "pong", 5, 0);
	must(DcmFinish(session, call, FOREVER_NS, NULL, &reply));
	same = strcmp(reply.data, "pong") == 0;
	must(DcmRelease(&reply));
	return same;
}

static bool no_channel(void *arg)
{
	return mapping_count("/memfd:dcm-channel") <= *(unsigned int *)arg;
}

/* Any order of closing; the one that the client was given need not be the last. */
static void test_last_of_session(unsigned last)
{
	unsigned int before = mapping_count("/memfd:dcm-channel");
	DcmMessage none;
	struct pair pair;
	Handle all[3];

	pair_open(&pair);
	all[0] = pair.session;
	all[1] = copy_of(all[0], SESSION_RIGHTS);
	all[2] = copy_of(all[1], OCAP_IPC_CALL);
	for (unsigned i = 0; i < 3; i++)
		ok(works(all[i], pair.listener), "handle %u of the session works", i);
	for (unsigned i = 0; i < 3; i++)
		if (i != last)
			must(KnHandleClose(all[i]));
	ok(works(all[last], pair.listener), "handle %u works when the others are closed", last);
	is_rc(rcInvalidArgument, DcmLoan(all[(last + 1) % 3], 1, 0, &none), "a closed one");
	must(KnHandleClose(all[last]));
	ok(until(no_channel, &before), "with the last, the channel ends on both sides");
	must(KnHandleClose(pair.callable));
	must(KnHandleClose(pair.listener));
	must(DcmCloseHandle(pair.publication));
}

/* One channel: its messages and calls are not of one handle. */
static void test_shared(void)
{
	DcmMessage message, reply;
	DcmRequest request;
	struct pair pair;
	uint64_t call, any;
	Handle copy;

	pair_open(&pair);
	copy = copy_of(pair.session, OCAP_IPC_CALL);
	message = must_loan(copy, 10);
	is_rc(rcOk, DcmStart(pair.session, &message, 0, &call), "loaned by one, sent by the other");
	request = must_receive(pair.listener);
	must_reply(&request, "", 0, 3);
	is_rc(rcOk, DcmFinish(copy, call, FOREVER_NS, &any, &reply),
	      "started by it, finished by the one");
	is_int(3, reply.status, "with the reply");
	must(KnHandleClose(copy));
	is_rc(rcOk, DcmRelease(&reply), "released when that one is closed");
	pair_close(&pair);
}

/* A call that is blocked through one handle ends with that handle, and no other call with it. */
static void test_blocked(enum blocking what)
{
	static struct load load;
	struct blocked through_copy = { .what = what, .timeout_ms = -1 };
	struct blocked through_other = { .what = what, .timeout_ms = -1 };
	struct pair pair;
	Handle copy;

	pair_open(&pair);
	copy = copy_of(pair.session, SESSION_RIGHTS);
	through_copy.handle = pair.session;
	load_for(&load, &through_copy);
	through_other = through_copy;
	through_copy.handle = copy;
	blocked_go(&through_copy);
	must(KnHandleClose(copy));
	blocked_ends(&through_copy, rcNotConnected, "its handle is closed");
	ok(what == BLOCK_FINISH || what == BLOCK_FINISH_ANY || through_copy.message.data == NULL,
	   "its message is consumed");
	if (what == BLOCK_FINISH || what == BLOCK_FINISH_ANY || what == BLOCK_LOAN) {
		blocked_go(&through_other);
		is_rc(rcOk, DcmInterruptCall(pair.session),
		      "the same call goes on through the other");
		blocked_ends(&through_other, rcIpcInterrupt, "until it is interrupted");
	}
	load_drop(&load);
	pair_close(&pair);
}

static void test_callable(void)
{
	DcmHandle connection, request;
	DcmMessage message;
	DcmRequest received;
	struct pair pair;
	Handle copy, session;

	pair_open(&pair);
	must(KnHandleClose(pair.callable));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER | OCAP_HANDLE_COPY,
					&pair, pair.listener, 5, &pair.callable));
	copy = copy_of(pair.callable, OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER);
	must(KnHandleClose(pair.callable));
	must(DcmCreateConnection(PAIR_TYPE, pair.name, INVALID_HANDLE, INVALID_HANDLE,
				 &connection));
	if (DcmConnect(connection, 0, &session) != rcTimeout)
		die("it does not wait");
	must(DcmListen(pair.publication, INFINITE_TIMEOUT, NULL, NULL, &request));
	is_rc(rcOk, DcmAccept(request, copy, INVALID_HANDLE), "accepted with a copy");
	must(KnHandleClose(copy));
	must(DcmConnect(connection, INFINITE_TIMEOUT, &session));
	message = must_loan(session, 1);
	must(DcmSend(session, &message, 0));
	received = must_receive(pair.listener);
	ok(received.context == &pair && received.riid == 5,
	   "the context and riid are the original's");
	must(DcmRelease(&received.message));
	must(KnHandleClose(session));
	must(DcmCloseHandle(connection));
	must(DcmCloseHandle(request));
	must(KnHandleClose(pair.session));
	must(KnHandleClose(pair.listener));
	must(DcmCloseHandle(pair.publication));
}

/* The event comes when the last is closed, wherever it was subscribed. */
static void test_user(void)
{
	uint32_t rights = OCAP_HANDLE_COPY | OCAP_HANDLE_GET_SID | OCAP_HANDLE_GET_EVENT;
	Handle first, second, third;
	EventDesc event;
	Notice notice;
	size_t count;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, rights, NULL, &first));
	second = copy_of(first, rights);
	ok(sid_of(first) == sid_of(second) && first != second, "one resource, two handles");
	must(KnNoticeCreate(&notice));
	must(KnNoticeSubscribeToObject(notice, first, EVENT_OBJECT_DESTROYED, 1));
	must(KnHandleClose(first));
	third = copy_of(second, OCAP_HANDLE_GET_SID);
	must(KnHandleClose(second));
	is_rc(rcTimeout, KnNoticeGetEvent(notice, 0, 1, &event, &count), "a copy is left");
	must(KnHandleClose(third));
	is_rc(rcOk, KnNoticeGetEvent(notice, 0, 1, &event, &count), "none is left");
	ok(event.eventId == 1 && event.eventMask == EVENT_OBJECT_DESTROYED,
	   "the resource is destroyed");
	must(KnNoticeRelease(notice));
}

static void test_task(void)
{
	Handle own = KosTaskGetHandle(KosTaskGetSelf()), copy, none;
	DcmHandle publication;

	copy = copy_of(own, OCAP_HANDLE_TRANSFER | OCAP_HANDLE_GET_SID);
	ok(copy != own && sid_of(copy) == sid_of(own), "a copy of the process's own handle");
	is_rc(rcOk, DcmPublishEndpoint(copy, "copy.Task", "t", &publication), "to publish with");
	must(DcmCloseHandle(publication));
	is_rc(rcOk, KnHandleClose(copy), "it is closed");
	is_rc(rcInvalidArgument, KnHandleClose(copy), "once");
	is_rc(rcOk, KnHandleClose(own), "the own one is not");
	is_rc(rcInvalidArgument, KnHandleCopy(copy, 0, INVALID_HANDLE, &none), "a closed one");
}

/* A child keeps user objects, each on its own, and nothing that is its parent's alone. */
static void test_fork(void)
{
	uint32_t rights = OCAP_HANDLE_COPY | OCAP_HANDLE_GET_SID;
	Handle task = copy_of(KosTaskGetHandle(KosTaskGetSelf()), OCAP_HANDLE_GET_SID), user, copy;
	int status = -1;
	pid_t pid;
	Sid sid;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, rights, NULL, &user));
	copy = copy_of(user, rights);
	pid = fork();
	if (pid == 0) {
		bool good = KnHandleGetSidByHandle(task, &sid) == rcInvalidArgument &&
			    KnHandleGetSidByHandle(copy, &sid) == rcOk &&
			    KnHandleRevoke(user) == rcOk &&
			    KnHandleGetSidByHandle(copy, &sid) == rcOk &&
			    KnHandleRevoke(copy) == rcOk;

		_exit(good ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	is_int(0, status,
	       "in a child: no copy of its parent's own handle, user objects by themselves");
	must(KnHandleRevoke(user));
	is_rc(rcHandleRevoked, KnHandleGetSidByHandle(copy, &sid), "in the parent the tree stands");
	must(KnHandleClose(copy));
	must(KnHandleClose(task));
}

int main(void)
{
	struct holdings before;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	test_fork();
	must(DcmInit());
	for (unsigned last = 0; last < 3; last++)
		test_last_of_session(last);
	test_shared();
	for (enum blocking what = 0; what < BLOCK_SESSIONS; what++)
		test_blocked(what);
	test_callable();
	test_user();
	test_task();
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
