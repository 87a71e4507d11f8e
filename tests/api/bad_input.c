/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arguments that are never right, to every function: null pointers, names, handles of every wrong
 * kind. Each has its code and a detail; errno stays; nothing is printed, leaked or left changed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/api/lib_peer.h"

enum { ERRNO = 4242 };
#define TYPE "test.Bad"

/* Nothing printed: both outputs are a file while the library is called. */
static int quiet_file, saved_out, saved_err;

static void quiet(void)
{
	saved_out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 100);
	saved_err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 100);
	dup2(quiet_file, STDOUT_FILENO);
	dup2(quiet_file, STDERR_FILENO);
	errno = ERRNO;
}

static void loud(void)
{
	dup2(saved_out, STDOUT_FILENO);
	dup2(saved_err, STDERR_FILENO);
	close(saved_out);
	close(saved_err);
}

/* One call: its code and detail, errno, and that it is silent. */
#define BAD(wanted, call)                                                                          \
	do {                                                                                       \
		Retcode bad_rc;                                                                    \
		int bad_errno;                                                                     \
                                                                                                   \
		quiet();                                                                           \
		bad_rc = (call);                                                                   \
		bad_errno = errno;                                                                 \
		loud();                                                                            \
		is_rc(wanted, bad_rc, "%s", #call);                                                \
		if (bad_errno != ERRNO)                                                            \
			ok(0, "errno is %d after %s", bad_errno, #call);                           \
	} while (0)

/* A handle of each kind that there is. */
static struct {
	Handle user, poor, task, callable, listener, session, identity;
	DcmHandle publication, subscription, connection, request, group, groups;
	uint64_t closed_user, closed_dcm;
} h;

static void make_closed(void)
{
	h.closed_user = new_identity();
	must(KnHandleClose(h.closed_user));
	must(DcmSetSubscription("t", NULL, NULL, INVALID_HANDLE, &h.closed_dcm));
	must(DcmCloseHandle(h.closed_dcm));
}

static void make_handles(struct pair *pair)
{
	static const DcmGroupEndpoint group[] = { { TYPE ".group", "n", NULL } };
	static const char *const types[] = { TYPE ".group" };

	h.user = new_identity();
	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, 0, NULL, &h.poor));
	h.task = KosTaskGetHandle(KosTaskGetSelf());
	pair_open(pair);
	h.callable = pair->callable;
	h.listener = pair->listener;
	h.session = pair->session;
	must(DcmPublishEndpoint(h.task, TYPE, "n", &h.publication));
	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &h.subscription));
	must(DcmCreateConnection(TYPE, "n", INVALID_HANDLE, INVALID_HANDLE, &h.connection));
	if (DcmConnect(h.connection, 0, &h.identity) != rcTimeout)
		die("connected to nobody");
	must(DcmListen(h.publication, 0, &h.identity, NULL, &h.request));
	must(DcmPublishGroupEndpoints(h.task, group, 1, &h.group));
	must(DcmSetGroupSubscription(types, 1, NULL, INVALID_HANDLE, &h.groups));
	make_closed();
}

static void close_handles(struct pair *pair)
{
	must(DcmCloseHandle(h.groups));
	must(DcmCloseHandle(h.group));
	must(DcmCloseHandle(h.request));
	must(DcmCloseHandle(h.connection));
	must(DcmCloseHandle(h.subscription));
	must(DcmCloseHandle(h.publication));
	must(KnHandleClose(h.identity));
	must(KnHandleClose(h.user));
	must(KnHandleClose(h.poor));
	pair_close(pair);
}

