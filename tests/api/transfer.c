/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* A channel's memory goes over by pidfd_getfd or by socket, as the setting and the kernel let it. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "tests/api/lib_blocked.h"
#include "tests/api/lib_peer.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

static struct peer client_with(const char *transfer, long denied)
{
	struct peer client = peer_start("client");

	peer_must(&client, PEER_SETENV, .name = "DCM_TRANSFER", .type = transfer);
	peer_must(&client, PEER_INIT);
	if (denied != 0)
		peer_must(&client, PEER_DENY, .other = (uint64_t)denied);
	return client;
}

/* The client's answer to its connect; the server is here. */
static struct peer_answer connect_client(struct peer *client, struct pair *pair, bool polling)
{
	struct peer_answer a;
	DcmHandle request;
	uint64_t connection;

	connection = peer_must(client, PEER_CREATE, .type = PAIR_TYPE, .name = pair->name).handle;
	if (!polling)
		peer_post(client, PEER_CONNECT, .handle = connection, .timeout = INFINITE_TIMEOUT);
	else
		a = peer_do(client, PEER_CONNECT, .handle = connection);
	must(DcmListen(pair->publication, INFINITE_TIMEOUT, NULL, NULL, &request));
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
	is_answer(rcOk, &a, "a call over %s", what);
}

static void test_way(struct pair *pair, const char *transfer, long denied, bool polling)
{
	struct peer client = client_with(transfer, denied);
	struct peer_answer a = connect_client(&client, pair, polling);
	char what[128];

	snprintf(what, sizeof(what), "DCM_TRANSFER=%s%s%s", transfer,
		 denied == SYS_pidfd_getfd ? ", pidfd_getfd denied"
		 : denied != 0		   ? ", pidfd_open denied"
					   : "",
		 polling ? ", polling" : "");
	if (is_answer(rcOk, &a, "%s", what))
		call(&client, pair, a.handle, what);
	peer_must(&client, PEER_KCLOSE, .handle = a.handle);
	peer_must(&client, PEER_FINI);
	is_int(0, peer_end(&client), "the client ends in order");
}

static void test_forbidden(struct pair *pair)
{
	struct peer client = client_with("getfd", SYS_pidfd_getfd);
	struct peer_answer a = connect_client(&client, pair, false);

	is_answer(rcSecurityDisallow, &a, "DCM_TRANSFER=getfd, and the kernel denies it");
	peer_must(&client, PEER_FINI);
	is_int(0, peer_end(&client), "the client ends in order");
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
	must(DcmCreateConnection("test.Transfer", "n", INVALID_HANDLE, INVALID_HANDLE, &connection));
	if (DcmConnect(connection, 0, &session) != rcTimeout)
		die("connected to nobody");
	request = peer_must(&server, PEER_LISTEN, .handle = publication,
			    .timeout = INFINITE_TIMEOUT).handle;
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

int main(void)
{
	struct holdings before;
	struct pair pair;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	must(DcmInit());
	pair_open(&pair);
	test_way(&pair, "auto", 0, false);
	if (getfd_is_denied()) {
		skip("pidfd_getfd is denied in this environment");
	} else {
		test_way(&pair, "getfd", 0, false);
		test_way(&pair, "getfd", 0, true);
	}
	test_way(&pair, "socket", 0, false);
	test_way(&pair, "socket", 0, true);
	test_way(&pair, "auto", SYS_pidfd_getfd, false);
	test_way(&pair, "auto", SYS_pidfd_getfd, true);
	test_way(&pair, "auto", SYS_pidfd_open, false);
	test_way(&pair, "socket", SYS_pidfd_getfd, false);
	test_forbidden(&pair);
	pair_close(&pair);
	DcmFini();
	test_server_dies();
	if (!getfd_is_denied())
		test_self("getfd");
	test_self("socket");
	test_self("auto");
	holdings_are(&before, "after the end");
	return 0;
}
