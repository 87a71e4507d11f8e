/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* The end of a channel by closing, under every kind of blocked call; what stays usable after it. */
#define _GNU_SOURCE
#include <string.h>

#include "tests/api/lib_api.h"
#include "tests/api/lib_blocked.h"

/* The listener is closed while clients are blocked. */
static void test_listener_closed(enum blocking what)
{
	static struct load load;
	struct blocked waiting = { .what = what, .timeout_ms = -1 };
	DcmMessage message;
	struct pair pair;
	uint64_t call;

	pair_open(&pair);
	waiting.handle = pair.session;
	load_for(&load, &waiting);
	blocked_go(&waiting);
	must(KnHandleClose(pair.listener));
	blocked_ends(&waiting, rcNotConnected, "the listener is closed");
	is_rc(rcNotConnected, DcmLoan(pair.session, 1, FOREVER_NS, &message),
	      "a loan on a session whose listener is closed");
	if (load.rooms > 0) {
		memset(load.room[0].data, 3, load.room[0].size);
		is_rc(rcNotConnected, DcmStart(pair.session, &load.room[0], FOREVER_NS, &call),
		      "a call there");
		ok(load.room[0].data == NULL, "its request is consumed");
	}
	load_drop(&load);
	must(KnHandleClose(pair.session));
	must(KnHandleClose(pair.callable));
	must(DcmCloseHandle(pair.publication));
}

/* The session is closed while its own threads are blocked on it. */
static void test_session_closed(enum blocking what)
{
	static struct load load;
	struct blocked waiting = { .what = what, .timeout_ms = -1 };
	DcmMessage message;
	struct pair pair;

	pair_open(&pair);
	waiting.handle = pair.session;
	load_for(&load, &waiting);
	blocked_go(&waiting);
	must(KnHandleClose(pair.session));
	blocked_ends(&waiting, rcNotConnected, "the session is closed");
	is_rc(rcInvalidArgument, DcmLoan(pair.session, 1, FOREVER_NS, &message),
	      "a loan on a closed session");
	is_rc(rcInvalidArgument, DcmFinish(pair.session, DCM_ANY_CALL, FOREVER_NS, NULL, &message),
	      "a finish on a closed session");
	load_drop(&load);
	must(KnHandleClose(pair.callable));
	must(KnHandleClose(pair.listener));
	must(DcmCloseHandle(pair.publication));
}

static void test_receivers(void)
{
	struct blocked early[3], late;
	struct pair pair;
	Handle listener;

	must(KnHandleCreateListener(&listener));
	for (int i = 0; i < 3; i++)
		blocked_start(&early[i], BLOCK_RECEIVE, listener);
	must(KnHandleClose(listener));
	for (int i = 0; i < 3; i++)
		blocked_ends(&early[i], rcNotConnected,
			     "a listener without a channel is closed");
	pair_open(&pair);
	blocked_start(&late, BLOCK_RECEIVE, pair.listener);
	must(KnHandleClose(pair.listener));
	blocked_ends(&late, rcNotConnected, "a listener with a channel is closed");
	is_rc(rcInvalidArgument, DcmReceive(pair.listener, 0, &late.request), "a closed listener");
	must(KnHandleClose(pair.session));
	must(KnHandleClose(pair.callable));
	must(DcmCloseHandle(pair.publication));
}

/* A thread that receives before there is any client gets the first one's call. */
static void test_receive_before_accept(void)
{
	struct blocked early = { .what = BLOCK_RECEIVE, .timeout_ms = -1 };
	DcmMessage message;
	struct pair pair;

	must(KnHandleCreateListener(&pair.listener));
	early.handle = pair.listener;
	blocked_go(&early);
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER,
					NULL, pair.listener, 1, &pair.callable));
	strcpy(pair.name, "early");
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), PAIR_TYPE, pair.name,
				&pair.publication));
	pair.session = pair_connect(&pair);
	message = must_loan(pair.session, 3);
	message.status = 42;
	must(DcmSend(pair.session, &message, FOREVER_NS));
	blocked_ends(&early, rcOk, "called before any client was accepted");
	is_int(42, early.request.message.status, "it got the message");
	must(DcmRelease(&early.request.message));
	pair_close(&pair);
}