static void test_nulls(void)
{
	DcmHandle out;
	Handle session;
	DcmMessage message = { .data = NULL };
	DcmRequest request = { .riid = 0 };
	uint64_t call;

	BAD(rcInvalidArgument, DcmPublishEndpoint(h.user, NULL, "n", &out));
	BAD(rcInvalidArgument, DcmPublishEndpoint(h.user, TYPE, NULL, &out));
	BAD(rcInvalidArgument, DcmPublishEndpoint(h.user, TYPE, "n", NULL));
	BAD(rcInvalidArgument, DcmListen(h.publication, 0, NULL, NULL, NULL));
	BAD(rcInvalidArgument, DcmSetSubscription(NULL, NULL, NULL, INVALID_HANDLE, &out));
	BAD(rcInvalidArgument, DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, NULL));
	BAD(rcInvalidArgument, DcmCreateConnection(NULL, "n", INVALID_HANDLE, INVALID_HANDLE, &out));
	BAD(rcInvalidArgument,
	    DcmCreateConnection(TYPE, NULL, INVALID_HANDLE, INVALID_HANDLE, &out));
	BAD(rcInvalidArgument,
	    DcmCreateConnection(TYPE, "n", INVALID_HANDLE, INVALID_HANDLE, NULL));
	BAD(rcInvalidArgument, DcmConnect(h.connection, 0, NULL));
	BAD(rcInvalidArgument, DcmListenGroupPub(h.group, 0, NULL, NULL, NULL, NULL));
	BAD(rcInvalidArgument, DcmPublishGroupEndpoints(h.user, NULL, 1, &out));
	BAD(rcInvalidArgument, DcmSetGroupSubscription(NULL, 1, NULL, INVALID_HANDLE, &out));
	BAD(rcInvalidArgument, DcmConnectAny(NULL, &session));
	BAD(rcInvalidArgument, DcmConnectAny(TYPE, NULL));
	BAD(rcInvalidArgument, DcmEnumEndpoints(NULL, 0, NULL, NULL));
	BAD(rcInvalidArgument, DcmSetProcessName(NULL));
	BAD(rcInvalidArgument, KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, 0, NULL, NULL));
	BAD(rcInvalidArgument,
	    KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, 0, NULL, h.listener, 1, NULL));
	BAD(rcInvalidArgument, KnHandleCreateListener(NULL));
	BAD(rcInvalidArgument, KnHandleGetSidByHandle(h.user, NULL));
	BAD(rcInvalidArgument, DcmLoan(h.session, 1, 0, NULL));
	BAD(rcInvalidArgument, DcmCall(h.session, NULL, 0, &message));
	BAD(rcInvalidArgument, DcmCall(h.session, &message, 0, NULL));
	BAD(rcInvalidArgument, DcmStart(h.session, NULL, 0, &call));
	BAD(rcInvalidArgument, DcmStart(h.session, &message, 0, &call));
	BAD(rcInvalidArgument, DcmStart(h.session, &message, 0, NULL));
	BAD(rcInvalidArgument, DcmSend(h.session, NULL, 0));
	BAD(rcInvalidArgument, DcmSend(h.session, &message, 0));
	BAD(rcResourceNotFound, DcmFinish(h.session, DCM_ANY_CALL, 0, NULL, NULL));
	BAD(rcInvalidArgument, DcmFinish(h.session, 0, 0, NULL, NULL));
	BAD(rcInvalidArgument, DcmReceive(h.listener, 0, NULL));
	BAD(rcInvalidArgument, DcmLoanReply(NULL, 1, &message));
	BAD(rcInvalidArgument, DcmLoanReply(&request, 1, &message));
	BAD(rcInvalidArgument, DcmLoanReply(&request, 1, NULL));
	BAD(rcInvalidArgument, DcmReply(NULL, &message));
	BAD(rcInvalidArgument, DcmReply(&request, &message));
	BAD(rcInvalidArgument, DcmReply(&request, NULL));
	BAD(rcInvalidArgument, DcmRelease(NULL));
	ok(KosTaskGetHandle(NULL) == INVALID_HANDLE && *DcmLastDetail() != '\0', "no task");
	is_rc(rcOk, DcmRelease(&message), "a message without data is released");
	(void)session;
}

