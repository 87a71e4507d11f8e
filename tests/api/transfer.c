/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* A channel's memory goes over by pidfd_getfd, /proc or socket, as the setting and the kernel let it. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/api/lib_blocked.h"
#include "tests/api/lib_peer.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

enum { GETFD = 1, PROCFS, SOCKET };

enum { STRANGER = 65531 }; /* a user other than root */

/* What the kernel denies the client, in a set. */
enum {
	NO_GETFD = 1,
	NO_PIDFD = 2,
	NO_PROCFS = 4, /* nothing in a directory of /proc can be opened */
	NO_SOCKET = 8,
	NO_MEMFD = 16, /* of its own, which the way through /proc wants */
};

static const struct {
	const char *name;
	long number;
} denials[] = {
	{ "pidfd_getfd", SYS_pidfd_getfd }, { "pidfd_open", SYS_pidfd_open },	  { "/proc", 0 },
	{ "socket", SYS_socket },	    { "memfd_create", SYS_memfd_create },
};

static struct peer client_with(const char *transfer, unsigned int denied)
{
	struct peer client = peer_start("client");

	peer_must(&client, PEER_SETENV, .name = "DCM_TRANSFER", .type = transfer);
	peer_must(&client, PEER_INIT);
	for (unsigned int i = 0; i < sizeof(denials) / sizeof(denials[0]); i++) {
		if ((denied >> i & 1) == 0)
			continue;
		if (denials[i].number == 0)
			peer_must(&client, PEER_DENY_AT);
		else
			peer_must(&client, PEER_DENY, .other = (uint64_t)denials[i].number);
	}
	return client;
}

/* "DCM_TRANSFER=auto, without pidfd_getfd" */
static void describe(char *text, size_t size, const char *transfer, unsigned int denied,
		     bool polling)
{
	const char *word = ", without ";
	int used = snprintf(text, size, "DCM_TRANSFER=%s", transfer);

	for (unsigned int i = 0; i < sizeof(denials) / sizeof(denials[0]); i++) {
		if ((denied >> i & 1) == 0)
			continue;
		used += snprintf(text + used, size - (size_t)used, "%s%s", word, denials[i].name);
		word = " and ";
	}
	snprintf(text + used, size - (size_t)used, "%s", polling ? ", polling" : "");
}

/* The client's answer to its connect; the server is here. */
static struct peer_answer connect_client(struct peer *client, struct pair *pair, bool polling)
{
	struct peer_answer a;
	DcmHandle request;
	uint64_t connection;

	connection = peer_must(client, PEER_CREATE, .type = PAIR_TYPE, .name = pair->name).handle;
	if (!polling) {
		peer_post(client, PEER_CONNECT, .handle = connection, .timeout = INFINITE_TIMEOUT);
		must(DcmListen(pair->publication, INFINITE_TIMEOUT, NULL, NULL, &request));
	} else {
		a = peer_do(client, PEER_CONNECT, .handle = connection);
		if (a.rc != rcTimeout)
			return a;
		must(DcmListen(pair->publication, INFINITE_TIMEOUT, NULL, NULL, &request));
	}
	must(DcmAccept(request, pair->callable, INVALID_HANDLE));
	must(DcmCloseHandle(request));
	if (!polling)
		return peer_wait(client);
	do
		a = peer_do(client, PEER_CONNECT, .handle = connection);
	while (a.rc == rcTimeout);
	return a;
}

static void call(struct peer *client, struct pair *pair, uint64_t session, const char *what)
{
	struct peer_answer a;
	DcmRequest request;

	peer_post(client, PEER_CALL, .handle = session, .size = 100000, .seed = 3,
		  .timeout = INFINITE_TIMEOUT);
	request = must_receive(pair->listener);
	must_reply(&request, request.message.data, request.message.size, 0);
	a = peer_wait(client);
	is_answer(rcOk, &a, "%s: a call", what);
}