static bool channel_is_gone(void *arg)
{
	return mapping_count("/memfd:dcm-channel") <= *(unsigned int *)arg;
}

/* Everything that was handed out stays readable, writable and releasable. */
static void test_messages_after_close(bool session_first)
{
	unsigned int before = mapping_count("/memfd:dcm-channel");
	DcmMessage loan, kept, reply_loan, message;
	DcmRequest request;
	struct pair pair;
	uint64_t call, other;

	pair_open(&pair);
	loan = must_loan(pair.session, 5000);
	message = must_loan(pair.session, 5000);
	must(DcmStart(pair.session, &message, 0, &call));
	request = must_receive(pair.listener);
	must_reply(&request, "kept", 4, 0);
	must(DcmFinish(pair.session, call, 0, NULL, &kept));
	message = must_loan(pair.session, 5000);
	pattern_fill(message.data, 5000, 7);
	must(DcmStart(pair.session, &message, 0, &other));
	request = must_receive(pair.listener);
	must(DcmLoanReply(&request, 5000, &reply_loan));
	must(KnHandleClose(session_first ? pair.session : pair.listener));
	must(KnHandleClose(session_first ? pair.listener : pair.session));
	must(KnHandleClose(pair.callable));
	must(DcmCloseHandle(pair.publication));
	pattern_fill(loan.data, 5000, 1);
	pattern_fill(reply_loan.data, 5000, 2);
	ok(pattern_is(loan.data, 5000, 1), "a loan is usable after the close");
	ok(memcmp(kept.data, "kept", 4) == 0, "a reply is readable");
	ok(pattern_is(request.message.data, 5000, 7), "a request is readable");
	ok(pattern_is(reply_loan.data, 5000, 2), "a reply's room is usable");
	is_rc(rcNotConnected, DcmReply(&request, &reply_loan), "a reply after the end");
	is_rc(rcOk, DcmRelease(&loan), "the loan is released");
	is_rc(rcOk, DcmRelease(&kept), "the reply is released");
	ok(until(channel_is_gone, &before), "then nothing of the channel is mapped");
}

/* The client leaves; the server's part goes with the last request it holds. */
static void test_client_leaves(void)
{
	unsigned int before = mapping_count("/memfd:dcm-channel"), one;
	DcmMessage message, reply;
	DcmRequest held, none;
	struct pair pair;
	Handle other;
	uint64_t call;

	pair_open(&pair);
	other = pair_connect(&pair);
	message = must_loan(pair.session, 100);
	pattern_fill(message.data, 100, 3);
	must(DcmStart(pair.session, &message, 0, &call));
	held = must_receive(pair.listener);
	message = must_loan(pair.session, 100);
	must(DcmStart(pair.session, &message, 0, &call));
	must(KnHandleClose(pair.session));
	one = before + 3;
	ok(until(channel_is_gone, &one), "the client's mapping goes when it closes the session");
	ok(pattern_is(held.message.data, 100, 3), "the server's request is still there");
	message = must_loan(other, 4);
	must(DcmStart(other, &message, 0, &call));
	while (DcmReceive(pair.listener, FOREVER_NS, &none) == rcOk && none.message.size != 4)
		must(DcmRelease(&none.message));
	is_uint(4, none.message.size, "other clients are served");
	must_reply(&none, "", 0, 0);
	must(DcmFinish(other, call, FOREVER_NS, NULL, NULL));
	/* What was sent before the client left may still be received. */
	while (DcmReceive(pair.listener, 0, &none) == rcOk)
		must(DcmRelease(&none.message));
	if (DcmLoanReply(&held, 10, &reply) == rcOk)
		is_rc(rcNotConnected, DcmReply(&held, &reply), "a reply to who has left");
	else
		is_rc(rcOk, DcmRelease(&held.message), "a request of who has left is released");
	one = before + 2;
	ok(until(channel_is_gone, &one), "the server's mapping goes with the last request");
	must(KnHandleClose(other));
	must(KnHandleClose(pair.callable));
	must(KnHandleClose(pair.listener));
	must(DcmCloseHandle(pair.publication));
	ok(until(channel_is_gone, &before), "all mappings go in the end");
}