/* The text so that the byte behind its last one, zero or not, is the last before an unmapped page. */
static char *at_the_edge(const void *text, size_t bytes)
{
	static char *page;
	size_t size = (size_t)sysconf(_SC_PAGESIZE);

	if (page == NULL) {
		page = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);
		if (page == MAP_FAILED || munmap(page + size, size) < 0)
			sysbail("a page");
	}
	memcpy(page + size - bytes, text, bytes);
	return page + size - bytes;
}

static void try_name(Retcode wanted, const char *name, const char *what)
{
	Handle self = h.task;
	DcmHandle out = 0;
	Retcode rc[7];
	int bad = 0;

	quiet();
	rc[0] = DcmPublishEndpoint(self, name, "edge", &out);
	if (rc[0] == rcOk)
		DcmCloseHandle(out);
	rc[1] = DcmPublishEndpoint(self, "edge", name, &out);
	if (rc[1] == rcOk)
		DcmCloseHandle(out);
	rc[2] = DcmSetSubscription(name, NULL, NULL, INVALID_HANDLE, &out);
	if (rc[2] == rcOk)
		DcmCloseHandle(out);
	rc[3] = DcmSetSubscription("edge", name, NULL, INVALID_HANDLE, &out);
	if (rc[3] == rcOk)
		DcmCloseHandle(out);
	rc[4] = DcmSetSubscription("edge", NULL, name, INVALID_HANDLE, &out);
	if (rc[4] == rcOk)
		DcmCloseHandle(out);
	rc[5] = DcmCreateConnection(name, "edge", INVALID_HANDLE, INVALID_HANDLE, &out);
	if (rc[5] == rcOk)
		DcmCloseHandle(out);
	rc[6] = DcmCreateConnection("edge", name, INVALID_HANDLE, INVALID_HANDLE, &out);
	if (rc[6] == rcOk)
		DcmCloseHandle(out);
	loud();
	for (int i = 0; i < 7; i++)
		bad += rc[i] != wanted;
	is_int(0, bad, "a name that is %s is %s everywhere", what, RetcodeName(wanted));
}

static void test_names(void)
{
	static const struct {
		const char *what;
		Retcode wanted;
		size_t bytes;
		const char *text;
	} names[] = {
		{ "empty", rcInvalidArgument, 1, "" },
		{ "one letter", rcOk, 2, "x" },
		{ "with a newline", rcInvalidArgument, 4, "a\nb" },
		{ "with a tab", rcInvalidArgument, 4, "a\tb" },
		{ "with byte 1", rcInvalidArgument, 4, "a\001b" },
		{ "with DEL", rcInvalidArgument, 4, "a\177b" },
		{ "with a C1 control", rcInvalidArgument, 5, "a\302\205b" },
		{ "with a cut character", rcInvalidArgument, 3, "a\303" },
		{ "with a cut character of 3", rcInvalidArgument, 4, "a\342\202" },
		{ "with a cut character of 4", rcInvalidArgument, 5, "a\360\237\230" },
		{ "with a lone continuation", rcInvalidArgument, 3, "a\200" },
		{ "with an overlong character", rcInvalidArgument, 4, "a\300\257" },
		{ "with an overlong character of 3", rcInvalidArgument, 5, "a\340\200\257" },
		{ "with a surrogate", rcInvalidArgument, 5, "a\355\240\200" },
		{ "with a character above the last", rcInvalidArgument, 6, "a\364\220\200\200" },
		{ "with byte 255", rcInvalidArgument, 3, "a\377" },
		{ "of other scripts", rcOk, 12, "\320\224\321\226\317\200\360\237\230\200x" },
		{ "with spaces and dots", rcOk, 6, " a.b " },
	};
	char text[300];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		try_name(names[i].wanted, at_the_edge(names[i].text, names[i].bytes),
			 names[i].what);
	memset(text, 'n', sizeof(text));
	text[255] = '\0';
	try_name(rcOk, at_the_edge(text, 256), "of 255 bytes");
	text[255] = 'n';
	try_name(rcInvalidArgument, at_the_edge(text, 256), "of 256 bytes without an end");
	text[299] = '\0';
	try_name(rcInvalidArgument, at_the_edge(text, 300), "of 299 bytes");
	memset(text, 'n', 254);
	memcpy(text + 254, "\303\244", 3);
	try_name(rcInvalidArgument, at_the_edge(text, 257), "of 256 bytes, the last ones UTF-8");
}

