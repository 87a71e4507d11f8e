/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * A server or a client is killed with SIGKILL, in every state of a call; the other side is told, and
 * keeps what it holds.
 */
#define _GNU_SOURCE
#include <string.h>

#include "tests/api/lib_blocked.h"
#include "tests/api/lib_peer.h"

#define TYPE "test.Death"

/* A server in another process, with one client here. */
struct far_server {
	struct peer peer;
	uint64_t listener;
	Handle session;
};

static struct far_server far_server_open(void)
{
	struct far_server far = { .peer = peer_attached("server") };
	struct peer_answer publication, callable, request;
	DcmHandle connection;

	publication = peer_must(&far.peer, PEER_PUBLISH, .type = TYPE, .name = "server");
	callable = peer_must(&far.peer, PEER_CALLABLE, .other = 1);
	far.listener = callable.other;
	must(DcmCreateConnection(TYPE, "server", INVALID_HANDLE, INVALID_HANDLE, &connection));
	if (DcmConnect(connection, 0, &far.session) != rcTimeout)
		die("connected to nobody");
	request = peer_must(&far.peer, PEER_LISTEN, .handle = publication.handle,
			    .timeout = INFINITE_TIMEOUT);
	peer_must(&far.peer, PEER_ACCEPT, .handle = request.handle, .other = callable.handle);
	must(DcmConnect(connection, INFINITE_TIMEOUT, &far.session));
	must(DcmCloseHandle(connection));
	return far;
}

static void test_server_killed(enum blocking what, bool received)
{
	static struct load load;
	struct far_server far = far_server_open();
	struct blocked waiting = { .what = what, .handle = far.session, .timeout_ms = -1 };
	DcmMessage loan = must_loan(far.session, 4000), message;

	load_for(&load, &waiting);
	blocked_go(&waiting);
	if (received)
		peer_must(&far.peer, PEER_RECEIVE, .handle = far.listener,
			  .timeout = INFINITE_TIMEOUT);
	peer_kill(&far.peer);
	blocked_ends(&waiting, rcNotConnected,
		     received ? "the server is killed with the request" : "the server is killed");
	pattern_fill(loan.data, 4000, 5);
	ok(pattern_is(loan.data, 4000, 5), "a loan stays usable");
	is_rc(rcNotConnected, DcmLoan(far.session, 1, FOREVER_NS, &message), "a loan then");
	is_rc(rcNotConnected, DcmCall(far.session, &loan, FOREVER_NS, &message), "a call then");
	ok(loan.data == NULL, "its request is consumed");
	load_drop(&load);
	must(KnHandleClose(far.session));
}

/* A reply that was sent before the death is not lost; a kept one is readable for ever. */
static void test_reply_then_killed(void)
{
	struct far_server far = far_server_open();
	struct peer_answer received;
	DcmMessage message = must_loan(far.session, 500), reply;
	uint64_t call, second;

	pattern_fill(message.data, 500, 11);
	must(DcmStart(far.session, &message, 0, &call));
	received = peer_must(&far.peer, PEER_RECEIVE, .handle = far.listener,
			     .timeout = INFINITE_TIMEOUT);
	peer_must(&far.peer, PEER_REPLY, .other = received.other);
	message = must_loan(far.session, 8);
	must(DcmStart(far.session, &message, 0, &second));
	peer_kill(&far.peer);
	is_rc(rcOk, DcmFinish(far.session, call, FOREVER_NS, NULL, &reply),
	      "a reply given before the death");
	is_rc(rcNotConnected, DcmFinish(far.session, second, FOREVER_NS, NULL, NULL),
	      "a call that was not answered before it");
	must(KnHandleClose(far.session));
	ok(pattern_is(reply.data, 500, 11), "the reply is readable after the session's end");
	is_rc(rcOk, DcmRelease(&reply), "and released");
}

/* A client in another process, of a listener here. */
struct far_client {
	struct peer peer;
	uint64_t session;
};

static struct far_client far_client_open(struct pair *pair)
{
	struct far_client far = { .peer = peer_attached("client") };
	struct peer_answer connection;
	DcmHandle request;
	char name[DCM_NAME_SIZE];

	connection = peer_must(&far.peer, PEER_CREATE, .type = PAIR_TYPE, .name = pair->name);
	peer_post(&far.peer, PEER_CONNECT, .handle = connection.handle,
		  .timeout = INFINITE_TIMEOUT);
	must(DcmListen(pair->publication, INFINITE_TIMEOUT, NULL, name, &request));
	must(DcmAccept(request, pair->callable, INVALID_HANDLE));
	must(DcmCloseHandle(request));
	connection = peer_wait(&far.peer);
	must(connection.rc);
	far.session = connection.handle;
	return far;
}

static bool channel_is_gone(void *arg)
{
	return mapping_count("/memfd:dcm-channel") <= *(unsigned int *)arg;
}