static void end(struct peer *client, unsigned int fds, const char *what)
{
	struct peer_answer a = peer_must(client, PEER_HOLDS);

	is_uint(fds, a.other, "%s: the client has no descriptor left of it", what);
	peer_must(client, PEER_FINI);
	is_int(0, peer_end(client), "%s: the client ends in order", what);
}

static void test_way(struct pair *pair, const char *transfer, unsigned int denied, bool polling,
		     int32_t way)
{
	struct peer client = client_with(transfer, denied);
	unsigned int fds = (unsigned int)peer_must(&client, PEER_HOLDS).other;
	struct peer_answer a = connect_client(&client, pair, polling);
	char what[160];

	describe(what, sizeof(what), transfer, denied, polling);
	if (is_answer(rcOk, &a, "%s", what)) {
		is_int(way, peer_must(&client, PEER_INFO, .handle = a.handle).status,
		       "%s: the way is told", what);
		call(&client, pair, a.handle, what);
		peer_must(&client, PEER_KCLOSE, .handle = a.handle);
	}
	end(&client, fds, what);
}

static int says(const struct peer_answer *a, const char *word)
{
	int good = ok(strstr(a->detail, word) != NULL, "  and the detail says \"%s\"", word);

	if (!good)
		diag("  it says: %s", a->detail);
	return good;
}

/* No way is left: the detail says why, of each that was tried, and of no other. */
static void test_forbidden(struct pair *pair, const char *transfer, unsigned int denied)
{
	struct peer client = client_with(transfer, denied);
	unsigned int fds = (unsigned int)peer_must(&client, PEER_HOLDS).other;
	bool at_once = strcmp(transfer, "socket") == 0;
	struct peer_answer a;
	char what[160];

	describe(what, sizeof(what), transfer, denied, at_once);
	a = connect_client(&client, pair, at_once);
	is_answer(rcSecurityDisallow, &a, "%s", what);
	note("%s", a.detail);
	if ((denied & NO_GETFD) != 0)
		says(&a, getfd_is_denied() ? "pidfd_getfd: "
					   : "pidfd_getfd: Operation not permitted");
	if ((denied & NO_PROCFS) != 0)
		says(&a, "/proc: Permission denied");
	if ((denied & NO_SOCKET) != 0)
		says(&a, "socket: Operation not permitted");
	end(&client, fds, what);
}

/* What a session tells of its channel. */
static void test_info(struct pair *pair)
{
	struct {
		DcmSessionInfo info;
		unsigned char more[8];
	} larger;
	DcmSessionInfo info = { .structSize = sizeof(info) }, before;
	DcmMessage message;

	is_rc(rcOk, DcmGetSessionInfo(pair->session, &info), "what a session is");
	before = info;
	is_uint(64 << 20, info.capacityBytes, "  its file's size");
	is_uint(64 << 10, info.committedBytes, "  what is committed of it at the start");
	message = must_loan(pair->session, info.largestLoan);
	is_rc(rcInvalidArgument,
	      DcmLoan(pair->session, info.largestLoan + 1, 0, &(DcmMessage){ 0 }),
	      "  more than its largest loan can never be");
	must(DcmGetSessionInfo(pair->session, &info));
	ok(info.committedBytes >= before.committedBytes + info.largestLoan - (64 << 10) &&
		   info.committedBytes <= info.capacityBytes,
	   "  a loan of that size is committed (%zu bytes now)", info.committedBytes);
	must(DcmRelease(&message));
	memset(&larger, 0xff, sizeof(larger));
	larger.info.structSize = sizeof(larger);
	must(DcmGetSessionInfo(pair->session, &larger.info));
	is_blob((unsigned char[8]){ 0 }, larger.more, 8, "what a later version has is zero");
	is_uint(sizeof(larger), larger.info.structSize, "structSize stays");
	larger.info.structSize = sizeof(info);
	larger.more[0] = 0xff;
	must(DcmGetSessionInfo(pair->session, &larger.info));
	is_uint(0xff, larger.more[0], "nothing is written behind structSize");
	info.structSize = sizeof(info) - 1;
	is_rc(rcInvalidArgument, DcmGetSessionInfo(pair->session, &info),
	      "structSize is too small");
	info.structSize = UINT32_MAX;
	is_rc(rcInvalidArgument, DcmGetSessionInfo(pair->session, &info), "structSize is not set");
	is_rc(rcInvalidArgument, DcmGetSessionInfo(pair->session, NULL), "no structure");
	info.structSize = sizeof(info);
	is_rc(rcInvalidArgument, DcmGetSessionInfo(pair->listener, &info), "not a session");
	is_rc(rcInvalidArgument, DcmGetSessionInfo(INVALID_HANDLE, &info), "INVALID_HANDLE");
}