/* All functions that take a handle, with one that none of them takes. */
static void try_no_handle(uint64_t bad, const char *what)
{
	Handle out = 0;
	DcmMessage message = { .data = &message, .size = 1 };
	DcmRequest request;
	uint64_t call;
	Sid sid;

	note("a handle that is %s", what);
	BAD(rcInvalidArgument, DcmPublishEndpoint(bad, TYPE, "x", &out));
	BAD(rcInvalidArgument, DcmListen(bad, INFINITE_TIMEOUT, NULL, NULL, &out));
	BAD(rcInvalidArgument, DcmAccept(bad, h.callable, INVALID_HANDLE));
	BAD(rcInvalidArgument, DcmAccept(h.request, bad, INVALID_HANDLE));
	if (bad != INVALID_HANDLE) {
		BAD(rcInvalidArgument, DcmAccept(h.request, h.callable, bad));
		BAD(rcInvalidArgument, DcmSetSubscription(TYPE, NULL, NULL, bad, &out));
		BAD(rcInvalidArgument, DcmCreateConnection(TYPE, "n", bad, INVALID_HANDLE, &out));
		BAD(rcInvalidArgument, DcmCreateConnection(TYPE, "n", INVALID_HANDLE, bad, &out));
		BAD(rcInvalidArgument, DcmConnectAnyEx(TYPE, NULL, NULL, bad, INVALID_HANDLE,
						       INFINITE_TIMEOUT, 0, &out));
		BAD(rcInvalidArgument, DcmConnectAnyEx(TYPE, NULL, NULL, INVALID_HANDLE, bad,
						       INFINITE_TIMEOUT, 0, &out));
		BAD(rcInvalidArgument, KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, 0, NULL,
								  bad, 1, &out));
	}
	BAD(rcInvalidArgument,
	    DcmReadPubQueue(bad, INFINITE_TIMEOUT, NULL, NULL, NULL, NULL));
	BAD(rcInvalidArgument, DcmConnect(bad, INFINITE_TIMEOUT, &out));
	BAD(rcInvalidArgument, DcmListenGroupPub(bad, INFINITE_TIMEOUT, NULL, NULL, NULL, &out));
	BAD(rcInvalidArgument,
	    DcmReadGroupPubQueue(bad, INFINITE_TIMEOUT, 0, NULL, NULL, NULL, NULL));
	BAD(rcInvalidArgument, DcmInterruptBlockingCall(bad));
	BAD(rcInvalidArgument, DcmInterruptCall(bad));
	BAD(rcInvalidArgument, DcmCloseHandle(bad));
	BAD(rcInvalidArgument, KnHandleClose(bad));
	BAD(rcInvalidArgument, KnHandleCopy(bad, 0, INVALID_HANDLE, &out));
	BAD(rcInvalidArgument, KnHandleRevoke(bad));
	BAD(rcInvalidArgument, KnHandleRevokeSubtree(bad, bad));
	BAD(rcInvalidArgument, KnHandleCreateBadge(bad, 1, NULL, &out));
	BAD(rcInvalidArgument, KnHandleGetSidByHandle(bad, &sid));
	BAD(rcInvalidArgument, DcmLoan(bad, 1, FOREVER_NS, &message));
	message.data = &message;
	BAD(rcInvalidArgument, DcmCall(bad, &message, FOREVER_NS, NULL));
	BAD(rcInvalidArgument, DcmStart(bad, &message, FOREVER_NS, &call));
	BAD(rcInvalidArgument, DcmSend(bad, &message, FOREVER_NS));
	ok(message.data == &message, "the message is still the caller's");
	BAD(rcInvalidArgument, DcmFinish(bad, 1, FOREVER_NS, NULL, NULL));
	BAD(rcInvalidArgument, DcmFinish(bad, DCM_ANY_CALL, FOREVER_NS, NULL, NULL));
	BAD(rcInvalidArgument, DcmReceive(bad, FOREVER_NS, &request));
}