/* What the far client says must not stop this one. */
static void near_client_works(struct pair *pair)
{
	DcmMessage message = must_loan(pair->session, 4), reply;
	DcmRequest request;
	uint64_t call;

	message.status = 77;
	must(DcmStart(pair->session, &message, 0, &call));
	for (;;) {
		request = must_receive(pair->listener);
		if (request.message.status == 77)
			break;
		must(DcmRelease(&request.message)); /* what the dead one left */
	}
	must_reply(&request, "fine", 4, 0);
	must(DcmFinish(pair->session, call, FOREVER_NS, NULL, &reply));
	ok(memcmp(reply.data, "fine", 4) == 0, "another client is served");
	must(DcmRelease(&reply));
}

static void test_client_killed_waiting(struct pair *pair)
{
	unsigned int before = mapping_count("/memfd:dcm-channel");
	struct far_client far = far_client_open(pair);

	peer_post(&far.peer, PEER_CALL, .handle = far.session, .size = 3000, .seed = 5,
		  .timeout = INFINITE_TIMEOUT);
	peer_asleep(&far.peer);
	peer_kill(&far.peer);
	near_client_works(pair);
	ok(until(channel_is_gone, &before), "killed before its call is received: its memory goes");
}

static void test_client_killed_served(struct pair *pair, bool loaned)
{
	unsigned int before = mapping_count("/memfd:dcm-channel");
	struct far_client far = far_client_open(pair);
	DcmMessage reply = { .data = NULL };
	DcmRequest request;

	peer_post(&far.peer, PEER_CALL, .handle = far.session, .size = 3000, .seed = 5,
		  .timeout = INFINITE_TIMEOUT);
	request = must_receive(pair->listener);
	if (loaned)
		must(DcmLoanReply(&request, 100, &reply));
	peer_kill(&far.peer);
	near_client_works(pair);
	ok(pattern_is(request.message.data, 3000, 5), "the request of a dead client is readable");
	if (loaned) {
		memset(reply.data, 9, reply.size);
		is_rc(rcNotConnected, DcmReply(&request, &reply), "a reply to the dead");
		ok(reply.data == NULL && request.message.data == NULL, "it is consumed");
	} else {
		is_rc(rcOk, DcmRelease(&request.message), "a dead client's request is released");
	}
	ok(until(channel_is_gone, &before), "its memory goes then");
}

static void test_client_killed_with_replies(struct pair *pair)
{
	unsigned int before = mapping_count("/memfd:dcm-channel");
	struct far_client far = far_client_open(pair);
	struct peer_answer answer;
	DcmRequest request;

	for (uint64_t i = 0; i < 5; i++) {
		peer_post(&far.peer, PEER_KEEP, .handle = far.session, .size = 1000 * i, .seed = i,
			  .timeout = INFINITE_TIMEOUT);
		request = must_receive(pair->listener);
		must_reply(&request, request.message.data, request.message.size, 0);
		answer = peer_wait(&far.peer);
		is_answer(rcOk, &answer, "a reply is kept");
	}
	peer_kill(&far.peer);
	near_client_works(pair);
	ok(until(channel_is_gone, &before), "killed with replies in hand: their memory goes");
}

static void test_client_killed_full(struct pair *pair)
{
	unsigned int before = mapping_count("/memfd:dcm-channel");
	struct far_client far = far_client_open(pair);
	uint64_t size = 16u << 20;

	while (size > 0) {
		struct peer_answer loan =
			peer_do(&far.peer, PEER_LOAN, .handle = far.session, .size = size);

		if (loan.rc != rcOk)
			size = size > 65536 ? size / 2 : 0;
	}
	peer_post(&far.peer, PEER_LOAN, .handle = far.session, .size = 65536,
		  .timeout = INFINITE_TIMEOUT);
	peer_asleep(&far.peer);
	peer_kill(&far.peer);
	near_client_works(pair);
	ok(until(channel_is_gone, &before), "killed while it waits for room: its memory goes");
}

/* execve without DcmFini is the end of the process for its peers. */
static void test_exec(struct pair *pair)
{
	unsigned int before = mapping_count("/memfd:dcm-channel");
	struct far_server server = far_server_open();
	struct far_client client = far_client_open(pair);
	struct blocked waiting = { .what = BLOCK_CALL, .handle = server.session, .timeout_ms = -1 };
	static struct load load;

	load_for(&load, &waiting);
	blocked_go(&waiting);
	peer_post(&server.peer, PEER_EXEC);
	blocked_ends(&waiting, rcNotConnected, "the server becomes another program");
	must(KnHandleClose(server.session));
	peer_post(&client.peer, PEER_EXEC);
	ok(until(channel_is_gone, &before), "a client becomes another program: its memory goes");
	near_client_works(pair);
	peer_kill(&server.peer);
	peer_kill(&client.peer);
}

int main(void)
{
	struct holdings before;
	struct pair pair;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	must(DcmInit());
	for (enum blocking what = 0; what < BLOCK_SESSIONS; what++)
		test_server_killed(what, false);
	test_server_killed(BLOCK_CALL, true);
	test_server_killed(BLOCK_FINISH, true);
	test_server_killed(BLOCK_FINISH_ANY, true);
	test_reply_then_killed();
	pair_open(&pair);
	test_client_killed_waiting(&pair);
	test_client_killed_served(&pair, false);
	test_client_killed_served(&pair, true);
	test_client_killed_with_replies(&pair);
	test_client_killed_full(&pair);
	test_exec(&pair);
	pair_close(&pair);
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