/* Waiting for the socket, a client can be interrupted by its server's death. */
static void test_server_dies(void)
{
	struct peer server = peer_attached("server");
	uint64_t publication, request;
	struct peer_answer callable;
	DcmHandle connection;
	Handle session;

	setenv("DCM_TRANSFER", "socket", 1);
	must(DcmInit());
	publication = peer_must(&server, PEER_PUBLISH, .type = "test.Transfer", .name = "n").handle;
	callable = peer_must(&server, PEER_CALLABLE, .other = 1);
	must(DcmCreateConnection("test.Transfer", "n", INVALID_HANDLE, INVALID_HANDLE,
				 &connection));
	if (DcmConnect(connection, 0, &session) != rcTimeout)
		die("connected to nobody");
	request =
		peer_must(&server, PEER_LISTEN, .handle = publication, .timeout = INFINITE_TIMEOUT)
			.handle;
	peer_must(&server, PEER_ACCEPT, .handle = request, .other = callable.handle);
	peer_kill(&server);
	is_rc(rcNotConnected, DcmConnect(connection, INFINITE_TIMEOUT, &session),
	      "the server died when it had sent the channel");
	must(DcmCloseHandle(connection));
	DcmFini();
}

/* Both ends in one process. */
static void test_self(const char *transfer)
{
	struct pair pair;
	Handle second;

	setenv("DCM_TRANSFER", transfer, 1);
	must(DcmInit());
	pair_open(&pair);
	second = pair_connect(&pair);
	ok(second != pair.session, "a process connects to itself, DCM_TRANSFER=%s", transfer);
	must(KnHandleClose(second));
	pair_close(&pair);
	DcmFini();
}

/*
 * What the kernel itself denies. Root may do all: there the client is another user, in a fabric of
 * that user's. Any other user's server can hide its descriptors from its own user.
 */
static void test_denied_by_kernel(void)
{
	unsigned int user = geteuid() == 0 ? STRANGER : geteuid();
	struct peer client = peer_start("client");
	char path[160], owner[16];
	struct peer_answer a;
	struct pair pair;

	if (!can_be_user(user)) {
		skip("root of a user namespace that has no user %u", user);
		peer_end(&client);
		return;
	}
	snprintf(path, sizeof(path), "%s/denied", tap_fabric_dir());
	snprintf(owner, sizeof(owner), "%u", user);
	setenv("DCM_FABRIC", path, 1);
	setenv("DCM_OWNER", owner, 1);
	must(DcmInit());
	if (user == geteuid() && prctl(PR_SET_DUMPABLE, 0) < 0)
		sysbail("prctl");
	pair_open(&pair);
	peer_must(&client, PEER_SETENV, .name = "DCM_FABRIC", .type = path);
	if (user != geteuid())
		peer_must(&client, PEER_USER_IS, .handle = user);
	peer_must(&client, PEER_INIT);
	a = connect_client(&client, &pair, false);
	if (is_answer(rcOk, &a, "a server whose descriptors the kernel keeps from the client")) {
		is_int(SOCKET, peer_must(&client, PEER_INFO, .handle = a.handle).status,
		       "  sends the channel");
		call(&client, &pair, a.handle, "what it sent");
	}
	is_int(0, peer_end(&client), "  the client ends in order");
	prctl(PR_SET_DUMPABLE, 1);
	pair_close(&pair);
	DcmFini();
	unsetenv("DCM_OWNER");
}