/* Each function with open handles of every kind but its own. */
static void test_wrong_kinds(void)
{
	const uint64_t dcm[] = { h.publication, h.subscription, h.connection,
				 h.request,	h.group,	h.groups };
	const uint64_t kn[] = { h.user, h.task, h.callable, h.listener, h.session, h.identity };
	DcmMessage message;
	DcmRequest request;
	DcmHandle out;

	for (size_t i = 0; i < 6; i++) {
		BAD(rcInvalidArgument, DcmCloseHandle(kn[i]));
		BAD(rcInvalidArgument, DcmInterruptBlockingCall(kn[i]));
		BAD(rcInvalidArgument, DcmListen(kn[i], 0, NULL, NULL, &out));
		BAD(rcInvalidArgument, DcmReadPubQueue(kn[i], 0, NULL, NULL, NULL, NULL));
		BAD(rcInvalidArgument, DcmConnect(kn[i], 0, &out));
		BAD(rcInvalidArgument, DcmAccept(kn[i], h.callable, INVALID_HANDLE));
		if (kn[i] != h.session) {
			BAD(rcInvalidArgument, DcmLoan(kn[i], 1, 0, &message));
			BAD(rcInvalidArgument, DcmFinish(kn[i], DCM_ANY_CALL, 0, NULL, NULL));
		}
		if (kn[i] != h.listener)
			BAD(rcInvalidArgument, DcmReceive(kn[i], 0, &request));
		if (kn[i] != h.listener && kn[i] != h.session)
			BAD(rcInvalidArgument, DcmInterruptCall(kn[i]));
		BAD(rcInvalidArgument, KnHandleRevokeSubtree(kn[i], kn[i]));
		BAD(rcInvalidArgument, DcmAccept(h.request, h.callable, kn[i]));
		if (kn[i] != h.callable)
			BAD(rcInvalidArgument, DcmAccept(h.request, kn[i], INVALID_HANDLE));
	}
	for (size_t i = 0; i < sizeof(dcm) / sizeof(dcm[0]); i++) {
		BAD(rcInvalidArgument, KnHandleClose(dcm[i]));
		BAD(rcInvalidArgument, KnHandleCopy(dcm[i], 0, INVALID_HANDLE, &out));
		BAD(rcInvalidArgument, KnHandleRevoke(dcm[i]));
		BAD(rcInvalidArgument, KnHandleRevokeSubtree(dcm[i], INVALID_HANDLE));
		BAD(rcInvalidArgument, KnHandleCreateBadge(dcm[i], 1, NULL, &out));
		BAD(rcInvalidArgument, KnHandleGetSidByHandle(dcm[i], &(Sid){ 0 }));
		BAD(rcInvalidArgument, DcmPublishEndpoint(dcm[i], TYPE, "x", &out));
		BAD(rcInvalidArgument, DcmLoan(dcm[i], 1, 0, &message));
		BAD(rcInvalidArgument, DcmReceive(dcm[i], 0, &request));
		if (dcm[i] != h.publication)
			BAD(rcInvalidArgument, DcmListen(dcm[i], 0, NULL, NULL, &out));
		if (dcm[i] != h.subscription)
			BAD(rcInvalidArgument, DcmReadPubQueue(dcm[i], 0, NULL, NULL, NULL, NULL));
		if (dcm[i] != h.connection)
			BAD(rcInvalidArgument, DcmConnect(dcm[i], 0, &out));
		if (dcm[i] != h.group)
			BAD(rcInvalidArgument,
			    DcmListenGroupPub(dcm[i], 0, NULL, NULL, NULL, &out));
		if (dcm[i] != h.groups)
			BAD(rcInvalidArgument,
			    DcmReadGroupPubQueue(dcm[i], 0, 0, NULL, NULL, NULL, NULL));
		if (dcm[i] != h.request)
			BAD(rcInvalidArgument, DcmAccept(dcm[i], h.callable, INVALID_HANDLE));
	}
	BAD(rcInvalidArgument, DcmInterruptBlockingCall(h.request));
	BAD(rcInvalidArgument, DcmPublishEndpoint(h.session, TYPE, "x", &out));
	BAD(rcInvalidArgument, DcmPublishEndpoint(h.listener, TYPE, "x", &out));
}