/* What was sent before the client left waits for its receiver, however much goes on elsewhere. */
static void test_sent_and_left(void)
{
	enum { OTHERS = 300 };
	unsigned int mappings = mapping_count("/memfd:dcm-channel") + 3;
	struct pair left, busy;
	DcmMessage message;
	DcmRequest request;

	pair_open(&left);
	pair_open(&busy);
	message = must_loan(left.session, 4);
	memcpy(message.data, "left", 4);
	must(DcmSend(left.session, &message, 0));
	must(KnHandleClose(left.session));
	for (int i = 0; i < OTHERS && until(channel_is_gone, &mappings); i++) {
		Handle session = pair_connect(&busy);

		message = must_loan(session, 4);
		must(DcmSend(session, &message, 0));
		must(KnHandleClose(session));
		request = must_receive(busy.listener);
		must(DcmRelease(&request.message));
	}
	if (is_rc(rcOk, DcmReceive(left.listener, 0, &request), "what was sent long ago")) {
		is_blob("left", request.message.data, 4, "is received whole");
		must(DcmRelease(&request.message));
	}
	mappings -= 3;
	must(KnHandleClose(left.callable));
	must(KnHandleClose(left.listener));
	must(DcmCloseHandle(left.publication));
	pair_close(&busy);
	ok(until(channel_is_gone, &mappings), "then nothing of the channels is mapped");
}

/* DcmFini ends no channel, and the process stays a participant until the last one is closed. */
static void test_after_fini(const struct holdings *before)
{
	DcmMessage message, reply;
	DcmRequest request;
	struct pair pair;
	uint64_t call;
	DcmHandle none;

	must(DcmInit());
	pair_open(&pair);
	DcmFini();
	is_rc(rcNotConnected, DcmSetSubscription("t", NULL, NULL, INVALID_HANDLE, &none),
	      "a subscription after DcmFini");
	is_rc(rcNotConnected, DcmCloseHandle(pair.publication), "a DCM handle after DcmFini");
	message = must_loan(pair.session, 6);
	memcpy(message.data, "hello", 6);
	is_rc(rcOk, DcmStart(pair.session, &message, 0, &call), "a call after DcmFini");
	request = must_receive(pair.listener);
	is_string("hello", request.message.data, "it is received");
	must_reply(&request, "bye", 4, 0);
	must(DcmFinish(pair.session, call, FOREVER_NS, NULL, &reply));
	is_string("bye", reply.data, "and answered");
	must(DcmInit());
	is_rc(rcInvalidArgument, DcmCloseHandle(pair.publication),
	      "a DCM handle of before, after another DcmInit");
	DcmFini();
	must(KnHandleClose(pair.session));
	must(KnHandleClose(pair.callable));
	must(KnHandleClose(pair.listener));
	must(DcmRelease(&reply));
	holdings_are(before, "the last channel is closed after DcmFini");
}

int main(void)
{
	struct holdings before;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	must(DcmInit());
	for (enum blocking what = 0; what < BLOCK_SESSIONS; what++)
		test_listener_closed(what);
	for (enum blocking what = 0; what < BLOCK_SESSIONS; what++)
		test_session_closed(what);
	test_receivers();
	test_receive_before_accept();
	test_messages_after_close(true);
	test_messages_after_close(false);
	test_client_leaves();
	test_sent_and_left();
	DcmFini();
	holdings_are(&before, "after the end");
	test_after_fini(&before);
	return 0;
}