/* No socket of another network namespace can be called: the client is told, and does not wait. */
static void test_other_network(struct pair *pair, const char *transfer, Retcode wanted)
{
	struct peer client = peer_start("client");
	struct peer_answer a;

	peer_must(&client, PEER_SETENV, .name = "DCM_TRANSFER", .type = transfer);
	if (peer_do(&client, PEER_OTHER_NET).rc != rcOk) {
		skip("another network namespace: this user may not make one");
		peer_end(&client);
		return;
	}
	peer_must(&client, PEER_INIT);
	a = connect_client(&client, pair, false);
	is_answer(wanted, &a, "a client in another network namespace, DCM_TRANSFER=%s", transfer);
	if (wanted != rcOk)
		says(&a, "socket: the server could not send: Connection refused");
	is_int(0, peer_end(&client), "  it ends in order");
}

static void test_setting(void)
{
	setenv("DCM_TRANSFER", "pigeon", 1);
	is_rc(rcInvalidArgument, DcmInit(), "DCM_TRANSFER=pigeon");
	unsetenv("DCM_TRANSFER");
}

static void test_ways(struct pair *pair)
{
	bool getfd = !getfd_is_denied(); /* by the environment of the test */

	if (!getfd)
		skip("pidfd_getfd is denied in this environment");
	for (int polling = 0; polling <= 1; polling++) {
		test_way(pair, "auto", 0, polling, getfd ? GETFD : PROCFS);
		if (getfd)
			test_way(pair, "getfd", 0, polling, GETFD);
		test_way(pair, "procfs", 0, polling, PROCFS);
		test_way(pair, "socket", 0, polling, SOCKET);
		test_way(pair, "auto", NO_GETFD, polling, PROCFS);
		test_way(pair, "auto", NO_GETFD | NO_PROCFS, polling, SOCKET);
	}
	test_way(pair, "auto", NO_PIDFD, false, PROCFS);
	test_way(pair, "auto", NO_PIDFD | NO_GETFD | NO_MEMFD, false, SOCKET);
	if (getfd)
		test_way(pair, "auto", NO_PROCFS | NO_SOCKET | NO_MEMFD, false, GETFD);
	test_way(pair, "procfs", NO_PIDFD | NO_GETFD | NO_SOCKET, false, PROCFS);
	test_way(pair, "socket", NO_PIDFD | NO_GETFD | NO_PROCFS | NO_MEMFD, false, SOCKET);
	test_forbidden(pair, "getfd", NO_GETFD);
	test_forbidden(pair, "procfs", NO_PROCFS);
	test_forbidden(pair, "socket", NO_SOCKET);
	test_forbidden(pair, "auto", NO_GETFD | NO_PROCFS | NO_SOCKET);
}

int main(void)
{
	struct holdings before;
	struct pair pair;

	plan_lazy();
	if (chmod(tap_fabric_dir(), 01777) < 0)
		sysbail("chmod");
	before = holdings_now();
	must(DcmInit());
	pair_open(&pair);
	test_info(&pair);
	test_ways(&pair);
	test_other_network(&pair, "auto", rcOk);
	test_other_network(&pair, "socket", rcSecurityDisallow);
	pair_close(&pair);
	DcmFini();
	test_server_dies();
	if (!getfd_is_denied())
		test_self("getfd");
	test_self("procfs");
	test_self("socket");
	test_self("auto");
	test_setting();
	test_denied_by_kernel();
	holdings_are(&before, "after the end");
	return 0;
}