static void test_rights(void)
{
	Handle only_sid, only_transfer, callable;
	DcmHandle out;
	Sid sid;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, OCAP_HANDLE_GET_SID, NULL, &only_sid));
	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_LAST, OCAP_HANDLE_TRANSFER, NULL,
				      &only_transfer));
	BAD(rcNoCapability, DcmPublishEndpoint(only_sid, TYPE, "x", &out));
	BAD(rcNoCapability, DcmPublishEndpoint(only_transfer, TYPE, "x", &out));
	BAD(rcNoCapability, DcmPublishEndpoint(h.identity, TYPE, "x", &out));
	BAD(rcNoCapability, DcmSetSubscription(TYPE, NULL, NULL, only_transfer, &out));
	BAD(rcNoCapability, DcmCreateConnection(TYPE, "n", only_transfer, INVALID_HANDLE, &out));
	BAD(rcNoCapability, DcmCreateConnection(TYPE, "n", INVALID_HANDLE, only_sid, &out));
	BAD(rcNoCapability, DcmCreateConnection(TYPE, "n", INVALID_HANDLE, h.identity, &out));
	BAD(rcNoCapability, KnHandleGetSidByHandle(h.poor, &sid));
	BAD(rcNoCapability, KnHandleGetSidByHandle(h.session, &sid));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, OCAP_IPC_CALL, NULL, h.listener, 1,
					&callable));
	BAD(rcNoCapability, DcmAccept(h.request, callable, INVALID_HANDLE));
	must(KnHandleClose(callable));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, OCAP_HANDLE_TRANSFER, NULL,
					h.listener, 1, &callable));
	BAD(rcNoCapability, DcmAccept(h.request, callable, INVALID_HANDLE));
	must(KnHandleClose(callable));
	must(KnHandleClose(only_sid));
	must(KnHandleClose(only_transfer));
	BAD(rcInvalidArgument, KnHandleCreateUserObject(0, 0, NULL, &out));
	BAD(rcInvalidArgument, KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST - 1, 0, NULL, &out));
	BAD(rcInvalidArgument, KnHandleCreateUserObject(HANDLE_TYPE_USER_LAST + 1, 0, NULL, &out));
	BAD(rcInvalidArgument, KnHandleCreateUserObject(UINT32_MAX, 0, NULL, &out));
	BAD(rcInvalidArgument,
	    KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, 1u << 15, NULL, &out));
	BAD(rcInvalidArgument, KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, 0, NULL,
							  INVALID_HANDLE, 1, &out));
	BAD(rcInvalidArgument, KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, 0, NULL,
							  h.listener, INVALID_RIID, &out));
	BAD(rcInvalidOperation, DcmSetProcessName("late"));
}

/* DCM functions before DcmInit and after the last DcmFini, with good and bad arguments. */
static void test_outside(const char *when)
{
	DcmHandle out;
	Handle handle;

	note("%s", when);
	BAD(rcNotConnected, DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "n", &out));
	BAD(rcNotConnected, DcmPublishEndpoint(0, NULL, NULL, NULL));
	BAD(rcNotConnected, DcmListen(h.publication, INFINITE_TIMEOUT, NULL, NULL, &out));
	BAD(rcNotConnected, DcmListen(0, 0, NULL, NULL, NULL));
	BAD(rcNotConnected, DcmAccept(h.request, h.callable, INVALID_HANDLE));
	BAD(rcNotConnected, DcmAccept(0, 0, 0));
	BAD(rcNotConnected, DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &out));
	BAD(rcNotConnected, DcmSetSubscription(NULL, NULL, NULL, 0, NULL));
	BAD(rcNotConnected,
	    DcmReadPubQueue(h.subscription, INFINITE_TIMEOUT, NULL, NULL, NULL, NULL));
	BAD(rcNotConnected, DcmCreateConnection(TYPE, "n", INVALID_HANDLE, INVALID_HANDLE, &out));
	BAD(rcNotConnected, DcmCreateConnection(NULL, NULL, 0, 0, NULL));
	BAD(rcNotConnected, DcmConnect(h.connection, INFINITE_TIMEOUT, &handle));
	BAD(rcNotConnected, DcmConnect(0, 0, NULL));
	BAD(rcNotConnected, DcmPublishGroupEndpoints(0, NULL, 0, NULL));
	BAD(rcNotConnected, DcmListenGroupPub(h.group, INFINITE_TIMEOUT, NULL, NULL, NULL, &out));
	BAD(rcNotConnected, DcmSetGroupSubscription(NULL, 0, NULL, 0, NULL));
	BAD(rcNotConnected,
	    DcmReadGroupPubQueue(h.groups, INFINITE_TIMEOUT, 0, NULL, NULL, NULL, NULL));
	BAD(rcNotConnected, DcmConnectAny(TYPE, &handle));
	BAD(rcNotConnected, DcmConnectAny(NULL, NULL));
	BAD(rcNotConnected, DcmEnumEndpoints(NULL, 0, NULL, NULL));
	BAD(rcNotConnected, DcmInterruptBlockingCall(h.publication));
	BAD(rcNotConnected, DcmCloseHandle(h.publication));
	BAD(rcNotConnected, DcmCloseHandle(0));
	DcmFini();
	DcmFini();
	handle = new_identity();
	ok(sid_of(handle) != 0, "handles need no DcmInit");
	must(KnHandleClose(handle));
	is_rc(rcOk, KnHandleCreateListener(&handle), "nor do listeners");
	must(KnHandleClose(handle));
}

static bool out_is_empty(void)
{
	return lseek(quiet_file, 0, SEEK_END) == 0;
}

int main(void)
{
	struct holdings before, inside;
	struct peer other;
	struct pair pair;
	uint64_t state;

	plan_lazy();
	tap_fabric_dir();
	state = tap_seed() | 1;
	quiet_file = memfd_create("output", MFD_CLOEXEC);
	before = holdings_now();
	h.publication = h.request = h.callable = 12345;
	test_outside("before DcmInit");
	must(DcmInit());
	make_handles(&pair);
	inside = holdings_now();
	test_nulls();
	test_names();
	try_no_handle(0, "0");
	try_no_handle(1, "1");
	try_no_handle(INVALID_HANDLE, "INVALID_HANDLE");
	try_no_handle(INVALID_HANDLE - 1, "INVALID_HANDLE - 1");
	try_no_handle(h.closed_user, "closed");
	try_no_handle(h.closed_dcm, "a closed DCM handle");
	try_no_handle(h.user ^ UINT64_C(1) << 40, "of another generation");
	try_no_handle(h.user ^ UINT64_C(1) << 61, "of another space");
	try_no_handle(random_next(&state), "random");
	other = peer_attached("other");
	/* Many of the peer's, so that its numbers are not ours. */
	for (int i = 0; i < 50; i++)
		h.closed_user = peer_must(&other, PEER_USER).handle;
	try_no_handle(h.closed_user, "another process's");
	is_int(0, peer_end(&other), "the other process ends in order");
	test_wrong_kinds();
	test_rights();
	holdings_are(&inside, "after bad input");
	close_handles(&pair);
	DcmFini();
	test_outside("after the last DcmFini");
	ok(out_is_empty(), "nothing was printed");
	holdings_are(&before, "after the end");
	close(quiet_file);
	return 0;
}
